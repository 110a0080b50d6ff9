//! The Redis side: what shards want is made true, and what Redis sends is routed to their rings.

use crate::{config, exchange::UpstreamEnd, metrics::Metrics};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;

/// The Redis side. One task; it alone owns the table of channels.
pub struct Upstream;

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
        let _ = (settings, end, metrics);
        unimplemented!()
    }

    /// Runs until dropped. Never gives up on Redis; returns only when every shard has gone.
    pub async fn run(self) {
        unimplemented!()
    }
}
