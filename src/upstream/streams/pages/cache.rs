//! Full pages, for a moment: a crowd that returns reads the same ones.

use super::building::PageKey;
use crate::{bus::Page, channel::ChannelName};
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
        let weight = page.entries.iter().map(|entry| ENTRY + 2 * entry.payload_bytes()).sum();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{PageAsk, PageEntry, PageFacts},
        stream_id::id,
        wire,
    };
    use std::sync::Arc;

    fn key(stream: &str, milliseconds: u64) -> PageKey {
        let ask = PageAsk::After {
            after: id(milliseconds),
            until: None,
            count: 1,
            facts: PageFacts::Never,
        };
        PageKey::of(ChannelName::new(stream), ask)
    }

    fn page(bytes: usize) -> Page {
        let name = ChannelName::new("s");
        let message = wire::message(name, &vec![0; bytes], std::time::Instant::now());
        let entries = vec![PageEntry::Message(Arc::new(message))];
        Page { entries, found: true, is_full: true, facts: None }
    }

    #[test]
    fn pages_of_a_stream_that_is_another_one_are_forgotten_and_no_others() {
        let (mut cache, now) = (PageCache::default(), Instant::now());
        for (stream, place) in [("a", 1), ("a", 2), ("b", 1)] {
            cache.insert(key(stream, place), page(100), now);
        }
        cache.forget(&ChannelName::new("a"));
        assert!(cache.get(&key("a", 1), now).is_none() && cache.get(&key("a", 2), now).is_none());
        assert!(cache.get(&key("b", 1), now).is_some());
        cache.expire(now + LIFE);
        assert_eq!((cache.weight, cache.pages.len(), cache.order.len()), (0, 0, 0));
    }

    #[test]
    fn a_page_is_kept_for_a_moment_from_its_last_reading_on() {
        let (mut cache, now) = (PageCache::default(), Instant::now());
        cache.insert(key("a", 1), page(100), now);
        cache.insert(key("a", 1), page(100), now + LIFE / 2);
        cache.expire(now + LIFE);
        assert!(cache.get(&key("a", 1), now + LIFE).is_some());
        assert!(
            cache.get(&key("a", 1), now + 2 * LIFE).is_none(),
            "also where nobody has expired it"
        );
        assert_eq!(cache.deadline(), Some(now + LIFE / 2 + LIFE));
    }

    #[test]
    fn beyond_their_weight_the_oldest_pages_leave() {
        let (mut cache, now) = (PageCache::default(), Instant::now());
        for place in 0..10 {
            cache.insert(key("a", place), page(1 << 20), now);
            assert!(cache.weight <= MOST);
        }
        let kept: Vec<_> =
            (0..10).filter(|&place| cache.get(&key("a", place), now).is_some()).collect();
        assert_eq!(kept, [3, 4, 5, 6, 7, 8, 9]);
        cache.insert(key("a", 10), page(MOST), now);
        assert!(cache.pages.is_empty(), "one that is too heavy alone is not kept");
    }
}
