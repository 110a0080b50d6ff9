//! One handshake: from a socket to a session, or to a refusal.
//!
//! Runs as one task on the shard that will own the session. `handshake_timeout` bounds the whole:
//! the request, the authentication and the subscription. The order of the checks is the order of
//! the answers: where, how, from where, how many, who, what, and last whether Redis agrees.

use super::{
    ServerState,
    admission::{Admitted, KeyPermit, Overflow, Permit},
    answer,
    client::{self, AddressKey},
    decision, lingering_close, origin,
    pending_connection::PendingConnection,
    request::{self, NoRequest, Received},
    upgrade::{self, Upgrade},
};
use crate::{
    auth::Reject,
    endpoint::{EndpointName, Matched},
    identity::Identity,
    phase::Phase,
    reason::Refusal,
    shard::{SessionSpec, Shard, Subscription, Transport},
};
use futures_util::FutureExt as _;
use hyper::{Method, http::request::Parts};
use std::{
    future::{Future, pending},
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::time::{sleep_until, timeout_at};
use tracing::{debug, error};

/// A refusal over the limits must not hold its place in the reserve for long.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that was accepted.
pub(super) struct Arrival {
    /// `None` for a unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) accepted: Instant,
    pub(super) standing: Result<Admitted, Overflow>,
}

impl Arrival {
    /// Counts a connection in.
    ///
    /// # Errors
    /// Why it must be turned away at once: it is over the limits, and the reserve is taken.
    pub(super) fn arrive(gate: &ServerState, peer: Option<IpAddr>) -> Result<Self, Refusal> {
        let accepted = Instant::now();
        let proxied = client::is_proxy(peer, &gate.config.server.trusted_proxies);
        // A proxy says only in the request whose connection it is.
        let address = peer.filter(|_| !proxied);
        let standing = match gate.admission.admit(address, accepted) {
            Ok(admitted) => Ok(admitted),
            Err(refusal) => Err(gate.admission.overflow(refusal).ok_or(refusal)?),
        };
        Ok(Self { peer, accepted, standing })
    }
}

/// What ends a handshake without a session.
enum Ending {
    /// The client hung up.
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Everything a session needs, but the permit.
struct Granted {
    matched: Matched,
    identity: Option<Identity>,
    subscription: Subscription,
    user: Option<KeyPermit<Arc<str>>>,
}

/// Shakes hands with one client.
pub(super) async fn run(
    gate: Arc<ServerState>,
    shard: Shard,
    transport: Transport,
    caller: Arrival,
) {
    let timeout = gate.config.server.handshake_timeout;
    let timeout = if caller.standing.is_ok() { timeout } else { timeout.min(RESERVE_TIMEOUT) };
    let handshake = Handshake {
        accepted: caller.accepted,
        deadline: caller.accepted + timeout,
        gate,
        shard,
        peer: caller.peer,
        method: None,
        endpoint: None,
        upgrade: None,
    };
    handshake.run(transport, caller.standing).await;
}

/// A handshake under way, and what is known of it so far.
struct Handshake {
    gate: Arc<ServerState>,
    shard: Shard,
    accepted: Instant,
    deadline: Instant,
    peer: Option<IpAddr>,
    method: Option<Method>,
    endpoint: Option<EndpointName>,
    upgrade: Option<Upgrade>,
}

impl Handshake {
    async fn run(mut self, transport: Transport, mut standing: Result<Admitted, Overflow>) {
        let received = request::receive(transport, self.end_of_reading(&mut standing)).await;
        let Received { transport, early, request } = received;
        let line = PendingConnection::new(transport, &early);
        let recognised = match request {
            Ok(request) => self.recognise(&request).map(|matched| (request, matched)),
            Err(NoRequest::Refused(refusal)) => Err(refusal),
            Err(NoRequest::Gone) => return debug!("the client left during its request"),
        };
        match (standing, recognised) {
            (Err(Overflow { refusal, place }), recognised) => {
                self.refuse(recognised.err().unwrap_or(refusal), line).await;
                drop(place);
            }
            (Ok(Admitted { connection, pending, .. }), Err(refusal)) => {
                drop(pending);
                self.refuse(refusal, line).await;
                drop(connection);
            }
            (Ok(mut admitted), Ok((request, matched))) => {
                admitted.pending.wait();
                // Boxed: whoever is slow with a request must not pay for what comes behind it.
                Box::pin(self.proceed(request, matched, admitted, line)).await;
            }
        }
    }

    /// What needs no counting and no token: path, method, upgrade, origin.
    fn recognise(&mut self, request: &Parts) -> Result<Matched, Refusal> {
        self.method = Some(request.method.clone());
        let matched = decision::find(&self.gate.routes, request)?;
        self.endpoint = Some(Arc::clone(&matched.endpoint.name));
        self.upgrade = Some(upgrade::check(request)?);
        if !origin::allowed(&self.gate.config.server.allowed_origins, &request.headers) {
            return Err(Refusal::OriginNotAllowed);
        }
        Ok(matched)
    }

    /// Takes a correct handshake to its session, or its refusal.
    async fn proceed(
        self,
        request: Parts,
        matched: Matched,
        admitted: Admitted,
        mut line: PendingConnection,
    ) {
        let Admitted { connection, pending, mut address } = admitted;
        let decided = self.decide(&request, matched, &mut address, &mut line);
        // A defect in here must cost this one handshake, and its client must be told.
        let decided = AssertUnwindSafe(decided).catch_unwind().await.unwrap_or_else(|_panic| {
            error!(endpoint = self.name(), "a handshake panicked");
            Err(Ending::Refused(Refusal::InternalError))
        });
        drop((request, pending));
        match decided {
            Ok(granted) => self.open(granted, connection, address, line).await,
            Err(Ending::Refused(refusal)) => {
                self.refuse(refusal, line).await;
                drop((connection, address));
            }
            Err(Ending::Gone) => debug!(endpoint = self.name(), "the client left"),
        }
    }

    async fn decide(
        &self,
        request: &Parts,
        matched: Matched,
        address: &mut Option<KeyPermit<AddressKey>>,
        line: &mut PendingConnection,
    ) -> Result<Granted, Ending> {
        if *self.gate.phase.borrow() >= Phase::Draining {
            return Err(Ending::Refused(Refusal::Draining));
        }
        self.count_address(request, address)?;
        let grant = tokio::select! {
            biased;
            grant = decision::grant(&self.gate.config.auth, &matched, request) => grant?,
            refusal = self.end(Refusal::KeysUnavailable) => return Err(refusal.into()),
            () = line.hung_up() => return Err(Ending::Gone),
        };
        let user = grant.identity.as_ref().map(|who| self.gate.admission.take_user(&who.user));
        let user = user.transpose()?.flatten();
        let subscription = tokio::select! {
            biased;
            subscription = self.shard.subscribe(grant.channels) => subscription?,
            refusal = self.end(Refusal::SubscriptionTimeout) => return Err(refusal.into()),
            () = line.hung_up() => return Err(Ending::Gone),
        };
        Ok(Granted { matched, identity: grant.identity, subscription, user })
    }

    /// Counts the connection for the address that a trusted proxy reports.
    fn count_address(
        &self,
        request: &Parts,
        counted: &mut Option<KeyPermit<AddressKey>>,
    ) -> Result<(), Refusal> {
        let trusted = &self.gate.config.server.trusted_proxies;
        if !client::is_proxy(self.peer, trusted) {
            return Ok(());
        }
        if let Some(address) = client::forwarded(self.peer, &request.headers, trusted) {
            *counted = self.gate.admission.take_address(address)?;
        }
        Ok(())
    }

    /// Opens the session, answers with the 101, and lets the session run.
    async fn open(
        mut self,
        granted: Granted,
        connection: Permit,
        address: Option<KeyPermit<AddressKey>>,
        mut line: PendingConnection,
    ) {
        let Granted { matched, identity, subscription, user } = granted;
        let upgrade = self.upgrade.take().expect("what is granted was recognised before");
        let auth = Arc::clone(&self.gate.config.auth);
        let spec = SessionSpec { endpoint: matched.endpoint, identity, auth };
        let pending = subscription.open(spec, (connection, address, user));
        let answer = answer::switching(&upgrade);
        let written = timeout_at(self.deadline.into(), line.write(&answer)).await;
        self.answered();
        if matches!(written, Ok(Ok(()))) {
            let (transport, early) = line.into_parts();
            pending.start(transport, &early);
        }
    }

    /// Answers with a refusal and ends the connection.
    async fn refuse(&self, refusal: Refusal, mut line: PendingConnection) {
        self.gate.metrics.handshake_refused(refusal);
        debug!(endpoint = self.name(), code = refusal.label(), "handshake refused");
        let answer = self
            .closing_answer(refusal)
            .unwrap_or_else(|| answer::refused(refusal, self.method.as_ref(), SystemTime::now()));
        let written = lingering_close::write_last(&mut line.transport, &answer).await;
        self.answered();
        if written.is_ok() {
            lingering_close::linger(line.transport).await;
        }
    }

    /// The answer of `auth.reject = "close"`, where it applies.
    fn closing_answer(&self, refusal: Refusal) -> Option<Vec<u8>> {
        let upgrade = self.upgrade.as_ref()?;
        let applies = self.gate.config.auth.reject == Reject::Close;
        applies.then(|| answer::switching_and_closing(upgrade, refusal)).flatten()
    }

    fn answered(&self) {
        self.shard.metrics().handshake_seconds.observe(self.accepted.elapsed());
    }

    fn name(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Resolves when no more of the request is to be read.
    fn end_of_reading(
        &self,
        standing: &mut Result<Admitted, Overflow>,
    ) -> impl Future<Output = Refusal> {
        let end = self.end(Refusal::RequestTimeout);
        let cut_off = async {
            match standing {
                Ok(admitted) => admitted.pending.cut_off().await,
                Err(_overflow) => pending().await,
            }
        };
        async {
            tokio::select! {
                refusal = end => refusal,
                () = cut_off => Refusal::RequestTimeout,
            }
        }
    }

    /// Resolves when the handshake must end: as `late` at the deadline, or when the gateway drains.
    fn end(&self, late: Refusal) -> impl Future<Output = Refusal> + use<> {
        let mut phase = self.gate.phase.clone();
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
    fn future_bytes<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_handshake_that_waits_for_its_request_is_small() {
        let bytes = future_bytes(run);
        assert!(bytes <= 3_500, "{bytes} bytes for each client that says nothing");
    }
}
