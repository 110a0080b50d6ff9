//! How many may come in: connections, pending handshakes, the handshake rate, addresses, users.
//!
//! Whatever is counted is given back by dropping a permit, however a connection ends. Nothing here
//! waits, and no lock is held longer than one look into a table. Who comes over the limits is
//! still answered: with a moment to send and to read, out of a small reserve; beyond it on the spot,
//! or under TLS not at all.

use super::{
    client::AddressKey,
    pending::{Pending, PendingHandshakes},
};
use crate::{config::Server, reason::Refusal};
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

/// Refusals over the limits that wait for their request, and for the client to read the answer.
const RESERVE: usize = 64;

/// Everything that is counted at the public port.
pub(super) struct Admission {
    connections: Count,
    pending: PendingHandshakes,
    reserve: Count,
    rate: Option<Mutex<Rate>>,
    addresses: Option<Counts<AddressKey>>,
    users: Option<Counts<Arc<str>>>,
}

/// What a connection holds from accept to its end.
pub(super) struct Admitted {
    pub(super) connection: Permit,
    /// Dropped when the handshake is decided.
    pub(super) pending: Pending,
    /// `None` when nobody counts, or when a proxy has yet to say whose connection it is.
    pub(super) address: Option<KeyPermit<AddressKey>>,
}

/// A connection over the limits: whatever it asks for, it is refused.
pub(super) struct Overflow {
    pub(super) refusal: Refusal,
    /// Its place in the reserve.
    pub(super) place: Permit,
}

impl Admission {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            connections: Count::new(server.max_connections.get()),
            pending: PendingHandshakes::new(server.max_pending_handshakes.get()),
            reserve: Count::new(RESERVE),
            rate: server.handshakes_per_second.map(|rate| Mutex::new(Rate::new(rate))),
            addresses: server.max_connections_per_ip.map(Counts::new),
            users: server.max_sessions_per_user.map(Counts::new),
        }
    }

    /// The same counts under the limits of another configuration. A limit that was off begins to
    /// count now; the rate begins with a full bucket.
    pub(super) fn adopting(&self, server: &Server) -> Self {
        let mut adopted = Self::new(server);
        adopted.connections.taken = Arc::clone(&self.connections.taken);
        adopted.reserve.taken = Arc::clone(&self.reserve.taken);
        adopted.pending = self.pending.adopting(server.max_pending_handshakes.get());
        share(&mut adopted.addresses, self.addresses.as_ref());
        share(&mut adopted.users, self.users.as_ref());
        adopted
    }

    /// Counts a connection in. `address` is the client's own, `None` while only a proxy is known.
    pub(super) fn admit(&self, address: Option<IpAddr>, now: Instant) -> Result<Admitted, Refusal> {
        let connection = self.connections.take().ok_or(Refusal::AtCapacity)?;
        let address = address.map(|address| self.take_address(address)).transpose()?.flatten();
        // The last two cannot be put back: a bucket's drop, and the place of who was cut off.
        if self.rate.as_ref().is_some_and(|rate| !lock(rate).take(now)) {
            return Err(Refusal::AtCapacity);
        }
        let pending = self.pending.take(now).ok_or(Refusal::AtCapacity)?;
        Ok(Admitted { connection, pending, address })
    }

    /// Takes a place to refuse a connection over the limits. `None`: it must be refused on the spot.
    pub(super) fn overflow(&self, refusal: Refusal) -> Option<Overflow> {
        Some(Overflow { refusal, place: self.reserve.take()? })
    }

    /// Counts a connection for its address; `Ok(None)` when addresses are not limited.
    pub(super) fn take_address(
        &self,
        address: IpAddr,
    ) -> Result<Option<KeyPermit<AddressKey>>, Refusal> {
        let key = AddressKey::new(address);
        self.addresses
            .as_ref()
            .map(|counts| counts.take(key).ok_or(Refusal::AddressLimit))
            .transpose()
    }

    /// Counts a session for its user; `Ok(None)` when users are not limited.
    pub(super) fn take_user(
        &self,
        user: &Arc<str>,
    ) -> Result<Option<KeyPermit<Arc<str>>>, Refusal> {
        self.users
            .as_ref()
            .map(|counts| counts.take(Arc::clone(user)).ok_or(Refusal::UserLimit))
            .transpose()
    }
}

/// A number of places.
struct Count {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Count {
    fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    fn take(&self) -> Option<Permit> {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Permit(Arc::clone(&self.taken)))
    }
}

/// One place, given back when dropped.
pub(super) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A number of places for each key.
struct Counts<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    limit: usize,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    fn new(limit: NonZeroUsize) -> Self {
        Self { taken: Arc::default(), limit: limit.get() }
    }

    fn take(&self, key: K) -> Option<KeyPermit<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(KeyPermit { taken: Arc::clone(&self.taken), key })
    }
}

/// Has the new table count where the old one does, when there are both.
fn share<K: Eq + Hash>(new: &mut Option<Counts<K>>, old: Option<&Counts<K>>) {
    if let (Some(new), Some(old)) = (new, old) {
        new.taken = Arc::clone(&old.taken);
    }
}

/// One place of a key, given back when dropped. A key without places takes no memory.
pub(super) struct KeyPermit<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for KeyPermit<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.key)),
        }
    }
}

/// A bucket of handshakes: one second's worth at most, filled evenly.
struct Rate {
    per_second: f64,
    left: f64,
    filled: Option<Instant>,
}

impl Rate {
    fn new(per_second: NonZeroUsize) -> Self {
        let per_second = per_second.get() as f64;
        Self { per_second, left: per_second, filled: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = self.filled.map_or(0.0, |then| now.duration_since(then).as_secs_f64());
        self.filled = Some(now);
        self.left = (self.left + since * self.per_second).min(self.per_second);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic cannot leave a count half changed, so a poisoned table is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;
    use std::time::Duration;

    /// Room for two of everything, and no limit on the rate.
    fn server() -> Server {
        let two = NonZeroUsize::new(2).unwrap();
        Server {
            listen: ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()),
            shards: two,
            ring_bytes: NonZeroUsize::new(64 << 20).unwrap(),
            handshake_timeout: Duration::from_secs(10),
            max_connections: two,
            max_pending_handshakes: two,
            max_connections_per_ip: None,
            max_sessions_per_user: None,
            handshakes_per_second: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }

    fn many() -> NonZeroUsize {
        NonZeroUsize::new(1000).unwrap()
    }

    fn refusal<T>(result: Result<T, Refusal>) -> Option<Refusal> {
        result.err()
    }

    #[test]
    fn a_full_gateway_refuses_until_a_connection_ends() {
        let admission = Admission::new(&Server { max_pending_handshakes: many(), ..server() });
        let now = Instant::now();
        let first = admission.admit(None, now);
        let _second = admission.admit(None, now);
        assert_eq!(refusal(admission.admit(None, now)), Some(Refusal::AtCapacity));
        drop(first);
        assert!(admission.admit(None, now).is_ok());
    }

    #[test]
    fn a_handshake_that_is_over_makes_room_though_its_connection_stays() {
        let admission = Admission::new(&Server { max_connections: many(), ..server() });
        let now = Instant::now();
        let first = admission.admit(None, now).ok().unwrap();
        let _second = admission.admit(None, now);
        assert_eq!(refusal(admission.admit(None, now)), Some(Refusal::AtCapacity));
        drop(first.pending);
        assert!(admission.admit(None, now).is_ok());
    }

    #[test]
    fn a_refused_arrival_holds_nothing() {
        let admission = Admission::new(&Server {
            max_pending_handshakes: many(),
            max_connections_per_ip: NonZeroUsize::new(1),
            ..server()
        });
        let (now, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
        let _held = admission.admit(Some(address), now);
        for _ in 0..10 {
            let refused = refusal(admission.admit(Some(address), now));
            assert_eq!(refused, Some(Refusal::AddressLimit));
        }
        assert!(admission.admit(Some("192.0.2.2".parse().unwrap()), now).is_ok());
    }

    #[test]
    fn addresses_are_counted_apart_and_given_back() {
        let limit = NonZeroUsize::new(1);
        let admission = Admission::new(&Server { max_connections_per_ip: limit, ..server() });
        let take = |address: &str| admission.take_address(address.parse().unwrap());
        let held = take("2001:db8::1");
        assert_eq!(refusal(take("2001:db8::2")), Some(Refusal::AddressLimit));
        assert!(take("2001:db8:0:1::1").is_ok());
        drop(held);
        assert!(take("2001:db8::2").is_ok());
        let table = &admission.addresses.as_ref().unwrap().taken;
        assert!(lock(table).is_empty(), "addresses without connections take memory");
    }

    #[test]
    fn users_are_counted_apart_and_given_back() {
        let limit = NonZeroUsize::new(2);
        let admission = Admission::new(&Server { max_sessions_per_user: limit, ..server() });
        let take = |user: &str| admission.take_user(&Arc::from(user));
        let (first, _second) = (take("42"), take("42"));
        assert_eq!(refusal(take("42")), Some(Refusal::UserLimit));
        assert!(take("43").is_ok());
        drop(first);
        assert!(take("42").is_ok());
    }

    #[test]
    fn what_is_not_limited_is_not_counted() {
        let admission = Admission::new(&server());
        let address = admission.take_address("192.0.2.1".parse().unwrap());
        assert!(address.is_ok_and(|permit| permit.is_none()));
        assert!(admission.take_user(&Arc::from("42")).is_ok_and(|permit| permit.is_none()));
    }

    #[test]
    fn the_reserve_is_bounded_and_given_back() {
        let admission = Admission::new(&server());
        let mut places: Vec<_> =
            (0..RESERVE).map(|_| admission.overflow(Refusal::AtCapacity).unwrap()).collect();
        assert!(admission.overflow(Refusal::AtCapacity).is_none());
        places.pop();
        assert!(admission.overflow(Refusal::AtCapacity).is_some());
    }

    #[test]
    fn the_rate_is_a_second_s_worth_at_once_and_then_even() {
        let mut rate = Rate::new(NonZeroUsize::new(10).unwrap());
        let start = Instant::now();
        let mut taken_at = |milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            (0..100).filter(|_| rate.take(now)).count()
        };
        assert_eq!(taken_at(0), 10);
        assert_eq!(taken_at(50), 0);
        assert_eq!(taken_at(100), 1);
        assert_eq!(taken_at(600), 5);
        assert_eq!(taken_at(60_000), 10);
    }

    #[test]
    fn over_the_rate_is_over_capacity() {
        let rate = NonZeroUsize::new(1);
        let admission = Admission::new(&Server {
            max_connections: many(),
            max_pending_handshakes: many(),
            handshakes_per_second: rate,
            ..server()
        });
        let now = Instant::now();
        assert!(admission.admit(None, now).is_ok());
        assert_eq!(refusal(admission.admit(None, now)), Some(Refusal::AtCapacity));
        assert!(admission.admit(None, now + Duration::from_secs(1)).is_ok());
    }
}
