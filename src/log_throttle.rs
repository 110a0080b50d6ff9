//! Log lines for what can come in floods: now and then one.
//!
//! Never silent about how much it was: the next line says how many came unsaid before it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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
    fn what_keeps_coming_is_logged_now_and_then_with_how_much_it_was() {
        let (mut repeated, start) = (LogThrottle::default(), Instant::now());
        let logged = [0, 1, 9, 12, 21, 31, 60]
            .map(|seconds| repeated.to_log(start + Duration::from_secs(seconds)));
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
