//! Redis's time: deadlines are Redis's, so that instances whose clocks differ agree. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// How long one answer to TIME is used. A process that was stopped for longer asks again first.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// What Redis said, in milliseconds, and when it was asked.
    known: Option<(u64, Instant)>,
}

impl Clock {
    /// Redis's answer to a TIME that was asked at `asked`.
    pub(super) fn set(&mut self, milliseconds: u64, asked: Instant) {
        self.known = Some((milliseconds, asked));
    }

    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Converts a moment to Redis's time, in milliseconds; `None`: TIME must be asked first.
    pub(super) fn milliseconds(&self, at: Instant, now: Instant) -> Option<u64> {
        let (milliseconds, asked) = self.known?;
        let age = now.checked_duration_since(asked).filter(|age| *age <= FRESH)?;
        let redis_now = milliseconds + age.as_millis() as u64;
        let ahead = at.saturating_duration_since(now).as_millis() as u64;
        let behind = now.saturating_duration_since(at).as_millis() as u64;
        Some((redis_now + ahead).saturating_sub(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_redis_s_time_and_only_while_it_is_known() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        assert_eq!(clock.milliseconds(start, start), None);
        clock.set(5_000, start);
        let later = start + Duration::from_millis(100);
        assert_eq!(clock.milliseconds(later + Duration::from_secs(3), later), Some(8_100));
        assert_eq!(clock.milliseconds(start, later), Some(5_000));
        assert_eq!(clock.milliseconds(start, start + 2 * FRESH), None, "it is asked anew");
    }
}
