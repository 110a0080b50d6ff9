//! How many are let in: connections, pending handshakes, the handshake rate, addresses, users; and how
//! many may wait for a key of the issuer.
//!
//! Whatever is counted is given back by dropping a permit, however a connection ends. No lock is
//! held longer than one look into a table. A connection over the limits is refused with an answer;
//! how many of those there are at a time is bounded too.

mod address;
mod by_arrival;
mod count;
mod key_waits;
mod pending;
mod rate;
mod refusals;
#[cfg(test)]
mod tests;
mod users;

pub(super) use address::{AddressKey, reported};
pub(super) use count::{KeyPermit, Permit};
pub(super) use key_waits::KeyWait;
pub(super) use pending::PendingPlace;
pub use refusals::MAX_REFUSALS;
pub(super) use refusals::RefusalPlace;
pub(super) use users::UserPlace;

use crate::{config::Server, log_throttle::CauseThrottle, reason::Refusal, shard::SessionHandle};
use count::{Limit, LimitByKey};
use hyper::HeaderMap;
use ipnet::IpNet;
use key_waits::KeyWaits;
use pending::PendingHandshakes;
use rate::Rate;
use refusals::Refusals;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tracing::warn;
use users::UserLimit;

/// A connection's place for its address; `None` when addresses are not limited, or when a proxy has
/// yet to report whose connection it is.
pub(super) type AddressPermit = Option<KeyPermit<AddressKey>>;

/// A session's place for its user; `None` when users are not limited, or it has none.
pub(super) type UserPermit = Option<UserPlace>;

/// Everything that is counted at the public port.
pub(super) struct Admission {
    connections: Limit,
    pending: PendingHandshakes,
    key_waits: KeyWaits,
    refusals: Refusals,
    rate: Option<Mutex<Rate>>,
    addresses: Option<LimitByKey<AddressKey>>,
    users: Option<UserLimit>,
    trusted_proxies: Vec<IpNet>,
    /// Which limits were reached, for the log.
    reached: Arc<CauseThrottle>,
}

/// A connection that was accepted.
pub(super) struct Arrival {
    /// `None` for a unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) accepted: Instant,
    pub(super) admission: Result<Admitted, OverLimit>,
}

/// What a connection holds from accept to its end.
pub(super) struct Admitted {
    pub(super) connection: Permit,
    /// Dropped when the handshake is decided.
    pub(super) pending: PendingPlace,
    pub(super) address: AddressPermit,
}

/// A connection over the limits: whatever it asks for, it is refused.
pub(super) struct OverLimit {
    pub(super) refusal: Refusal,
    pub(super) place: RefusalPlace,
}

impl Admission {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            connections: Limit::new(server.max_connections.get()),
            pending: PendingHandshakes::new(server.max_pending_handshakes.get()),
            key_waits: KeyWaits::new(server.max_pending_handshakes),
            refusals: Refusals::new(),
            rate: server.handshakes_per_second.map(|rate| Mutex::new(Rate::new(rate))),
            addresses: server.max_connections_per_ip.map(LimitByKey::new),
            users: server
                .max_sessions_per_user
                .map(|limit| UserLimit::new(limit, server.on_user_limit)),
            trusted_proxies: server.trusted_proxies.clone(),
            reached: Arc::default(),
        }
    }

    /// The same counts under the limits of another configuration. A limit that was off begins to
    /// count now; the rate begins with a full bucket.
    pub(super) fn with_limits(&self, server: &Server) -> Self {
        let (addresses, users) = (self.addresses.as_ref(), self.users.as_ref());
        Self {
            connections: self.connections.with_limit(server.max_connections.get()),
            pending: self.pending.with_limit(server.max_pending_handshakes.get()),
            key_waits: self.key_waits.with_limit(server.max_pending_handshakes),
            refusals: self.refusals.clone(),
            addresses: server
                .max_connections_per_ip
                .map(|limit| LimitByKey::with_limit(addresses, limit)),
            users: server
                .max_sessions_per_user
                .map(|limit| UserLimit::with_limit(users, limit, server.on_user_limit)),
            reached: Arc::clone(&self.reached),
            ..Self::new(server)
        }
    }

    /// A refusal for a limit of this key, which the log names: several have one code.
    fn over(&self, key: &'static str, refusal: Refusal) -> Refusal {
        if let Some(before) = self.reached.to_log(key, Instant::now()) {
            warn!(limit = key, code = refusal.label(), before, "a limit is reached");
        }
        refusal
    }

    /// Counts a connection that was accepted. Waits for no client, see [`Refusals::place`].
    pub(super) async fn arrive(&self, peer: Option<IpAddr>) -> Arrival {
        let accepted = Instant::now();
        // A proxy reports only in the request whose connection it is.
        let address = peer.filter(|_| !address::is_proxy(peer, &self.trusted_proxies));
        let admission = match self.admit(address, accepted) {
            Ok(admitted) => Ok(admitted),
            Err(refusal) => Err(OverLimit { refusal, place: self.refusals.place().await }),
        };
        Arrival { peer, accepted, admission }
    }

    /// Counts a connection in that needs nothing else.
    ///
    /// # Errors
    /// [`Refusal::AtCapacity`].
    pub(super) fn take_connection(&self) -> Result<Permit, Refusal> {
        let over = || self.over("server.max_connections", Refusal::AtCapacity);
        self.connections.take().ok_or_else(over)
    }

    /// Counts a connection as one that does a handshake, which until now was only a connection.
    ///
    /// # Errors
    /// The limit that it is over.
    pub(super) fn admit_again(
        &self,
        peer: Option<IpAddr>,
        connection: Permit,
    ) -> Result<Admitted, Refusal> {
        let address = peer.filter(|_| !address::is_proxy(peer, &self.trusted_proxies));
        self.admit_connection(connection, address, Instant::now())
    }

    /// Counts a connection in. `address` is the client's own, `None` while only a proxy is known.
    fn admit(&self, address: Option<IpAddr>, now: Instant) -> Result<Admitted, Refusal> {
        self.admit_connection(self.take_connection()?, address, now)
    }

    fn admit_connection(
        &self,
        connection: Permit,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        let permit = address.map(|address| self.take_address(address)).transpose()?.flatten();
        // Last: the place of a client that is cut off cannot be put back.
        let pending = self.pending.take(address.map(AddressKey::new), now);
        let over = || self.over("server.max_pending_handshakes", Refusal::AtCapacity);
        let pending = pending.ok_or_else(over)?;
        Ok(Admitted { connection, pending, address: permit })
    }

    /// Counts a complete request in the rate of handshakes.
    ///
    /// # Errors
    /// [`Refusal::AtCapacity`].
    pub(super) fn take_rate(&self, client: Option<AddressKey>) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let taken = lock(rate).take(client, Instant::now());
        let over = || self.over("server.handshakes_per_second", Refusal::AtCapacity);
        taken.then_some(()).ok_or_else(over)
    }

    /// Takes a place to wait for a key of the issuer; `None` when there is none for this client.
    pub(super) fn wait_for_key(&self, client: Option<AddressKey>) -> Option<KeyWait> {
        self.key_waits.take(client)
    }

    /// Whose request it is: the peer's, or that of the client which a trusted proxy reports.
    pub(super) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<AddressKey> {
        let is_proxy = address::is_proxy(peer, &self.trusted_proxies);
        let client = if is_proxy { reported(peer, headers, &self.trusted_proxies) } else { peer };
        client.map(AddressKey::new)
    }

    /// Counts a connection that came through a trusted proxy for the address that this reports.
    /// `Ok(None)` also when `peer` is no proxy: it was counted when it arrived.
    ///
    /// # Errors
    /// [`Refusal::AddressLimit`].
    pub(super) fn take_reported_address(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<AddressPermit, Refusal> {
        if !address::is_proxy(peer, &self.trusted_proxies) {
            return Ok(None);
        }
        match reported(peer, headers, &self.trusted_proxies) {
            Some(address) => self.take_address(address),
            None => Ok(None),
        }
    }

    fn take_address(&self, address: IpAddr) -> Result<AddressPermit, Refusal> {
        let Some(addresses) = &self.addresses else { return Ok(None) };
        let over = || self.over("server.max_connections_per_ip", Refusal::AddressLimit);
        addresses.take(AddressKey::new(address)).ok_or_else(over).map(Some)
    }

    /// Counts a session for its user.
    ///
    /// # Errors
    /// [`Refusal::UserLimit`].
    pub(super) fn take_user(&self, user: &Arc<str>) -> Result<UserPermit, Refusal> {
        let Some(users) = &self.users else { return Ok(None) };
        let over = || self.over("server.max_sessions_per_user", Refusal::UserLimit);
        users.take(user).ok_or_else(over).map(Some)
    }

    /// A session has opened for which this was taken. It may cost its user the oldest other one.
    pub(super) fn user_opened(&self, place: &mut UserPermit, session: SessionHandle) {
        if let (Some(users), Some(place)) = (&self.users, place) {
            users.opened(place, session);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave a count half changed, so a poisoned table is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
