//! Timing wheel for the deadlines of a shard's sessions: eight bytes for an idle one, and no timer of
//! its own.
//!
//! Each session has one place in the wheel that counts, at its earliest deadline or where the round ends;
//! places left over from earlier deadlines are skipped when they come due. What an ended session leaves
//! is therefore gone after one round.

use std::time::Duration;
use tokio::time::Instant;

/// How finely deadlines are kept. They are never early, and late by two of these at the most. Each
/// wakes the thread, so finer ones would cost more than the sessions of an idle shard.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Slots: 25.6 s ahead, a round. What is further away takes another place then.
const SLOTS: u32 = 256;

/// A moment, in ticks since the shard started; 0 means never.
pub(super) type Tick = u32;

/// The wheel. `key` is a session's place in the shard's slab.
#[derive(Debug)]
pub(super) struct Wheel {
    started: Instant,
    now: Tick,
    slots: Vec<Vec<(u32, Tick)>>,
}

impl Wheel {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, now: 1, slots: vec![Vec::new(); SLOTS as usize] }
    }

    /// The tick that it was when the wheel last turned.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// The first tick that is surely not before `delay` has passed.
    pub(super) fn after(&self, delay: Duration) -> Tick {
        self.now.saturating_add(Self::ticks(delay))
    }

    /// How many ticks later `delay` has surely passed.
    pub(super) fn ticks(delay: Duration) -> Tick {
        let ticks = delay.as_millis().div_ceil(TICK.as_millis()) + 1;
        u32::try_from(ticks).unwrap_or(Tick::MAX)
    }

    /// Puts a session in at this tick, or where the round ends if that is earlier; returns which. A place
    /// for a whole life would stay that long after a session that has ended.
    pub(super) fn insert(&mut self, key: u32, at: Tick) -> Tick {
        let place = at.clamp(self.now + 1, self.now + SLOTS - 1);
        self.slots[(place % SLOTS) as usize].push((key, place));
        place
    }

    /// Places taken, those left over included.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// Turns to `now` and hands out all places that have come due.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<(u32, Tick)> {
        let ticks = now.duration_since(self.started).as_millis() / TICK.as_millis() + 1;
        let until = u32::try_from(ticks).unwrap_or(Tick::MAX);
        let mut due = Vec::new();
        while self.now < until {
            self.now += 1;
            due.append(&mut std::mem::take(&mut self.slots[(self.now % SLOTS) as usize]));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of these delays comes due, turning the wheel tick by tick.
    fn due_after(delays: &[Duration]) -> Vec<Duration> {
        let started = Instant::now();
        let mut wheel = Wheel::new(started);
        let deadlines: Vec<_> = delays.iter().map(|delay| wheel.after(*delay)).collect();
        for (key, &at) in deadlines.iter().enumerate() {
            wheel.insert(u32::try_from(key).unwrap(), at);
        }
        let mut due = vec![Duration::ZERO; delays.len()];
        for tick in 1..3_000 {
            let now = started + TICK * tick;
            for (key, at) in wheel.turn(now) {
                let deadline = deadlines[key as usize];
                if at < deadline {
                    wheel.insert(key, deadline);
                } else {
                    due[key as usize] = now - started;
                }
            }
        }
        due
    }

    #[test]
    fn no_deadline_is_early_and_none_is_later_than_two_ticks() {
        let delays = [0, 1, 50, 51, 99, 1_000, 25_550, 25_600, 25_650, 60_000, 120_000]
            .map(Duration::from_millis);
        for (delay, due) in delays.iter().zip(due_after(&delays)) {
            assert!(due >= *delay && due <= *delay + TICK * 2, "{delay:?} came due at {due:?}");
        }
    }

    #[test]
    fn a_late_turn_hands_out_everything_it_passed() {
        let started = Instant::now();
        let mut wheel = Wheel::new(started);
        for key in 0..100 {
            wheel.insert(key, 2 + key * 20);
        }
        assert_eq!(wheel.turn(started + TICK * 3_000).len(), 100);
    }
}
