//! The tail's canary: an entry that the other connection adds to a stream of our own must be told to
//! the tail, and be read. That proves what no PING can: that Redis tells which keys change.
//!
//! Pure: it sends nothing and reads no clock.

use std::time::Duration;
use tokio::time::Instant;

/// A PING that is asked for at the end may take so many timeouts while other answers arrive.
const LAST_CHANCE: u32 = 15;

/// The rounds of one process.
#[derive(Debug)]
pub(super) struct Canary {
    round: u64,
    phase: CanaryPhase,
    /// Its stream is to be read: that arms it.
    wants_read: bool,
    is_reading: bool,
    is_armed: bool,
    interval: Duration,
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CanaryPhase {
    Waiting {
        until: Instant,
    },
    Adding,
    Added {
        at: Instant,
    },
    /// The time is over; what stands before the answer to one more PING still counts.
    LastChance {
        at: Instant,
        is_asked: bool,
        is_answered: bool,
    },
}

impl Canary {
    pub(super) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            round: 0,
            phase: CanaryPhase::Waiting { until: now },
            wants_read: false,
            is_reading: false,
            is_armed: false,
            interval,
            timeout,
        }
    }

    /// There is a new link.
    pub(super) fn linked(&mut self, now: Instant) {
        self.phase = CanaryPhase::Waiting { until: now };
        (self.wants_read, self.is_reading, self.is_armed) = (true, false, false);
    }

    /// Redis has told a change of its stream.
    pub(super) fn changed(&mut self) {
        // One that stands before the answer to a reading is in that answer.
        if !self.is_reading {
            (self.wants_read, self.is_armed) = (true, false);
        }
    }

    /// Whether its stream is to be read now; then it is being read.
    pub(super) fn take_read(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.phase, CanaryPhase::Waiting { until } if until <= now);
        let is_needed = is_due && !self.is_armed && !self.is_reading;
        let wants = std::mem::take(&mut self.wants_read) || is_needed;
        self.is_reading |= wants;
        wants
    }

    /// Its stream was read. Returns whether that is the proof of a round.
    pub(super) fn read(&mut self, payload: Option<&[u8]>, now: Instant) -> bool {
        (self.is_reading, self.is_armed) = (false, true);
        let is_back = payload == Some(self.round.to_string().as_bytes())
            && !matches!(self.phase, CanaryPhase::Waiting { .. });
        if is_back {
            self.phase = CanaryPhase::Waiting { until: now + self.interval };
        }
        is_back
    }

    /// Its stream cannot be read, or not be written: it proves nothing for now.
    pub(super) fn failed(&mut self, now: Instant) {
        self.is_reading = false;
        // Read then, if it is not armed.
        self.phase = CanaryPhase::Waiting { until: now + self.interval };
    }

    /// The value to add now, if one is due.
    pub(super) fn take_add(&mut self, now: Instant) -> Option<String> {
        match self.phase {
            CanaryPhase::Waiting { until } if until <= now && self.is_armed => {
                self.round += 1;
                self.phase = CanaryPhase::Adding;
                Some(self.round.to_string())
            }
            _ => None,
        }
    }

    /// Redis has taken it.
    pub(super) fn added(&mut self, now: Instant) {
        // Otherwise it is back already.
        if self.phase == CanaryPhase::Adding {
            self.phase = CanaryPhase::Added { at: now };
        }
    }

    /// Whether a PING is to be sent for it; then it is.
    pub(super) fn take_ping(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            CanaryPhase::Added { at } if *at + self.timeout <= now => {
                self.phase =
                    CanaryPhase::LastChance { at: now, is_asked: true, is_answered: false };
                true
            }
            _ => false,
        }
    }

    /// A PING that was asked for by [`Canary::take_ping`] is answered.
    pub(super) fn pinged(&mut self) {
        if let CanaryPhase::LastChance { is_asked: true, is_answered, .. } = &mut self.phase {
            *is_answered = true;
        }
    }

    /// Whether it did not come back. Take in everything that has arrived before you ask.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        match self.phase {
            CanaryPhase::LastChance { is_answered: true, .. } => {
                !self.is_reading && !self.wants_read
            }
            CanaryPhase::LastChance { at, .. } => at + LAST_CHANCE * self.timeout <= now,
            _ => false,
        }
    }

    /// When one of these may change by the passing of time alone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            CanaryPhase::Waiting { until } => (self.is_armed || !self.is_reading).then_some(until),
            CanaryPhase::Adding => None,
            CanaryPhase::Added { at } => Some(at + self.timeout),
            CanaryPhase::LastChance { at, .. } => Some(at + LAST_CHANCE * self.timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const TIMEOUT: Duration = Duration::from_secs(2);

    fn added() -> (Canary, Instant) {
        let now = Instant::now();
        let mut canary = Canary::new(INTERVAL, TIMEOUT, now);
        canary.linked(now);
        assert_eq!(canary.take_add(now), None, "nothing would be told yet");
        assert!(canary.take_read(now));
        assert!(!canary.read(None, now));
        assert_eq!(canary.take_add(now).as_deref(), Some("1"));
        canary.added(now);
        (canary, now)
    }

    #[test]
    fn what_was_told_and_read_is_the_proof_and_the_next_one_is_due_an_interval_later() {
        let (mut canary, now) = added();
        canary.changed();
        assert!(canary.take_read(now));
        assert!(canary.read(Some(b"1"), now));
        assert_eq!(canary.take_add(now), None);
        assert_eq!(canary.deadline(), Some(now + INTERVAL));
        assert_eq!(canary.take_add(now + INTERVAL).as_deref(), Some("2"));
    }

    #[test]
    fn one_that_is_not_told_is_lost_once_a_later_ping_is_answered() {
        let (mut canary, now) = added();
        assert!(!canary.take_ping(now));
        assert!(canary.take_ping(now + TIMEOUT));
        assert!(!canary.is_lost(now + TIMEOUT));
        canary.pinged();
        assert!(canary.is_lost(now + TIMEOUT));
    }

    #[test]
    fn one_that_was_told_before_the_ping_was_answered_is_read_first() {
        let (mut canary, now) = added();
        canary.take_ping(now + TIMEOUT);
        canary.changed();
        canary.pinged();
        assert!(!canary.is_lost(now + TIMEOUT));
        assert!(canary.take_read(now + TIMEOUT));
        assert!(!canary.is_lost(now + TIMEOUT));
        assert!(canary.read(Some(b"1"), now + TIMEOUT));
        assert!(!canary.is_lost(now + TIMEOUT));
    }

    #[test]
    fn a_ping_that_is_never_answered_ends_it_too() {
        let (mut canary, now) = added();
        canary.take_ping(now + TIMEOUT);
        assert!(!canary.is_lost(now + 15 * TIMEOUT));
        assert!(canary.is_lost(now + 16 * TIMEOUT));
    }

    #[test]
    fn one_that_cannot_be_added_proves_nothing_and_is_tried_again() {
        let (mut canary, now) = added();
        canary.failed(now);
        assert!(!canary.is_lost(now + 100 * TIMEOUT));
        assert_eq!(canary.take_add(now + INTERVAL).as_deref(), Some("2"));
    }

    #[test]
    fn one_that_cannot_be_read_is_read_again_an_interval_later_and_no_sooner() {
        let now = Instant::now();
        let mut canary = Canary::new(INTERVAL, TIMEOUT, now);
        canary.linked(now);
        assert!(canary.take_read(now));
        canary.failed(now);
        assert!(!canary.take_read(now));
        assert_eq!(canary.deadline(), Some(now + INTERVAL));
        assert!(canary.take_read(now + INTERVAL));
        assert_eq!(canary.deadline(), None);
    }

    #[test]
    fn the_entry_of_an_earlier_round_is_no_proof() {
        let (mut canary, now) = added();
        canary.changed();
        canary.take_read(now);
        assert!(!canary.read(Some(b"0"), now));
    }
}
