//! A connection whose request is not for a session: it publishes.

use super::{Door, Handshake};
use crate::{
    net::Transport,
    server::{
        admission::Permit,
        head::{Received, RequestHead},
        publish,
    },
};
use std::{sync::Arc, time::Instant};

impl Handshake {
    /// Whether a request is for `http_publish`.
    pub(super) fn is_to_publish(&self, head: &RequestHead) -> bool {
        self.door == Door::Publish || self.state.publishing.takes_on_public_port(head.uri.path())
    }

    /// Serves `http_publish` on this connection. It counts as a connection and as nothing else; a
    /// request for a session that comes on it later, as a proxy may send one, is a handshake.
    pub(super) async fn publish(
        mut self,
        received: Received,
        mut transport: Transport,
        connection: Permit,
    ) {
        let server = publish::Connection {
            publishing: Arc::clone(&self.state.publishing),
            shard: self.shard.clone(),
            metrics: Arc::clone(&self.state.metrics),
            phase: self.state.phase.clone(),
            timeout: self.state.config.server.handshake_timeout,
            own_port: self.door == Door::Publish,
        };
        let Some(received) = server.serve(received, &mut transport).await else {
            return publish::close(transport).await;
        };
        self.accepted = Instant::now();
        self.deadline = self.accepted + self.state.config.server.handshake_timeout;
        match self.state.admission.admit_again(self.peer, connection) {
            Ok(admitted) => self.go_on(Ok(received), admitted, transport).await,
            Err(refusal) => self.end_without_session(refusal.into(), transport).await,
        }
    }
}
