//! Whether new clients should be sent here.
//!
//! Ready means: serving; able to verify tokens (the issuer's keys, where there is one, were fetched
//! once); told of revocations (Redis accepts the control channel); and the Redis subscription itself was
//! proven alive by a probe a moment ago. The age of the
//! proof is checked here once more, so that a Redis side that is stuck, and so can no longer say that
//! its link is down, is noticed too.

use crate::{
    phase::Phase,
    reason::NotReadyReason,
    upstream::{LinkStatus, Status},
};
use serde::Serialize;
use std::time::{Duration, Instant};

/// One reason not to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    pub(super) code: NotReadyReason,
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
            code: NotReadyReason::KeysUnavailable,
            detail: format!("the issuer's keys (auth.jwt.jwks_url) were never fetched: {why}"),
        });
        let control = status.control_refused.as_ref().map(|why| NotReady {
            code: NotReadyReason::ControlRefused,
            detail: format!("Redis refuses redis.control_channel, so nobody can be revoked: {why}"),
        });
        let tracking = status.tracking_refused.as_ref().map(|why| NotReady {
            code: NotReadyReason::TrackingRefused,
            detail: format!("Redis does not let streams be followed: {why}"),
        });
        let link = unproven(status, expires, now);
        let refused = control.into_iter().chain(tracking);
        let reasons = stopping(phase).into_iter().chain(link).chain(refused).chain(keys);
        let reasons: Vec<_> = reasons.collect();
        Self { ready: reasons.is_empty(), reasons }
    }
}

fn stopping(phase: Phase) -> Option<NotReady> {
    let detail = match phase {
        Phase::Running => return None,
        Phase::Terminating => "asked to stop; new connections are still accepted",
        Phase::Draining => "sessions are being closed",
        Phase::Stopped => "stopped",
    };
    Some(NotReady { code: NotReadyReason::Draining, detail: detail.to_owned() })
}

fn unproven(status: &Status, expires: Duration, now: Instant) -> Option<NotReady> {
    let age = status.verified.map(|verified| now.saturating_duration_since(verified));
    match (&status.link, age) {
        (LinkStatus::Down(reason), None) => Some(NotReady {
            code: NotReadyReason::Starting,
            detail: format!("the Redis link has not been proven yet: {reason}"),
        }),
        (LinkStatus::Down(reason), Some(_)) => {
            Some(NotReady { code: NotReadyReason::RedisLinkDown, detail: reason.clone() })
        }
        (LinkStatus::Up, Some(age)) if age <= expires => None,
        (LinkStatus::Up, Some(age)) => Some(NotReady {
            code: NotReadyReason::RedisProofExpired,
            detail: format!(
                "the last probe that proved the Redis link was {:.1} s ago, more than {:.1} s",
                age.as_secs_f64(),
                expires.as_secs_f64()
            ),
        }),
        (LinkStatus::Up, None) => Some(NotReady {
            code: NotReadyReason::Starting,
            detail: "the Redis link has not been proven yet".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: Duration = Duration::from_secs(9);

    fn up(verified: Option<Instant>) -> Status {
        let link = LinkStatus::Up;
        let (control_refused, tracking_refused) = (None, None);
        Status { link, verified, wanted: 0, subscribed: 0, control_refused, tracking_refused }
    }

    #[test]
    fn who_cannot_be_told_of_revocations_is_not_ready() {
        let now = Instant::now();
        let refused = Some("NOPERM".to_owned());
        let status = Status { control_refused: refused, ..up(Some(now)) };
        let readiness = Readiness::of(Phase::Running, &status, None, EXPIRES, now);
        assert!(!readiness.ready);
        assert_eq!(readiness.reasons[0].code, NotReadyReason::ControlRefused);
        assert!(readiness.reasons[0].detail.ends_with("NOPERM"));
    }

    #[test]
    fn who_is_not_told_which_streams_change_is_not_ready() {
        let now = Instant::now();
        let refused = Some("NOPERM".to_owned());
        let status = Status { tracking_refused: refused, ..up(Some(now)) };
        let readiness = Readiness::of(Phase::Running, &status, None, EXPIRES, now);
        assert!(!readiness.ready);
        assert_eq!(readiness.reasons[0].code, NotReadyReason::TrackingRefused);
        assert!(readiness.reasons[0].detail.ends_with("NOPERM"));
    }

    fn codes(phase: Phase, link: LinkStatus, proof_age: Option<u64>) -> Vec<NotReadyReason> {
        let verified = Instant::now();
        let now = verified + Duration::from_secs(proof_age.unwrap_or(0));
        let status = Status { link, ..up(proof_age.map(|_| verified)) };
        let readiness = Readiness::of(phase, &status, None, EXPIRES, now);
        assert_eq!(readiness.ready, readiness.reasons.is_empty());
        readiness.reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn who_has_never_had_the_keys_of_its_issuer_is_not_ready() {
        let now = Instant::now();
        let status = up(Some(now));
        let missing = Some("the answer is 500".to_owned());
        let readiness = Readiness::of(Phase::Running, &status, missing, EXPIRES, now);
        assert!(!readiness.ready);
        assert_eq!(readiness.reasons[0].code, NotReadyReason::KeysUnavailable);
        assert!(readiness.reasons[0].detail.ends_with("the answer is 500"));
    }

    #[test]
    fn ready_is_only_who_serves_with_a_link_that_was_just_proven() {
        let down = || LinkStatus::Down("connection refused".to_owned());
        for (phase, link, proof_age, expected) in [
            (Phase::Running, LinkStatus::Up, Some(0), vec![]),
            (Phase::Running, LinkStatus::Up, Some(9), vec![]),
            (Phase::Running, LinkStatus::Up, Some(10), vec![NotReadyReason::RedisProofExpired]),
            (Phase::Running, LinkStatus::Up, None, vec![NotReadyReason::Starting]),
            (Phase::Running, down(), None, vec![NotReadyReason::Starting]),
            (Phase::Running, down(), Some(1), vec![NotReadyReason::RedisLinkDown]),
            (Phase::Terminating, LinkStatus::Up, Some(1), vec![NotReadyReason::Draining]),
            (
                Phase::Draining,
                down(),
                Some(1),
                vec![NotReadyReason::Draining, NotReadyReason::RedisLinkDown],
            ),
            (Phase::Stopped, LinkStatus::Up, Some(1), vec![NotReadyReason::Draining]),
        ] {
            let said = format!("{phase:?} {link:?} {proof_age:?}");
            assert_eq!(codes(phase, link, proof_age), expected, "{said}");
        }
    }
}
