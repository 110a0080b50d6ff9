//! The limits of [`Admission`], one by one.

use super::*;
use crate::config::{ListenAddress, OnUserLimit};
use std::{num::NonZeroUsize, time::Duration};

/// Room for two of everything, and no limit on the rate.
fn server() -> Server {
    let two = NonZeroUsize::new(2).unwrap();
    Server {
        listen: ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()),
        socket_mode: 0o660,
        shards: two,
        ring_bytes: NonZeroUsize::new(64 << 20).unwrap(),
        max_queue_memory: NonZeroUsize::new(256 << 20).unwrap(),
        handshake_timeout: Duration::from_secs(10),
        max_connections: two,
        max_pending_handshakes: two,
        max_connections_per_ip: None,
        max_sessions_per_user: None,
        on_user_limit: OnUserLimit::Refuse,
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
    let table = admission.addresses.as_ref().unwrap();
    assert!(table.is_empty(), "addresses without connections take memory");
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
fn over_the_rate_is_over_capacity_and_a_connection_alone_takes_nothing_from_it() {
    let rate = NonZeroUsize::new(1);
    let admission = Admission::new(&Server {
        max_connections: many(),
        max_pending_handshakes: many(),
        handshakes_per_second: rate,
        ..server()
    });
    let connections: Vec<_> = (0..10).map(|_| admission.admit(None, Instant::now())).collect();
    assert!(connections.iter().all(Result::is_ok));
    assert!(admission.take_rate(None).is_ok());
    assert_eq!(refusal(admission.take_rate(None)), Some(Refusal::AtCapacity));
}

#[test]
fn what_is_counted_stays_counted_under_other_limits() {
    let limited = |limit| Server {
        max_connections_per_ip: NonZeroUsize::new(limit),
        max_sessions_per_user: NonZeroUsize::new(limit),
        ..server()
    };
    let before = Admission::new(&limited(2));
    let (now, address) = (Instant::now(), "192.0.2.1".parse().unwrap());
    let (_connection, _user) = (before.admit(Some(address), now), before.take_user(&"42".into()));
    let after = before.with_limits(&limited(1));
    assert_eq!(refusal(after.take_address(address)), Some(Refusal::AddressLimit));
    assert_eq!(refusal(after.take_user(&"42".into())), Some(Refusal::UserLimit));
    let _second = after.admit(None, now).ok().unwrap();
    assert_eq!(refusal(after.admit(None, now)), Some(Refusal::AtCapacity));
}
