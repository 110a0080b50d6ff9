//! Log lines for what can come in floods: now and then one.
//!
//! Never silent about how much it was: the next line says how many came unsaid before it.

use std::time::{Duration, Instant};

/// Nothing of one kind is logged more often than this.
const PAUSE: Duration = Duration::from_secs(10);

/// Things of one kind, as they come.
#[derive(Debug, Default)]
pub struct LogThrottle {
    logged: Option<Instant>,
    unsaid: u64,
}

impl LogThrottle {
    /// Takes one more. `Some`: it is to be logged, together with how many have come unsaid since the
    /// last one that was.
    pub fn to_log(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_coming_is_logged_now_and_then_with_how_much_it_was() {
        let (mut repeated, start) = (LogThrottle::default(), Instant::now());
        let logged = [0, 1, 9, 12, 21, 31, 60]
            .map(|seconds| repeated.to_log(start + Duration::from_secs(seconds)));
        assert_eq!(logged, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
