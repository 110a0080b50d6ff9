//! The rate of handshakes: a bucket of one second's worth at most, filled evenly.

use std::{num::NonZeroUsize, time::Instant};

pub(super) struct Rate {
    per_second: f64,
    left: f64,
    filled: Option<Instant>,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(per_second: NonZeroUsize) -> Self {
        let per_second = per_second.get() as f64;
        Self { per_second, left: per_second, filled: None }
    }

    /// Takes one out; `false` when there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |then| now.duration_since(then).as_secs_f64());
        self.filled = Some(now);
        self.left = (self.left + since * self.per_second).min(self.per_second);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_rate_is_a_second_s_worth_at_once_and_then_even() {
        let mut rate = Rate::new(NonZeroUsize::new(10).unwrap());
        let start = Instant::now();
        let mut taken_at = |milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            (0..100).filter(|_| rate.take(now)).count()
        };
        assert_eq!(taken_at(0), 10);
        assert_eq!(taken_at(50), 0);
        assert_eq!(taken_at(100), 1);
        assert_eq!(taken_at(600), 5);
        assert_eq!(taken_at(60_000), 10);
    }
}
