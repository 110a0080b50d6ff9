//! The public port: accepts connections, shakes hands, hands sessions to their shards.

use crate::{config::Config, metrics::Metrics, phase::Phase, shard::ShardHandle};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::sync::watch;

/// The bound public port.
pub struct Front;

impl Front {
    /// Binds the public port.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        shards: Vec<ShardHandle>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let _ = (config, metrics, shards, phase);
        unimplemented!()
    }

    /// The address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        unimplemented!()
    }

    /// Accepts until the phase is `Draining`, then closes the listener and returns.
    pub async fn run(self) {
        unimplemented!()
    }
}
