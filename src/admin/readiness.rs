//! Whether new clients should be sent here.
//!
//! Ready means: serving, able to verify tokens (the issuer's keys, where there is one, were fetched
//! once), and the Redis subscription itself was proven alive by a probe a moment ago. The age of the proof is checked here once more, so that a Redis side that is stuck, and so
//! can no longer say that its link is down, is noticed too.

use crate::{
    phase::Phase,
    upstream::{LinkStatus, Status},
};
use serde::Serialize;
use std::time::{Duration, Instant};

/// One reason not to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    /// Stable.
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) reasons: Vec<NotReady>,
}

impl Readiness {
    /// `keys_missing` says why no token can be verified, where that is so.
    pub(super) fn of(
        phase: Phase,
        status: &Status,
        keys_missing: Option<String>,
        expires: Duration,
        now: Instant,
    ) -> Self {
        let keys = keys_missing.map(|why| NotReady {
            code: "keys_unavailable",
            detail: format!("the issuer's keys (auth.jwt.jwks_url) were never fetched: {why}"),
        });
        let reasons = leaving(phase).into_iter().chain(unproven(status, expires, now)).chain(keys);
        let reasons: Vec<_> = reasons.collect();
        Self { ready: reasons.is_empty(), reasons }
    }
}

fn leaving(phase: Phase) -> Option<NotReady> {
    let detail = match phase {
        Phase::Running => return None,
        Phase::Terminating => "asked to stop; new connections are still accepted",
        Phase::Draining => "sessions are being closed",
        Phase::Stopped => "stopped",
    };
    Some(NotReady { code: "draining", detail: detail.to_owned() })
}

fn unproven(status: &Status, expires: Duration, now: Instant) -> Option<NotReady> {
    let age = status.verified.map(|verified| now.saturating_duration_since(verified));
    match (&status.link, age) {
        (LinkStatus::Down(reason), None) => Some(NotReady {
            code: "starting",
            detail: format!("the Redis link has not been proven yet: {reason}"),
        }),
        (LinkStatus::Down(reason), Some(_)) => {
            Some(NotReady { code: "redis_link_down", detail: reason.clone() })
        }
        (LinkStatus::Up, Some(age)) if age <= expires => None,
        (LinkStatus::Up, Some(age)) => Some(NotReady {
            code: "redis_proof_expired",
            detail: format!(
                "the last probe that proved the Redis link was {:.1} s ago, more than {:.1} s",
                age.as_secs_f64(),
                expires.as_secs_f64()
            ),
        }),
        (LinkStatus::Up, None) => Some(NotReady {
            code: "starting",
            detail: "the Redis link has not been proven yet".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: Duration = Duration::from_secs(9);

    fn codes(phase: Phase, link: LinkStatus, proof_age: Option<u64>) -> Vec<&'static str> {
        let verified = Instant::now();
        let now = verified + Duration::from_secs(proof_age.unwrap_or(0));
        let status =
            Status { link, verified: proof_age.map(|_| verified), wanted: 0, subscribed: 0 };
        let readiness = Readiness::of(phase, &status, None, EXPIRES, now);
        assert_eq!(readiness.ready, readiness.reasons.is_empty());
        readiness.reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn who_has_never_had_the_keys_of_its_issuer_is_not_ready() {
        let now = Instant::now();
        let status = Status { link: LinkStatus::Up, verified: Some(now), wanted: 0, subscribed: 0 };
        let missing = Some("the answer is 500".to_owned());
        let readiness = Readiness::of(Phase::Running, &status, missing, EXPIRES, now);
        assert!(!readiness.ready);
        assert_eq!(readiness.reasons[0].code, "keys_unavailable");
        assert!(readiness.reasons[0].detail.ends_with("the answer is 500"));
    }

    #[test]
    fn ready_is_only_who_serves_with_a_link_that_was_just_proven() {
        let down = || LinkStatus::Down("connection refused".to_owned());
        for (phase, link, proof_age, expected) in [
            (Phase::Running, LinkStatus::Up, Some(0), vec![]),
            (Phase::Running, LinkStatus::Up, Some(9), vec![]),
            (Phase::Running, LinkStatus::Up, Some(10), vec!["redis_proof_expired"]),
            (Phase::Running, LinkStatus::Up, None, vec!["starting"]),
            (Phase::Running, down(), None, vec!["starting"]),
            (Phase::Running, down(), Some(1), vec!["redis_link_down"]),
            (Phase::Terminating, LinkStatus::Up, Some(1), vec!["draining"]),
            (Phase::Draining, down(), Some(1), vec!["draining", "redis_link_down"]),
            (Phase::Stopped, LinkStatus::Up, Some(1), vec!["draining"]),
        ] {
            let said = format!("{phase:?} {link:?} {proof_age:?}");
            assert_eq!(codes(phase, link, proof_age), expected, "{said}");
        }
    }
}
