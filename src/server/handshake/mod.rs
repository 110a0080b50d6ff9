//! One handshake: from a connection to a session, or to a refusal.
//!
//! Runs as one task on the shard that will own the session. `handshake_timeout` bounds the whole:
//! the request, the authentication, the subscription, and the reading of what its client missed. The checks,
//! the first of which to fail is the answer: path and method, upgrade headers, Origin, limits of the address,
//! token, topics, position, limit of the user, the subscription, and last the reading.

mod admit;
mod decide;
mod event_stream;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod headers;
mod open;
pub(super) mod origin;
mod pending_connection;
mod position;
mod publish;
mod recognise;
mod refuse;
pub(super) mod upgrade;

use super::{
    admission::{Admitted, Arrival},
    head::{self, NoRequest, Received},
    response::{Cors, HandshakeFault},
    state::ServerState,
};
use crate::{
    endpoint::EndpointName,
    net::Transport,
    phase::Phase,
    reason::Refusal,
    shard::{Shard, ShardHandle},
    wire::sse::Body,
};
use futures_util::FutureExt as _;
use pending_connection::PendingConnection;
use recognise::Recognised;
use std::{
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;
use tracing::error;
use upgrade::Upgrade;

/// How long a client over the limits may take to send its request.
const TIME_OVER_LIMIT: Duration = Duration::from_secs(1);

/// What ends a handshake without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoSession {
    /// The client closed, or the connection broke: nobody is there to be answered.
    Gone,
    Refused(Refusal),
    /// A browser only asked whether a page may send its request, and it may.
    Preflight,
}

impl From<Refusal> for NoSession {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<NoRequest> for NoSession {
    fn from(no_request: NoRequest) -> Self {
        match no_request {
            NoRequest::Gone => Self::Gone,
            NoRequest::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// Where a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The public port: sessions, and what is published by HTTP where that has no port of its own.
    Public,
    /// The port of `http_publish.listen`.
    Publish,
}

/// What a correct request asks for.
enum Asked {
    WebSocket(Upgrade),
    EventStream(Body),
}

/// Does the handshake of one connection.
pub(super) async fn run(
    state: Arc<ServerState>,
    shard: Shard,
    home: ShardHandle,
    transport: Transport,
    (arrival, door): (Arrival, Door),
) {
    let Arrival { peer, accepted, admission } = arrival;
    let timeout = state.config.server.handshake_timeout;
    let timeout = if admission.is_ok() { timeout } else { timeout.min(TIME_OVER_LIMIT) };
    let handshake = Handshake {
        state,
        shard,
        home,
        accepted,
        deadline: accepted + timeout,
        peer,
        door,
        is_head: false,
        endpoint: None,
        asked: None,
        cors: None,
        fault: None,
    };
    match admission {
        Ok(admitted) => handshake.run(transport, admitted).await,
        Err(over_limit) => handshake.turn_away(transport, over_limit).await,
    }
}

/// A handshake under way, and what is known of it so far.
struct Handshake {
    state: Arc<ServerState>,
    shard: Shard,
    /// The same shard, as other threads hold it.
    home: ShardHandle,
    accepted: Instant,
    deadline: Instant,
    peer: Option<IpAddr>,
    door: Door,
    /// Whether the answer must have no body.
    is_head: bool,
    endpoint: Option<EndpointName>,
    asked: Option<Asked>,
    /// Where the answer may be one that a page can read.
    cors: Option<Box<Cors>>,
    /// What is wrong with it, where that is known in detail.
    fault: Option<HandshakeFault>,
}

impl Handshake {
    async fn run(self, mut transport: Transport, mut admitted: Admitted) {
        let late = self.end(Refusal::RequestTimeout);
        let end = async {
            tokio::select! {
                refusal = late => refusal,
                // Its time is not up: others wait for the place.
                () = admitted.pending.cut_off() => Refusal::AtCapacity,
            }
        };
        match head::receive(&mut transport, end).await {
            Ok(received) if self.is_to_publish(&received.head) => {
                let Admitted { connection, .. } = admitted;
                Box::pin(self.publish(received, transport, connection)).await;
            }
            received => {
                // Boxed: a client that is slow with its request must not cost what comes later.
                let received = received.map_err(Into::into);
                Box::pin(self.go_on(received, admitted, transport)).await;
            }
        }
    }

    /// Goes on with a request that is not for `http_publish`.
    async fn go_on(
        mut self,
        received: Result<Received, NoSession>,
        mut admitted: Admitted,
        transport: Transport,
    ) {
        match received.and_then(|received| self.recognise(received)) {
            Ok(recognised) => {
                admitted.pending.request_is_complete();
                self.proceed(recognised, admitted, transport).await;
            }
            Err(no_session) => {
                let Admitted { connection, pending, .. } = admitted;
                drop(pending);
                self.end_without_session(no_session, transport).await;
                drop(connection);
            }
        }
    }

    /// Takes a correct handshake to its session, or its refusal.
    async fn proceed(self, recognised: Recognised, admitted: Admitted, transport: Transport) {
        let Recognised { head, early, matched } = recognised;
        let Admitted { connection, pending, mut address } = admitted;
        let mut client = PendingConnection::new(transport, &early);
        drop(early);
        let decided = self.decide(&head, matched, &mut address, &mut client);
        // A defect in here must cost this one handshake, and its client must be told.
        let decided = AssertUnwindSafe(decided).catch_unwind().await.unwrap_or_else(|_panic| {
            error!(endpoint = self.name(), "a handshake panicked");
            Err(Refusal::InternalError.into())
        });
        drop((head, pending));
        match decided {
            Ok(granted) => self.open(granted, connection, address, client).await,
            Err(no_session) => {
                self.end_without_session(no_session, client.transport).await;
                drop((connection, address));
            }
        }
    }

    fn answered(&self) {
        self.shard.metrics().handshake_seconds.observe(self.accepted.elapsed());
    }

    fn name(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Resolves when the handshake must end: as `late` at the deadline, or when the gateway drains.
    fn end(&self, late: Refusal) -> impl Future<Output = Refusal> + use<> {
        let mut phase = self.state.phase.clone();
        let deadline = self.deadline;
        async move {
            tokio::select! {
                biased;
                // An error means that nobody leads the phases any more, which is an end too.
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => Refusal::Draining,
                () = sleep_until(deadline.into()) => late,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function of these arguments returns.
    fn future_bytes<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_handshake_that_waits_for_its_request_is_small() {
        let bytes = future_bytes(run);
        assert!(bytes <= 3_500, "{bytes} bytes for each client that says nothing");
    }
}
