//! A stream as Redis keeps it.

use super::{chat, id};
use crate::{
    bus::{Page, PageAsk, PageEntry, PageFacts, StreamFacts},
    message::Message,
    stream_id::StreamId,
    wire,
};
use std::{rc::Rc, sync::Arc, time::Instant};

/// A stream as Redis keeps it. The payload of an entry is its number: see [`number`].
#[derive(Debug, Default)]
pub(in crate::shard) struct Stream {
    pub(in crate::shard) entries: Vec<StreamId>,
    pub(super) facts: StreamFacts,
    /// One for each time that it is made anew; the tails that have read it since hold it, too.
    pub(super) incarnation: Rc<()>,
}

/// The number of an entry: its sequence where it has one.
fn number(id: StreamId) -> u64 {
    if id.sequence == 0 { id.milliseconds } else { id.sequence }
}

impl Stream {
    pub(in crate::shard) fn add(&mut self, id: StreamId) {
        assert!(id > self.facts.last, "XADD refuses it");
        if !self.facts.exists {
            self.facts.max_deleted = Some(StreamId::ZERO);
        }
        self.facts.exists = true;
        self.facts.added = Some(self.facts.added.unwrap_or(0) + 1);
        self.facts.last = id;
        self.entries.push(id);
    }

    pub(in crate::shard) fn add_all(&mut self, range: impl IntoIterator<Item = u64>) {
        range.into_iter().for_each(|at| self.add(id(at)));
    }

    pub(in crate::shard) fn trim_to(&mut self, left: usize) {
        let gone = self.entries.len().saturating_sub(left);
        self.entries.drain(..gone);
    }

    pub(in crate::shard) fn delete_entry(&mut self, id: StreamId) {
        self.entries.retain(|&known| known != id);
        self.facts.max_deleted = self.facts.max_deleted.max(Some(id));
    }

    /// DEL: what is made anew knows nothing of it.
    pub(in crate::shard) fn delete(&mut self) {
        *self = Self::default();
    }

    /// How many tails have read it since it was last deleted.
    pub(in crate::shard) fn readers(&self) -> usize {
        Rc::strong_count(&self.incarnation) - 1
    }

    pub(in crate::shard) fn last(&self) -> StreamId {
        self.facts.last
    }

    pub(in crate::shard) fn facts(&self) -> StreamFacts {
        let first = self.entries.first().copied();
        StreamFacts { length: self.entries.len() as u64, first, ..self.facts }
    }

    pub(super) fn after(&self, after: StreamId) -> impl Iterator<Item = StreamId> {
        self.entries.iter().copied().filter(move |&id| id > after)
    }

    pub(super) fn page(&self, ask: PageAsk) -> Page {
        match ask {
            PageAsk::After { after, until, count, facts } => {
                let found = self.entries.contains(&after);
                let asked = match facts {
                    PageFacts::Never => false,
                    PageFacts::WhereNotFound => !found,
                    PageFacts::Always => true,
                };
                let read: Vec<_> = self.after(after).take(count).collect();
                let is_full = read.len() == count;
                let within = read.into_iter().filter(|&id| until.is_none_or(|it| id <= it));
                let facts = asked.then(|| self.facts());
                Page { entries: within.map(entry).collect(), found, is_full, facts }
            }
            PageAsk::Newest { until, count } => {
                let newest = self.entries.iter().rev().filter(|&&id| id <= until).take(count);
                let mut entries: Vec<_> = newest.copied().map(entry).collect();
                entries.reverse();
                let is_full = entries.len() == count;
                Page { entries, found: false, is_full, facts: Some(self.facts()) }
            }
        }
    }
}

pub(super) fn message(id: StreamId) -> Arc<Message> {
    Arc::new(wire::entry(chat(), id, number(id).to_string().as_bytes(), Instant::now()))
}

fn entry(id: StreamId) -> PageEntry {
    PageEntry::Message(message(id))
}
