//! How long to wait before the next dial. It grows exponentially, is jittered always (at its cap
//! too, so that many gateways never dial in step), and never gives up.
//!
//! Two manners, because two things are at stake:
//! - *Nobody is there.* A dial costs Redis nothing, so the wait is anywhere between nothing and half
//!   of the time that Redis has already been away, at most half of `reconnect_max`. A Redis that
//!   comes back is found within half a second after a second's outage, 2.5 s after a long one.
//! - *Redis is there*, but answers with an error (NOAUTH, maxclients, LOADING) or ends the
//!   connection. Each dial costs it something, so the wait doubles and is never below half of its ceiling: with the defaults that is at most
//!   nine dials in the first ten seconds.

use super::client::LinkError;
use std::time::Duration;

/// Waits between dials of one connection.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    /// Connections that came to nothing, in a row.
    failures: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0 }
    }

    /// Starts over: the connection has proven itself.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait from the start of the dial that failed so to the start of the next one.
    /// `away` is how long Redis has been out of reach.
    pub(super) fn after(&mut self, error: &LinkError, away: Duration) -> Duration {
        match error {
            LinkError::Unreachable(_) => {
                self.failures = 0;
                let ceiling = (away / 2).min(self.max / 2).max(self.min);
                ceiling.mul_f64(fastrand::f64())
            }
            LinkError::Answered(_) | LinkError::ChannelRefused(_) | LinkError::Lost(_) => {
                let factor = 2_u32.saturating_pow(self.failures);
                self.failures = self.failures.saturating_add(1);
                let ceiling = self.min.saturating_mul(factor).min(self.max);
                ceiling.mul_f64(0.5 + fastrand::f64() / 2.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    fn absent() -> LinkError {
        LinkError::Unreachable("refused".to_owned())
    }

    fn answered() -> LinkError {
        LinkError::Answered("NOAUTH".to_owned())
    }

    #[test]
    fn a_redis_that_answers_with_errors_is_dialled_at_most_ten_times_in_ten_seconds() {
        for _ in 0..500 {
            let mut backoff = Backoff::new(MIN, MAX);
            let (mut at, mut dials) = (Duration::ZERO, 0);
            while at < Duration::from_secs(10) {
                dials += 1;
                at += backoff.after(&answered(), at);
            }
            assert!(dials <= 10, "{dials} dials");
        }
    }

    #[test]
    fn an_absent_redis_is_found_soon_after_it_comes_back() {
        for (outage, bound) in [(1.0, 0.51), (30.0, 2.51)] {
            for _ in 0..500 {
                let mut backoff = Backoff::new(MIN, MAX);
                let mut at = Duration::ZERO;
                while at.as_secs_f64() < outage {
                    at += backoff.after(&absent(), at);
                }
                assert!(at.as_secs_f64() - outage < bound, "{at:?} for {outage} s");
            }
        }
    }

    #[test]
    fn waits_stay_jittered_at_the_cap_and_never_pass_it() {
        let mut backoff = Backoff::new(MIN, MAX);
        let long = Duration::from_secs(3_600);
        for _ in 0..64 {
            backoff.after(&answered(), long);
        }
        for error in [absent(), answered()] {
            let waits: Vec<_> = (0..50).map(|_| backoff.after(&error, long)).collect();
            assert!(waits.iter().all(|&wait| wait <= MAX));
            assert!(waits.iter().any(|wait| wait != &waits[0]), "no jitter at the cap");
        }
    }

    #[test]
    fn a_proven_connection_starts_over() {
        let mut backoff = Backoff::new(MIN, MAX);
        for _ in 0..20 {
            backoff.after(&answered(), MAX);
        }
        backoff.reset();
        assert!(backoff.after(&answered(), MAX) <= MIN);
    }

    #[test]
    fn a_minimum_above_the_maximum_does_no_harm() {
        let mut backoff = Backoff::new(MAX, MIN);
        assert!(backoff.after(&absent(), Duration::ZERO) <= MAX);
        assert!(backoff.after(&answered(), Duration::ZERO) <= MAX);
    }
}
