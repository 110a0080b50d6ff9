//! The public port: accepts connections, does their handshakes, and opens sessions.
//!
//! The accept loop runs on the main thread and only accepts; each handshake is one task on the
//! shard that will own the session. Promises: every limit is counted and given back, a refused
//! client gets the reason in one stable form, and neither a token nor a query is ever logged.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `admission` `response`: who is let in, by numbers; how refusals and the 101 look
//! 1. `state`: what every handshake looks at, swapped by a reload
//! 2. `handshake`: from a request to a session or a refusal
//! 3. `accept`: the accept loop
//! 4. `mod`: the bound port

mod accept;
mod admission;
mod handshake;
mod response;
#[cfg(test)]
mod rig;
mod state;
#[cfg(test)]
mod tests;

pub use admission::MAX_REFUSALS;
#[cfg(any(test, fuzzing))]
pub(crate) use handshake::fuzz;
pub use state::ServerHandle;

use crate::{
    config::{Config, ListenAddress},
    liveness::SignOfLife,
    metrics::Metrics,
    net::Listener,
    phase::Phase,
    shard::ShardHandle,
};
use state::ServerState;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::sync::watch;

/// The bound public port.
pub struct PublicServer {
    listener: Listener,
    handle: ServerHandle,
    shards: Vec<ShardHandle>,
}

impl PublicServer {
    /// Binds the public port. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        shards: Vec<ShardHandle>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let listener = match &config.server.listen {
            ListenAddress::Tcp(address) => Listener::tcp(*address),
            ListenAddress::Unix(path) => Listener::unix(path, config.server.socket_mode),
        }?;
        let state = ServerState::new(config, metrics, phase);
        Ok(Self { listener, handle: ServerHandle::new(state), shards })
    }

    /// What a reload changes the configuration through.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// The address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// Accepts until the phase is `Draining`, then closes the listener and returns. Gives signs of
    /// life meanwhile.
    pub async fn run(self, sign: SignOfLife) {
        tokio::select! {
            () = accept::run(self.listener, self.handle, self.shards) => {}
            () = sign.keep_giving() => {}
        }
    }
}
