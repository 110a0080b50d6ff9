//! The Redis side: what shards want is made true, and what Redis sends is routed to their rings.
//!
//! One task for each node; there is one. Promises: it never waits for a shard, but stops reading for a
//! moment when one falls far behind; whatever may have been lost is marked in the rings, exactly where
//! the loss ended; and it says that it is up only while a probe has proven that what is published
//! arrives. It never gives up on Redis.
//!
//! Rooms: `pubsub` what is subscribed on a node · `link` our own connection that subscribes ·
//! `publish` the connection for every other command · `connect` makes both · `router` from what
//! arrives into the rings · `control` what a revocation says · `health` status, metrics, log · `backoff` · `diagnose` what `sockway doctor`
//! asks.

mod backoff;
mod connect;
mod control;
mod diagnose;
#[cfg(test)]
mod fake_redis;
mod health;
mod link;
mod publish;
mod pubsub;
#[cfg(test)]
mod redis_tests;
mod router;
#[cfg(test)]
mod test_server;

pub use diagnose::RedisDiagnostics;
#[cfg(any(test, fuzzing))]
pub(crate) use link::fuzz;
pub use link::{Credentials, LinkError, Login};

use crate::{bus::UpstreamEnd, config, liveness::SignOfLife, metrics::Metrics};
use connect::Connector;
use pubsub::Actor;
use std::{fmt, sync::Arc, time::Instant};
use tokio::sync::watch;

/// The Redis side of a gateway.
pub struct Upstream {
    actor: Actor<Connector>,
    credentials: Credentials,
}

/// What upstream knows of its link, for `readyz`, `/status` and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub link: LinkStatus,
    /// When a probe last proved the subscription alive.
    pub verified: Option<Instant>,
    /// Channels that some session wants.
    pub wanted: usize,
    /// Channels that Redis has confirmed.
    pub subscribed: usize,
    /// Why Redis refuses the control channel, in its words, if it does.
    pub control_refused: Option<String>,
}

/// The state of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkStatus {
    /// Connected, and the last probe proved the subscription alive.
    Up,
    /// Not proven alive, with the reason in words (never a secret).
    Down(String),
}

impl Upstream {
    /// Prepares the Redis side; nothing is connected before [`Upstream::run`].
    #[must_use]
    pub fn new(
        settings: config::Redis,
        end: UpstreamEnd,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Status>) {
        let credentials = Credentials::new(&settings);
        let connector = Connector::new(&settings, credentials.clone());
        let (actor, status) = Actor::new(connector, settings, end, metrics);
        (Self { actor, credentials }, status)
    }

    /// The login of the next dial, which a reload may replace.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Runs until dropped, and gives signs of life meanwhile. Never gives up on Redis; returns only
    /// when every shard has gone.
    pub async fn run(self, sign: SignOfLife) {
        tokio::select! {
            () = self.actor.run() => {}
            () = sign.keep_giving() => {}
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
