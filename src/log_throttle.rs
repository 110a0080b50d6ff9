//! Limits how often a kind of event is logged, for those that can come in floods.
//!
//! Nothing is hidden: each line that is logged says how many events were not logged before it.

use std::time::{Duration, Instant};

/// The least time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// The throttle of one kind of event.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// When the last line was logged.
    logged: Option<Instant>,
    /// Events since then.
    skipped: u64,
}

impl LogThrottle {
    /// Counts one event. `Some`: log it, with the number of those that were skipped since the last line.
    #[expect(clippy::wrong_self_convention, reason = "it asks what there is to log")]
    pub fn to_log(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < PAUSE) {
            self.skipped += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_every_ten_seconds_with_the_number_of_what_was_skipped() {
        let (mut throttle, start) = (LogThrottle::default(), Instant::now());
        let logged = [0, 1, 9, 12, 21, 31, 60]
            .map(|seconds| throttle.to_log(start + Duration::from_secs(seconds)));
        assert_eq!(logged, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
