//! How long an answer may take before the link counts as dead: any byte received proves that the other
//! side lives, so only silence ends it. Pure: it reads no clock.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// A process that was stopped or starved finds its timers over before it finds the answers that
/// came meanwhile; so much longer it looks for them.
const GRACE: Duration = Duration::from_millis(100);

/// What was asked on one connection and not answered, by the time of asking.
#[derive(Debug)]
pub(in crate::upstream) struct Patience {
    asked: VecDeque<Instant>,
    /// When something last arrived, and how many bytes had then.
    heard: Instant,
    bytes: u64,
    grace: Option<Instant>,
    timeout: Duration,
}

impl Patience {
    /// `timeout`: how long an answer may take when nothing arrives.
    pub(in crate::upstream) fn new(timeout: Duration, now: Instant) -> Self {
        Self { asked: VecDeque::new(), heard: now, bytes: 0, grace: None, timeout }
    }

    pub(in crate::upstream) fn asked(&mut self, now: Instant) {
        self.asked.push_back(now);
    }

    /// The oldest command is answered.
    pub(in crate::upstream) fn answered(&mut self) {
        self.asked.pop_front();
    }

    /// So many bytes have been received in all.
    pub(in crate::upstream) fn received(&mut self, bytes: u64, now: Instant) {
        if self.bytes != bytes {
            (self.bytes, self.heard, self.grace) = (bytes, now, None);
        }
    }

    /// When [`Patience::is_late`] must be asked next, if nothing comes until then.
    pub(in crate::upstream) fn deadline(&self) -> Option<Instant> {
        self.grace.or_else(|| self.silent_until())
    }

    fn silent_until(&self) -> Option<Instant> {
        Some((*self.asked.front()?).max(self.heard) + self.timeout)
    }

    /// Whether the time for the oldest answer is over: take in everything that has arrived, then ask
    /// [`Patience::is_dead`].
    pub(in crate::upstream) fn is_late(&self, now: Instant) -> bool {
        self.silent_until().is_some_and(|until| until <= now)
    }

    /// Whether the link must be given up.
    pub(in crate::upstream) fn is_dead(&mut self, now: Instant) -> bool {
        self.is_late(now) && *self.grace.get_or_insert(now + GRACE) <= now
    }

    /// Why.
    pub(in crate::upstream) fn why(&self) -> String {
        format!("no answer within {:?}", self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    #[test]
    fn silence_ends_a_link_on_which_something_was_asked_and_any_byte_goes_on() {
        let start = Instant::now();
        let mut patience = Patience::new(TIMEOUT, start);
        assert!(!patience.is_late(start + 10 * TIMEOUT), "nothing was asked");
        patience.asked(start + TIMEOUT);
        assert_eq!(patience.deadline(), Some(start + 2 * TIMEOUT));
        patience.received(1, start + 2 * TIMEOUT);
        assert!(!patience.is_dead(start + 2 * TIMEOUT));
        patience.received(1, start + 3 * TIMEOUT);
        assert!(!patience.is_dead(start + 3 * TIMEOUT), "what has just arrived may be unread");
        assert_eq!(patience.deadline(), Some(start + 3 * TIMEOUT + GRACE));
        assert!(patience.is_dead(start + 3 * TIMEOUT + GRACE));
        patience.answered();
        assert!(!patience.is_dead(start + 9 * TIMEOUT));
    }
}
