//! The public port: accepts connections, does their handshakes, and opens sessions.
//!
//! The accept loop runs on the main thread and only accepts; each handshake is one task on the
//! shard that will own the session. Promises: every limit is counted and given back, a refused
//! client gets the reason in one stable form, and neither a token nor a query is ever logged.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `admission` `head` `response`: who is let in, by numbers; the head of a request; how refusals and
//!    the 101 look
//! 1. `publish`: what is published by HTTP
//! 2. `state`: what every handshake looks at, swapped by a reload
//! 3. `handshake`: from a request to a session or a refusal, or to what publishes
//! 4. `accept`: the accept loop
//! 5. `mod`: the bound ports

mod accept;
mod admission;
mod handshake;
mod head;
mod publish;
mod response;
#[cfg(test)]
mod rig;
mod state;
#[cfg(test)]
mod tests;

pub use admission::MAX_REFUSALS;
pub use state::ServerHandle;
#[cfg(any(test, fuzzing))]
pub(crate) use {handshake::fuzz, publish::fuzz as publish_fuzz};

use crate::{
    config::{Config, ListenAddress},
    liveness::SignOfLife,
    metrics::Metrics,
    net::Listener,
    phase::Phase,
    shard::{Floods, ShardHandle},
};
use handshake::Door;
use state::ServerState;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::sync::watch;

/// Which address could not be bound.
#[derive(Debug)]
pub enum BindError {
    Public(io::Error),
    /// `http_publish.listen`
    Publish(io::Error),
}

/// The bound public port, and that of `http_publish` where it has one.
pub struct PublicServer {
    listener: Listener,
    /// The port of `http_publish.listen`.
    publish: Option<Listener>,
    handle: ServerHandle,
    shards: Vec<ShardHandle>,
}

impl PublicServer {
    /// Binds the public port, and that of `http_publish` where it has one. Must be called within a Tokio
    /// runtime.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn bind(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        shards: Vec<ShardHandle>,
        phase: watch::Receiver<Phase>,
        floods: Arc<Floods>,
    ) -> Result<Self, BindError> {
        let mode = config.server.socket_mode;
        let listener = listen(&config.server.listen, mode).map_err(BindError::Public)?;
        let own = config.http_publish.as_ref().and_then(|publish| publish.listen.as_ref());
        let publish = own.map(|own| listen(own, mode)).transpose().map_err(BindError::Publish)?;
        let state = ServerState::new(config, metrics, phase, floods);
        Ok(Self { listener, publish, handle: ServerHandle::new(state), shards })
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

    /// The address that was bound for `http_publish`; `None` where that has no port, or a unix socket.
    #[must_use]
    pub fn publish_address(&self) -> Option<SocketAddr> {
        self.publish.as_ref()?.address()
    }

    /// Accepts until the phase is `Draining`, then closes the listeners and returns. Gives signs of
    /// life meanwhile.
    pub async fn run(self, sign: SignOfLife) {
        let Self { listener, publish, handle, shards } = self;
        let to_publish = async {
            if let Some(listener) = publish {
                accept::run(listener, Door::Publish, handle.clone(), &shards).await;
            }
        };
        let public = accept::run(listener, Door::Public, handle.clone(), &shards);
        tokio::select! {
            _ = async { tokio::join!(public, to_publish) } => {}
            () = sign.keep_giving() => {}
        }
    }
}

fn listen(address: &ListenAddress, socket_mode: u32) -> io::Result<Listener> {
    match address {
        ListenAddress::Tcp(address) => Listener::tcp(*address),
        ListenAddress::Unix(path) => Listener::unix(path, socket_mode),
    }
}
