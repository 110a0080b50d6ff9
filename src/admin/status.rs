//! `/status`: the whole state on one page of JSON.

use super::{
    AdminContext,
    readiness::{NotReady, Readiness},
};
use crate::{
    REVISION, VERSION,
    config::{Config, HttpPublish},
    endpoint::EndpointName,
    metrics::Publishes,
    reason::PublishSource,
    upstream::LinkStatus,
};
use prometheus::IntGauge;
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
    streams: Channels,
    patterns: Patterns,
    presence: Presence,
    publish: Publish,
    /// `null` where nothing is published by HTTP.
    http_publish: Option<Http>,
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

/// Channels, or streams.
#[derive(Debug, Serialize)]
struct Channels {
    wanted: usize,
    subscribed: usize,
}

/// They are among the channels, too.
#[derive(Debug, Serialize)]
struct Patterns {
    /// That sessions are in, or that linger.
    in_use: usize,
    /// `redis.max_patterns`.
    limit: usize,
}

/// What this instance keeps of it.
#[derive(Debug, Serialize)]
struct Presence {
    rooms: usize,
    members: usize,
}

/// Since the process began, but for what is under way.
#[derive(Debug, Serialize)]
struct Publish {
    under_way_bytes: usize,
    clients: Outcomes,
    http: Outcomes,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    published: u64,
    refused: u64,
    outcome_unknown: u64,
}

#[derive(Debug, Serialize)]
struct Http {
    /// The public port's where it has none of its own.
    listen: String,
    path: String,
    tokens: usize,
}

impl From<Publishes> for Outcomes {
    fn from(Publishes { published, refused, unknown }: Publishes) -> Self {
        Self { published, refused, outcome_unknown: unknown }
    }
}

impl Http {
    fn new(publish: &HttpPublish, config: &Config) -> Self {
        Self {
            listen: publish.listen.as_ref().unwrap_or(&config.server.listen).to_string(),
            path: publish.paths.base().as_str().to_owned(),
            tokens: publish.tokens.len(),
        }
    }
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
        let config = self.config.borrow().clone();
        let upstream = &self.metrics.upstream;
        let open = |name: &EndpointName| (String::from(&**name), self.metrics.sessions_open(name));
        Summary {
            version: VERSION,
            revision: REVISION,
            phase: self.phase.borrow().label(),
            ready,
            reasons,
            uptime_seconds: seconds(now, self.started),
            sessions: config.endpoints.iter().map(|endpoint| open(&endpoint.name)).collect(),
            channels: Channels { wanted: status.wanted, subscribed: status.subscribed },
            streams: Channels {
                wanted: shown(&upstream.streams_wanted),
                subscribed: shown(&upstream.streams_subscribed),
            },
            patterns: Patterns {
                in_use: shown(&upstream.patterns),
                limit: config.redis.max_patterns.get(),
            },
            presence: Presence {
                rooms: shown(&upstream.presence_rooms),
                members: shown(&upstream.presence_members),
            },
            publish: Publish {
                under_way_bytes: self.publisher.under_way(),
                clients: self.metrics.publishes(PublishSource::Client).into(),
                http: self.metrics.publishes(PublishSource::Http).into(),
            },
            http_publish: config.http_publish.as_ref().map(|it| Http::new(it, &config)),
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

fn shown(gauge: &IntGauge) -> usize {
    usize::try_from(gauge.get()).unwrap_or(0)
}

/// Seconds from `then` to `now`, to the millisecond.
fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_millis() as f64 / 1e3
}
