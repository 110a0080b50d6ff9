//! How a client that is let in is answered.

use super::{
    Asked, Handshake, admit::Granted, pending_connection::PendingConnection, upgrade::Upgrade,
};
use crate::{
    server::{
        admission::{AddressPermit, Permit},
        response,
    },
    shard::SessionHandle,
    wire::sse::Body,
};
use std::time::SystemTime;
use tokio::time::timeout_at;
use tracing::debug;

impl Handshake {
    /// Answers with the 101, or the head of a response of events, and lets the session run.
    pub(super) async fn open(
        mut self,
        granted: Granted,
        connection: Permit,
        address: AddressPermit,
        mut client: PendingConnection,
    ) {
        let Granted { session, user } = granted;
        let answer = self.beginning();
        let mut pending = session.with_permit((connection, address, user));
        let written = timeout_at(self.deadline.into(), client.write(&answer)).await;
        self.answered();
        if matches!(written, Ok(Ok(()))) {
            let session = SessionHandle::new(self.home, pending.name());
            self.state.admission.user_opened(&mut pending.permit().2, session);
            let (transport, early) = client.into_parts();
            pending.start(transport, &early);
        } else {
            debug!(session = %pending.id(), "the client closed before its 101");
        }
    }

    /// How its answer begins.
    fn beginning(&mut self) -> Vec<u8> {
        match self.asked.take().expect("what is granted was recognised before") {
            Asked::WebSocket(Upgrade { accept_key, subprotocol }) => {
                response::switching(&accept_key, subprotocol)
            }
            Asked::EventStream(body) => self.event_stream(body),
        }
    }

    /// The head of an answer of events.
    pub(super) fn event_stream(&self, body: Body) -> Vec<u8> {
        let cors = self.cors.as_ref().expect("whose endpoint has events");
        response::event_stream(body, cors, SystemTime::now())
    }
}
