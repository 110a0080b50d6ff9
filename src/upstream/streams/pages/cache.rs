//! Full pages, for a moment: a crowd that returns reads the same ones.

use super::building::PageKey;
use crate::{
    bus::{Page, PageEntry},
    channel::ChannelName,
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// How long a page is kept.
const LIFE: Duration = Duration::from_secs(2);

/// How much all pages may weigh.
const MOST: usize = 16 << 20;

/// What an entry weighs beside its payload.
const ENTRY: usize = 256;

/// Pages by what was asked, the oldest leave first.
#[derive(Debug, Default)]
pub(super) struct PageCache {
    pages: HashMap<PageKey, Kept>,
    order: VecDeque<(Instant, PageKey)>,
    weight: usize,
}

#[derive(Debug)]
struct Kept {
    page: Page,
    at: Instant,
    weight: usize,
}

impl PageCache {
    pub(super) fn get(&self, key: &PageKey, now: Instant) -> Option<Page> {
        let kept = self.pages.get(key)?;
        (kept.at + LIFE > now).then(|| kept.page.clone())
    }

    pub(super) fn insert(&mut self, key: PageKey, page: Page, now: Instant) {
        // Twice: an encoding of it will come.
        let weight = page.entries.iter().map(|entry| ENTRY + 2 * payload(entry)).sum();
        self.remove(&key);
        self.weight += weight;
        self.pages.insert(key.clone(), Kept { page, at: now, weight });
        self.order.push_back((now, key));
        while self.weight > MOST {
            self.remove_oldest();
        }
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at + LIFE <= now) {
            self.remove_oldest();
        }
    }

    /// When [`PageCache::expire`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at + LIFE)
    }

    /// Forgets the pages of a stream.
    pub(super) fn forget(&mut self, stream: &ChannelName) {
        let mut freed = 0;
        self.pages.retain(|key, kept| {
            let is_of = key.stream == *stream;
            freed += if is_of { kept.weight } else { 0 };
            !is_of
        });
        self.weight -= freed;
    }

    fn remove_oldest(&mut self) {
        let Some((at, key)) = self.order.pop_front() else { return };
        // A page that was read again since stands behind.
        if self.pages.get(&key).is_some_and(|kept| kept.at == at) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &PageKey) {
        if let Some(kept) = self.pages.remove(key) {
            self.weight -= kept.weight;
        }
    }
}

fn payload(entry: &PageEntry) -> usize {
    match entry {
        PageEntry::Message(message) => message.payload().len(),
        PageEntry::TooLarge(_) => 0,
    }
}
