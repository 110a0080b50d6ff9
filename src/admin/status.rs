//! `/status`: the whole state on one page of JSON.

use super::{
    AdminContext,
    readiness::{NotReady, Readiness},
};
use crate::{REVISION, VERSION, endpoint::EndpointName, upstream::LinkStatus};
use serde::Serialize;
use std::{collections::BTreeMap, time::Instant};

/// The answer of `/status`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    version: &'static str,
    revision: &'static str,
    phase: &'static str,
    ready: bool,
    /// Why not.
    reasons: Vec<NotReady>,
    uptime_seconds: f64,
    /// Open now, by endpoint.
    sessions: BTreeMap<String, u64>,
    redis: Redis,
    channels: Channels,
}

#[derive(Debug, Serialize)]
struct Redis {
    link: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `null` before the first.
    seconds_since_proof: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Channels {
    wanted: usize,
    subscribed: usize,
}

impl AdminContext {
    pub(super) fn readiness(&self, now: Instant) -> Readiness {
        let keys_missing = self.config.borrow().auth.key_set().and_then(|keys| keys.missing());
        let (phase, upstream) = (*self.phase.borrow(), self.upstream.borrow());
        Readiness::of(phase, &upstream, keys_missing, self.proof_expires, now)
    }

    pub(super) fn summary(&self, now: Instant) -> Summary {
        let Readiness { ready, reasons } = self.readiness(now);
        let status = self.upstream.borrow().clone();
        let endpoints = self.config.borrow().endpoints.clone();
        let open = |name: &EndpointName| (String::from(&**name), self.metrics.sessions_open(name));
        Summary {
            version: VERSION,
            revision: REVISION,
            phase: self.phase.borrow().label(),
            ready,
            reasons,
            uptime_seconds: seconds(now, self.started),
            sessions: endpoints.iter().map(|endpoint| open(&endpoint.name)).collect(),
            channels: Channels { wanted: status.wanted, subscribed: status.subscribed },
            redis: Redis {
                seconds_since_proof: status.verified.map(|verified| seconds(now, verified)),
                link: if status.link == LinkStatus::Up { "up" } else { "down" },
                reason: match status.link {
                    LinkStatus::Up => None,
                    LinkStatus::Down(reason) => Some(reason),
                },
            },
        }
    }
}

/// Seconds from `then` to `now`, to the millisecond.
fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_millis() as f64 / 1e3
}
