//! Limits how often a kind of event is logged, for those that can come in floods.
//!
//! Nothing is hidden: each line that is logged says how many events were not logged before it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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

/// Causes are made of what the configuration says; more than this is more than it says at a time.
const MAX_CAUSES: usize = 1024;

/// One throttle for each cause, so that a frequent one never hides a rare one.
#[derive(Debug, Default)]
pub struct CauseThrottle(Mutex<HashMap<String, LogThrottle>>);

impl CauseThrottle {
    /// Takes one more of this cause; returns as [`LogThrottle::to_log`] does.
    pub fn to_log(&self, cause: &str, now: Instant) -> Option<u64> {
        // Nothing that holds it can panic half-way.
        let mut causes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(throttle) = causes.get_mut(cause) {
            return throttle.to_log(now);
        }
        if causes.len() >= MAX_CAUSES {
            causes.clear();
        }
        causes.entry(cause.to_owned()).or_default().to_log(now)
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

    #[test]
    fn each_cause_is_logged_by_itself_and_their_number_is_bounded() {
        let (causes, now) = (CauseThrottle::default(), Instant::now());
        assert_eq!(
            ["a", "b", "a", "b"].map(|cause| causes.to_log(cause, now)),
            [Some(0), Some(0), None, None]
        );
        assert_eq!(causes.to_log("a", now + PAUSE), Some(1));
        for cause in 0..5_000 {
            causes.to_log(&cause.to_string(), now);
        }
        assert!(causes.0.lock().unwrap().len() <= MAX_CAUSES);
    }
}
