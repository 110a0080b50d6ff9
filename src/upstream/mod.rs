//! The Redis side: what shards want is made true, and what Redis sends is routed to their rings.
//!
//! One task owns everything here. Promises: it never waits for a shard; whatever may have been lost
//! is marked in the rings, exactly where it was lost; and it says that it is up only while a probe
//! has proven that what is published arrives. It never gives up on Redis.
//!
//! Rooms: `actor` the task · `session` one life of the subscriber connection · `table` who wants
//! what · `probe` when is it alive · `publish_connection` the connection that publishes the canaries ·
//! `router` and `queues` the path of a message · `health` status, metrics, log · `client` and
//! `fred_link` the Redis client · `backoff` · `diagnose` what `sockway doctor` asks.

mod actor;
mod backoff;
mod client;
mod diagnose;
#[cfg(test)]
mod fake_redis;
mod fred_link;
#[cfg(any(test, fuzzing))]
pub(crate) use link::fuzz;
mod health;
// Not used by the actor yet.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod link;
mod probe;
mod publish_connection;
mod router;
mod session;
mod shard_queues;
mod table;
#[cfg(test)]
mod test_server;

pub use client::LinkError;
pub use diagnose::RedisDiagnostics;

use crate::{bus::UpstreamEnd, config, liveness::SignOfLife, metrics::Metrics};
use actor::Actor;
use fred_link::Fred;
use std::{fmt, sync::Arc, time::Instant};
use tokio::sync::watch;

/// The Redis side. One task; it alone owns the table of channels.
pub struct Upstream(Actor<Fred>);

/// What upstream knows of its link, for `readyz`, `/status` and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub link: Link,
    /// When a probe last proved the subscription alive.
    pub verified: Option<Instant>,
    pub wanted: usize,
    pub held: usize,
}

/// The state of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
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
        let (actor, status) = Actor::new(Fred::new(&settings), settings, end, metrics);
        (Self(actor), status)
    }

    /// Runs until dropped, and gives signs of life meanwhile. Never gives up on Redis; returns only
    /// when every shard has gone.
    pub async fn run(self, sign: SignOfLife) {
        tokio::select! {
            () = self.0.run() => {}
            () = sign.keep_giving() => {}
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
