//! The public port: accepts connections, shakes hands, hands sessions to their shards.
//!
//! The listener runs on the main thread and only accepts; each handshake is one task on the shard
//! that will own the session. Promises: every limit is counted and given back, whoever is refused
//! is told why in one stable form, and neither a token nor a query is ever logged.

mod admission;
mod answer;
mod client;
mod decision;
#[cfg(test)]
mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handshake;
mod head;
mod lingering_close;
mod listener;
mod origin;
mod pending;
mod pending_connection;
mod problem;
mod request;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;

use crate::{
    config::Config, endpoint::Routes, liveness::SignOfLife, metrics::Metrics, phase::Phase,
    shard::ShardHandle,
};
use admission::Admission;
use socket::Bound;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::sync::watch;

/// The bound public port.
pub struct PublicServer {
    bound: Bound,
    gates: ServerStateSender,
    shards: Vec<ShardHandle>,
}

/// The current gate: swapped as a whole by a reload, and looked at once by each connection.
#[derive(Clone)]
pub struct ServerStateSender(watch::Sender<Arc<ServerState>>);

impl ServerStateSender {
    /// Has connections from now on judged by this configuration. What is counted stays counted.
    pub fn adopt(&self, config: Arc<Config>) {
        self.0.send_modify(|gate| *gate = Arc::new(gate.adopting(config)));
    }

    fn current(&self) -> Arc<ServerState> {
        Arc::clone(&self.0.borrow())
    }
}

/// What every handshake looks at, on whichever shard.
struct ServerState {
    config: Arc<Config>,
    routes: Routes,
    admission: Admission,
    metrics: Arc<Metrics>,
    phase: watch::Receiver<Phase>,
}

impl ServerState {
    fn new(config: Arc<Config>, metrics: Arc<Metrics>, phase: watch::Receiver<Phase>) -> Self {
        Self {
            routes: Routes::new(config.endpoints.clone()),
            admission: Admission::new(&config.server),
            config,
            metrics,
            phase,
        }
    }

    fn adopting(&self, config: Arc<Config>) -> Self {
        Self {
            routes: Routes::new(config.endpoints.clone()),
            admission: self.admission.adopting(&config.server),
            config,
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.clone(),
        }
    }
}

impl PublicServer {
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
        let bound = Bound::bind(&config.server.listen)?;
        let gate = Arc::new(ServerState::new(config, metrics, phase));
        Ok(Self { bound, gates: ServerStateSender(watch::Sender::new(gate)), shards })
    }

    /// What a reload swaps.
    #[must_use]
    pub fn server_state(&self) -> ServerStateSender {
        self.gates.clone()
    }

    /// The address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.bound.address()
    }

    /// Accepts until the phase is `Draining`, then closes the listener and returns. Gives signs of
    /// life meanwhile.
    pub async fn run(self, sign: SignOfLife) {
        tokio::select! {
            () = listener::run(self.bound, self.gates, &self.shards) => {}
            () = sign.keep_giving() => {}
        }
    }
}
