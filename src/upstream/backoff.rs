//! How long to wait before the next dial.
//!
//! Always jittered, so that many gateways never dial in step; it never gives up. Two manners, because two things are at stake:
//! - *Nobody answers.* A dial costs Redis nothing, so there is one about every `reconnect_min`, and
//!   about every half second once Redis has been away for half a minute. A Redis that comes back is
//!   found within a tenth of a second, or half of one.
//! - *Redis answers* with an error (NOAUTH, maxclients), or ends the connection. Each dial costs it
//!   something, so the wait is anywhere below a ceiling that doubles from `reconnect_min` to
//!   `reconnect_max`, and there are never more than ten such dials in ten seconds.

use super::link::LinkError;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Redis has been away for long.
const LONG_AWAY: Duration = Duration::from_secs(30);

/// About the time between two dials when nobody has answered for long.
const PATIENT: Duration = Duration::from_millis(500);

/// So many dials that Redis answers …
const DIALS: usize = 10;

/// … take at least this long.
const WINDOW: Duration = Duration::from_secs(10);

/// Waits between dials of one connection.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    /// Connections that came to nothing, in a row.
    failures: u32,
    /// When the latest dials began that Redis has answered.
    answered: VecDeque<Instant>,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0, answered: VecDeque::new() }
    }

    /// Starts over: the connection has proven itself.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.answered.clear();
    }

    /// When to dial again after the dial that began at `started`, or the connection that was lost
    /// then, has failed so. `away` is how long Redis has been out of reach.
    pub(super) fn after(&mut self, error: &LinkError, away: Duration, started: Instant) -> Instant {
        match error {
            LinkError::Unreachable(_) => {
                self.failures = 0;
                let about = if away < LONG_AWAY { self.min } else { self.min.max(PATIENT) };
                started + about.mul_f64(0.5 + fastrand::f64())
            }
            LinkError::Answered(_) | LinkError::ChannelRefused(_) | LinkError::Lost(_) => {
                let factor = 2_u32.saturating_pow(self.failures);
                self.failures = self.failures.saturating_add(1);
                let ceiling = self.min.saturating_mul(factor).min(self.max);
                self.within_bounds(started, started + ceiling.mul_f64(fastrand::f64()))
            }
        }
    }

    /// Puts a dial off that would come too soon after the ninth before it.
    fn within_bounds(&mut self, started: Instant, next: Instant) -> Instant {
        self.answered.push_back(started);
        if self.answered.len() < DIALS - 1 {
            return next;
        }
        let first = self.answered.pop_front().unwrap_or(started);
        next.max(first + WINDOW)
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

    /// When dials begin within `time`, if all fail so at once.
    fn dials(error: &LinkError, time: Duration) -> Vec<Instant> {
        let (mut backoff, start) = (Backoff::new(MIN, MAX), Instant::now());
        let next = |&at: &Instant| Some(backoff.after(error, at - start, at));
        std::iter::successors(Some(start), next).take_while(|&at| at - start < time).collect()
    }

    #[test]
    fn a_redis_that_answers_with_errors_is_dialled_at_most_ten_times_in_any_ten_seconds() {
        for _ in 0..500 {
            let dials = dials(&answered(), Duration::from_secs(120));
            for ten in dials.windows(10) {
                assert!(ten[9] - ten[0] >= Duration::from_secs(10), "{ten:?}");
            }
            let first = dials.iter().filter(|&&at| at - dials[0] < Duration::from_secs(10)).count();
            assert!(first >= 4, "{first} dials");
        }
    }

    #[test]
    fn an_absent_redis_is_dialled_about_every_minimum_and_twice_a_second_after_half_a_minute() {
        let dials = dials(&absent(), Duration::from_secs(90));
        for pair in dials.windows(2) {
            let about = if pair[0] - dials[0] < LONG_AWAY { MIN } else { PATIENT };
            let wait = pair[1] - pair[0];
            assert!(about / 2 <= wait && wait <= about * 3 / 2, "{wait:?}");
        }
        assert!(
            (280..=320).contains(&dials.iter().filter(|&&at| at - dials[0] < LONG_AWAY).count())
        );
    }

    #[test]
    fn waits_stay_jittered_at_the_cap_and_never_pass_it() {
        let mut backoff = Backoff::new(MIN, MAX);
        let mut now = Instant::now();
        let mut wait = |backoff: &mut Backoff, error: &LinkError| {
            // So far apart that no window is full.
            now += Duration::from_secs(100);
            backoff.after(error, Duration::from_secs(3_600), now) - now
        };
        for _ in 0..64 {
            wait(&mut backoff, &answered());
        }
        for error in [answered(), absent()] {
            let waits: Vec<_> = (0..50).map(|_| wait(&mut backoff, &error)).collect();
            assert!(waits.iter().all(|&wait| wait <= MAX));
            assert!(waits.iter().any(|wait| wait != &waits[0]), "no jitter at the cap");
        }
    }

    #[test]
    fn a_proven_connection_starts_over() {
        let (mut backoff, now) = (Backoff::new(MIN, MAX), Instant::now());
        for n in 0..20 {
            backoff.after(&answered(), MAX, now + n * WINDOW);
        }
        backoff.reset();
        let now = now + 30 * WINDOW;
        assert!(backoff.after(&answered(), MAX, now) <= now + MIN);
    }

    #[test]
    fn a_minimum_above_the_maximum_does_no_harm() {
        let (mut backoff, now) = (Backoff::new(MAX, MIN), Instant::now());
        assert!(backoff.after(&absent(), Duration::ZERO, now) <= now + MAX * 3 / 2);
        assert!(backoff.after(&answered(), Duration::ZERO, now) <= now + MAX);
    }
}
