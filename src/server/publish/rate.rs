//! Rate limit of a token: a bucket that holds one second's worth of requests and fills evenly.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// The bucket of one token, for all shards.
pub(super) struct Bucket {
    per_second: f64,
    /// What is left, and when it was.
    left: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: NonZeroUsize, now: Instant) -> Self {
        let per_second = per_second.get() as f64;
        Self { per_second, left: Mutex::new((per_second, now)) }
    }

    /// Takes one out; `false` when there is none.
    pub(super) fn take(&self, now: Instant) -> bool {
        // Nothing that holds it can panic half-way.
        let mut guard = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, then) = *guard;
        let since = now.saturating_duration_since(then).as_secs_f64();
        let left = (left + since * self.per_second).min(self.per_second);
        let taken = left >= 1.0;
        *guard = (if taken { left - 1.0 } else { left }, now.max(then));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_has_a_second_s_worth_at_once_and_then_an_even_rate() {
        let start = Instant::now();
        let bucket = Bucket::new(NonZeroUsize::new(10).unwrap(), start);
        let taken_at = |ms| {
            let now = start + Duration::from_millis(ms);
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!([taken_at(0), taken_at(50), taken_at(100), taken_at(600)], [10, 0, 1, 5]);
        assert_eq!(taken_at(60_000), 10);
    }
}
