//! The rate of handshakes: a bucket of one second's worth at most, filled evenly.
//!
//! Only requests that are complete take from it, and an address that took more than a quarter of it
//! within a second has only what others leave: no more while less than half is left.

use super::AddressKey;
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

/// Over this time the takings of each address are counted.
const WINDOW: Duration = Duration::from_secs(1);

pub(super) struct Rate {
    per_second: f64,
    left: f64,
    filled: Option<Instant>,
    /// What each address took since the window began; at most two buckets full of them.
    takings: HashMap<Option<AddressKey>, usize>,
    window: Option<Instant>,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(per_second: NonZeroUsize) -> Self {
        let per_second = per_second.get() as f64;
        let takings = HashMap::new();
        Self { per_second, left: per_second, filled: None, takings, window: None }
    }

    /// Takes one out for a client of this address; `false` when there is none for it.
    pub(super) fn take(&mut self, address: Option<AddressKey>, now: Instant) -> bool {
        self.fill(now);
        if self.left < self.least_left(address) {
            return false;
        }
        self.left -= 1.0;
        *self.takings.entry(address).or_default() += 1;
        true
    }

    fn fill(&mut self, now: Instant) {
        let since = self.filled.map_or(0.0, |then| now.duration_since(then).as_secs_f64());
        self.filled = Some(now);
        self.left = (self.left + since * self.per_second).min(self.per_second);
        if self.window.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            self.window = Some(now);
            self.takings.clear();
        }
    }

    /// How much must be left for this address to take one.
    fn least_left(&self, address: Option<AddressKey>) -> f64 {
        let taken = self.takings.get(&address).map_or(0.0, |&taken| taken as f64);
        if taken < self.per_second / 4.0 { 1.0 } else { (self.per_second / 2.0).max(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn from(last: u8) -> Option<AddressKey> {
        Some(AddressKey::new([192, 0, 2, last].into()))
    }

    #[test]
    fn the_rate_is_a_second_s_worth_at_once_and_then_even() {
        let mut rate = Rate::new(NonZeroUsize::new(10).unwrap());
        let start = Instant::now();
        let mut taken_at = |milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            (0..100).filter(|&n| rate.take(from(n), now)).count()
        };
        assert_eq!(taken_at(0), 10);
        assert_eq!(taken_at(50), 0);
        assert_eq!(taken_at(100), 1);
        assert_eq!(taken_at(600), 5);
        assert_eq!(taken_at(60_000), 10);
    }

    #[test]
    fn one_address_has_the_whole_rate_only_as_long_as_nobody_else_wants_it() {
        let mut rate = Rate::new(NonZeroUsize::new(100).unwrap());
        let start = Instant::now();
        let mut taken = [0; 2];
        // Ten seconds: one address comes a thousand times a second, the other ten times.
        for tick in 0..10_000 {
            let now = start + Duration::from_millis(tick);
            taken[0] += u32::from(rate.take(from(1), now));
            if tick % 100 == 0 {
                assert!(rate.take(from(2), now), "kept out at {tick} ms");
                taken[1] += 1;
            }
        }
        assert_eq!(taken[1], 100);
        assert!((900..=1_000).contains(&taken[0]), "{}", taken[0]);
        assert!(rate.takings.len() <= 2);
    }
}
