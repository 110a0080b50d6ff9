//! Reads every stream once in a while without being woken, one after the other, evenly over the time.

use crate::upstream::streams::table::StreamNumber;
use std::time::Duration;
use tokio::time::Instant;

/// The least time between two steps.
const STEP: Duration = Duration::from_millis(20);

/// Goes round all numbers of streams once in `every`.
#[derive(Debug)]
pub(super) struct Polling {
    /// `None`: never.
    every: Option<Duration>,
    next: StreamNumber,
    /// Up to when the numbers were taken.
    taken: Instant,
}

impl Polling {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, next: 0, taken: now }
    }

    /// Everything has just been read.
    pub(super) fn start(&mut self, now: Instant) {
        self.taken = now;
    }

    /// Takes the numbers, below `bound`, that are due.
    pub(super) fn take(&mut self, bound: StreamNumber, now: Instant) -> Vec<StreamNumber> {
        let Some(every) = self.every.filter(|_| bound > 0) else {
            self.taken = now;
            return Vec::new();
        };
        let (elapsed, bound) = ((now - self.taken).as_nanos(), u128::from(bound));
        let count = (elapsed * bound / every.as_nanos()).min(bound);
        if count == 0 {
            return Vec::new();
        }
        self.taken = match count == bound {
            true => now,
            false => self.taken + every.mul_f64(count as f64 / bound as f64),
        };
        let start = u128::from(self.next).min(bound - 1);
        self.next = ((start + count) % bound) as StreamNumber;
        (0..count).map(|step| ((start + step) % bound) as StreamNumber).collect()
    }

    pub(super) fn deadline(&self, bound: StreamNumber) -> Option<Instant> {
        let every = self.every.filter(|_| bound > 0)?;
        // Rounded up: then one is due for certain.
        Some(self.taken + (every / bound + Duration::from_nanos(1)).max(STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    #[test]
    fn every_stream_is_read_once_in_the_time_and_evenly() {
        for bound in [1, 7, 1_000, 50_000] {
            let start = Instant::now();
            let mut polling = Polling::new(Some(EVERY), start);
            let (mut now, mut taken) = (start, Vec::new());
            while now < start + EVERY {
                now = polling.deadline(bound).unwrap();
                let due = polling.take(bound, now);
                assert!(due.len() <= 1 + bound as usize / 1_000, "{} of {bound}", due.len());
                taken.extend(due);
            }
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), bound as usize);
            assert!(now <= start + EVERY + STEP, "{:?}", now - start);
        }
    }

    #[test]
    fn after_a_standstill_every_stream_is_due_once() {
        let start = Instant::now();
        let mut polling = Polling::new(Some(EVERY), start);
        assert_eq!(polling.take(3, start + 10 * EVERY), [0, 1, 2]);
        assert!(polling.take(3, start + 10 * EVERY).is_empty());
    }

    #[test]
    fn without_a_time_nothing_is_ever_due() {
        let start = Instant::now();
        let mut polling = Polling::new(None, start);
        assert!(polling.take(3, start + 10 * EVERY).is_empty());
        assert_eq!(polling.deadline(3), None);
        assert_eq!(Polling::new(Some(EVERY), start).deadline(0), None);
    }
}
