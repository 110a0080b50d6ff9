//! Sessions that opened behind events which wait in the ring: the gaps among those are not theirs.
//!
//! A handshake is answered when Redis has confirmed its channels, and the gap of a lost link is in the
//! ring before that; the session may open before the ring has been read so far. What it was told then
//! would be a loss from before its 101. Usually nothing waits, and nothing is kept.

use hashbrown::HashMap;

#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// By the session's key: how many events had been sent when it opened.
    behind: HashMap<u32, u64, foldhash::fast::RandomState>,
    /// Events that are dealt with.
    passed: u64,
}

impl Newcomers {
    /// A session opens when so many events have been sent.
    pub(super) fn insert(&mut self, key: u32, sent: u64) {
        if sent > self.passed {
            self.behind.insert(key, sent);
        }
    }

    pub(super) fn remove(&mut self, key: u32) {
        self.behind.remove(&key);
    }

    /// So many events are dealt with.
    pub(super) fn pass(&mut self, taken: u64) {
        self.passed = taken;
        if !self.behind.is_empty() {
            self.behind.retain(|_, sent| *sent > taken);
            self.behind.shrink_to(self.behind.len());
        }
    }

    /// Whether a session was open before this event (counted from 0) was sent.
    pub(super) fn concerns(&self, event: u64, key: u32) -> bool {
        self.behind.get(&key).is_none_or(|&sent| sent <= event)
    }
}
