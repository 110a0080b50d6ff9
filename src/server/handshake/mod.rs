//! One handshake: from a connection to a session, or to a refusal.
//!
//! Runs as one task on the shard that will own the session. `handshake_timeout` bounds the whole:
//! the request, the authentication, the subscription, and the reading of what its client missed. The checks,
//! the first of which to fail is the answer: path and method, upgrade headers, Origin, limits of the address,
//! token, topics, position, limit of the user, the subscription, and last the reading.

mod decide;
mod event_stream;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod headers;
mod origin;
mod pending_connection;
mod position;
mod refuse;
mod upgrade;

use super::{
    admission::{AddressPermit, Admitted, Arrival, Permit, UserPermit},
    response::{self, Cors, HandshakeFault},
    state::ServerState,
};
use crate::{
    auth::Source,
    endpoint::{Endpoint, EndpointName, Format, Matched},
    net::Transport,
    phase::Phase,
    reason::Refusal,
    shard::{PendingSession, SessionHandle, SessionSpec, Shard, ShardHandle},
    wire::{Codec, sse::Body},
};
use bytes::Bytes;
use decide::Grant;
use futures_util::FutureExt as _;
use head::{Received, RequestHead};
use hyper::Method;
use pending_connection::PendingConnection;
use std::{
    future::Future,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::time::{sleep_until, timeout_at};
use tracing::{debug, error};
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

/// What a correct request asks for.
enum Asked {
    WebSocket(Upgrade),
    EventStream(Body),
}

/// A request for an endpoint, correct as far as that shows without a token.
struct Recognised {
    head: RequestHead,
    early: Bytes,
    matched: Matched,
}

/// A session, but for its connection and its permits.
struct Granted {
    session: PendingSession,
    user: UserPermit,
}

/// Does the handshake of one connection.
pub(super) async fn run(
    state: Arc<ServerState>,
    shard: Shard,
    home: ShardHandle,
    transport: Transport,
    arrival: Arrival,
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
    async fn run(mut self, mut transport: Transport, mut admitted: Admitted) {
        let late = self.end(Refusal::RequestTimeout);
        let end = async {
            tokio::select! {
                refusal = late => refusal,
                // Its time is not up: others wait for the place.
                () = admitted.pending.cut_off() => Refusal::AtCapacity,
            }
        };
        match self.recognise(&mut transport, end).await {
            Ok(recognised) => {
                admitted.pending.request_is_complete();
                // Boxed: a client that is slow with its request must not cost what comes later.
                Box::pin(self.proceed(recognised, admitted, transport)).await;
            }
            Err(no_session) => {
                let Admitted { connection, pending, .. } = admitted;
                drop(pending);
                self.end_without_session(no_session, transport).await;
                drop(connection);
            }
        }
    }

    /// Reads the request and checks what needs no counting and no token: path, method, upgrade,
    /// origin. When `end` comes first, its value is the refusal.
    async fn recognise(
        &mut self,
        transport: &mut Transport,
        end: impl Future<Output = Refusal>,
    ) -> Result<Recognised, NoSession> {
        let Received { head, early } = head::receive(transport, end).await?;
        self.is_head = head.method == Method::HEAD;
        let events = event_stream::is_asked_for(&head);
        if !events {
            upgrade::check_version(&head).map_err(|why| self.not_correct(why))?;
        }
        let matched = decide::find(&self.state.routes, &head)?;
        self.endpoint = Some(Arc::clone(&matched.endpoint.name));
        let allowed = origin::allowed(&self.state.config.server.allowed_origins, &head.headers);
        if matched.endpoint.sse && !upgrade::is_asked_for(&head) {
            let credentials = self.state.config.auth.sources.iter().any(Source::is_cookie);
            self.cors = Some(Box::new(Cors::new(&head.headers, allowed, credentials)));
        }
        match head.method {
            Method::GET => self.asked = Some(self.asked(&head, events && matched.endpoint.sse)?),
            Method::OPTIONS if self.cors.is_some() && allowed => return Err(NoSession::Preflight),
            Method::OPTIONS if self.cors.is_some() => {}
            _ => return Err(Refusal::MethodNotAllowed.into()),
        }
        if !allowed {
            return Err(Refusal::OriginNotAllowed.into());
        }
        Ok(Recognised { head, early, matched })
    }

    /// What a GET request asks for, when it does so correctly.
    fn asked(&mut self, head: &RequestHead, events: bool) -> Result<Asked, Refusal> {
        if events {
            let body = event_stream::check(head).map_err(|fault| self.not_correct(fault.into()))?;
            return Ok(Asked::EventStream(body));
        }
        upgrade::check(head).map(Asked::WebSocket).map_err(|why| self.not_correct(why))
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

    async fn decide(
        &self,
        head: &RequestHead,
        matched: Matched,
        address: &mut AddressPermit,
        client: &mut PendingConnection,
    ) -> Result<Granted, NoSession> {
        if *self.state.phase.borrow() >= Phase::Draining {
            return Err(Refusal::Draining.into());
        }
        let admission = &self.state.admission;
        if let Some(reported) = admission.take_reported_address(self.peer, &head.headers)? {
            *address = Some(reported);
        }
        let from = admission.client(self.peer, &head.headers);
        admission.take_rate(from)?;
        let place = || admission.wait_for_key(from);
        let grant = tokio::select! {
            biased;
            grant = decide::grant(&self.state.config.auth, &matched, head, place) => {
                grant.map_err(|denied| self.denied(denied))?
            }
            refusal = self.end(Refusal::KeysUnavailable) => return Err(refusal.into()),
            () = client.disconnected() => return Err(NoSession::Gone),
        };
        let user = match &grant.identity {
            Some(identity) => admission.take_user(&identity.user)?,
            None => None,
        };
        let session = self.subscribe(grant, matched.endpoint, client).await?;
        Ok(Granted { session, user })
    }

    /// Subscribes to the topics and reads what the client missed.
    async fn subscribe(
        &self,
        Grant { identity, topics, resume }: Grant,
        endpoint: Arc<Endpoint>,
        client: &mut PendingConnection,
    ) -> Result<PendingSession, NoSession> {
        let late = Refusal::SubscriptionTimeout;
        let subscribed = self.shard.subscribe(topics);
        let mut subscription = self.within(late, client, subscribed).await??;
        let room = subscription.make_room(&endpoint, &resume);
        self.within(Refusal::AtCapacity, client, room).await?;
        let config = &self.state.config;
        let (auth, generation) = (Arc::clone(&config.auth), config.generation);
        let began = self.accepted.into();
        let codec = self.codec(endpoint.format);
        let spec = SessionSpec { endpoint, codec, identity, auth, began, generation };
        Ok(self.within(late, client, subscription.open(spec, &resume)).await??)
    }

    /// Waits for something, for as long as the client does, and until the handshake must end: as `late` at
    /// the deadline.
    async fn within<T>(
        &self,
        late: Refusal,
        client: &mut PendingConnection,
        something: impl Future<Output = T>,
    ) -> Result<T, NoSession> {
        tokio::select! {
            biased;
            done = something => Ok(done),
            refusal = self.end(late) => Err(refusal.into()),
            () = client.disconnected() => Err(NoSession::Gone),
        }
    }

    /// Answers with the 101, and lets the session run.
    async fn open(
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

    /// How everything looks to a client that is let in.
    fn codec(&self, format: Format) -> Codec {
        match &self.asked {
            Some(Asked::EventStream(body)) => format.over_event_stream(*body),
            Some(Asked::WebSocket(_)) | None => format.over_websocket(),
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
    fn event_stream(&self, body: Body) -> Vec<u8> {
        let cors = self.cors.as_ref().expect("whose endpoint has events");
        response::event_stream(body, cors, SystemTime::now())
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
