//! A page while its entries arrive.

use crate::{
    bus::{Page, PageAsk, PageEntry, PageFacts, StreamFacts},
    channel::ChannelName,
    stream_id::StreamId,
    wire,
};
use std::{sync::Arc, time::Instant};

/// A page that weighs as much is full, whatever was asked for: what more comes is dropped.
const HEAVIEST: usize = 4 << 20;

/// What is read. Those who ask for the same share it; each takes what is not behind its own `until`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) stream: ChannelName,
    /// Without an `until` where that only cuts.
    pub(super) ask: PageAsk,
}

/// A page that is being read.
#[derive(Debug)]
pub(super) struct PageBuild {
    pub(super) key: PageKey,
    /// It is read together with facts.
    pub(super) has_facts: bool,
    facts: Option<StreamFacts>,
    entries: Vec<PageEntry>,
    is_found: bool,
    /// Entries that have come.
    seen: usize,
    weight: usize,
    received: Instant,
}

impl PageKey {
    pub(super) fn of(stream: ChannelName, ask: PageAsk) -> Self {
        let ask = match ask {
            PageAsk::After { after, count, facts, .. } => {
                PageAsk::After { after, until: None, count, facts }
            }
            newest @ PageAsk::Newest { .. } => newest,
        };
        Self { stream, ask }
    }
}

impl PageBuild {
    pub(super) fn new(key: PageKey) -> Self {
        let has_facts = match key.ask {
            PageAsk::After { facts, .. } => facts == PageFacts::Always,
            PageAsk::Newest { .. } => true,
        };
        Self {
            key,
            has_facts,
            facts: None,
            entries: Vec::new(),
            is_found: false,
            seen: 0,
            weight: 0,
            received: Instant::now(),
        }
    }

    /// The same page, read together with facts.
    pub(super) fn with_facts(self) -> Self {
        Self { has_facts: true, ..Self::new(self.key) }
    }

    /// Whether the page means nothing without facts, and has none.
    pub(super) fn wants_facts(&self) -> bool {
        let on_demand =
            matches!(self.key.ask, PageAsk::After { facts: PageFacts::WhereNotFound, .. });
        on_demand && !self.is_found && !self.has_facts
    }

    /// How many entries to ask for, that which it comes after included.
    pub(super) fn asked(&self) -> usize {
        match self.key.ask {
            PageAsk::After { after, count, .. } => count + usize::from(after != StreamId::ZERO),
            PageAsk::Newest { count, .. } => count,
        }
    }

    pub(super) fn facts(&mut self, facts: StreamFacts) {
        self.facts = Some(facts);
    }

    /// Takes the next entry; `None`: its payload is too large.
    pub(super) fn entry(&mut self, id: StreamId, payload: Option<&[u8]>) {
        if self.seen == 0 {
            self.received = Instant::now();
        }
        self.seen += 1;
        if matches!(self.key.ask, PageAsk::After { after, .. } if after == id) {
            self.is_found = true;
            return;
        }
        if self.weight >= HEAVIEST {
            return;
        }
        self.weight += payload.map_or(0, <[u8]>::len);
        self.entries.push(match payload {
            None => PageEntry::TooLarge(id),
            Some(payload) => {
                let entry = wire::entry(self.key.stream.clone(), id, payload, self.received);
                PageEntry::Message(Arc::new(entry))
            }
        });
    }

    /// The page, at its end.
    pub(super) fn finish(mut self) -> (PageKey, Page) {
        let is_full = self.seen >= self.asked() || self.weight >= HEAVIEST;
        match self.key.ask {
            PageAsk::Newest { .. } => self.entries.reverse(),
            // Where the entry itself is not there, one more than was asked for may have come.
            PageAsk::After { count, .. } => self.entries.truncate(count),
        }
        let Self { key, entries, is_found: found, facts, .. } = self;
        (key, Page { entries, found, is_full, facts })
    }
}

/// A page without what is behind `until`.
pub(super) fn until(mut page: Page, until: Option<StreamId>) -> Page {
    let Some(until) = until else { return page };
    let before = page.entries.len();
    page.entries.retain(|entry| entry.id() <= until);
    // There is more, but nothing that was asked for.
    page.is_full &= page.entries.len() == before;
    page
}
