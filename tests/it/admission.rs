//! How many may come in: over the limit is still answered, and a place given back can be taken.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings, http,
    settings::{notifications, rooms},
    token,
    wait::until,
};

fn start(key: &str, limit: i64) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings =
        Settings::new(&redis).set(key, limit).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

/// The place of a session that ended is given back soon.
#[track_caller]
fn until_admitted(gateway: &Gateway, request: &Request) -> Client {
    let mut admitted = None;
    until("a place is free again", || {
        admitted = Client::try_open(gateway.address, request).ok();
        admitted.is_some()
    });
    admitted.expect("just seen")
}

#[test]
fn connections_above_max_connections_are_503_until_one_leaves() {
    let (_redis, gateway) = start("server.max_connections", 3);
    let clients: Vec<_> = (0..3).map(|_| gateway.open("/ws/rooms/1")).collect();
    let request = Request::upgrade("/ws/rooms/1");
    gateway.send(&request).assert_refused(503, "at_capacity");
    assert_eq!(gateway.admin("/livez").status, 200);
    drop(clients);
    until_admitted(&gateway, &request);
}

#[test]
fn connections_above_the_limit_of_an_address_are_429_and_others_are_not_concerned() {
    let (_redis, gateway) = start("server.max_connections_per_ip", 2);
    let from = |address: &str| Request::upgrade("/ws/rooms/1").header("X-Forwarded-For", address);
    let _clients: Vec<_> =
        (0..2).map(|_| Client::open(gateway.address, &from("203.0.113.7"))).collect();
    gateway.send(&from("203.0.113.7")).assert_refused(429, "address_limit");
    Client::open(gateway.address, &from("203.0.113.8"));
}

#[test]
fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_connections_per_ip", 2)
        .set("server.trusted_proxies", vec!["192.0.2.0/24"])
        .endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let from = |address: &str| Request::upgrade("/ws/rooms/1").header("X-Forwarded-For", address);
    let _clients: Vec<_> = ["203.0.113.1", "203.0.113.2"]
        .map(|address| Client::open(gateway.address, &from(address)))
        .into();
    gateway.send(&from("203.0.113.3")).assert_refused(429, "address_limit");
}

#[test]
fn sessions_above_the_limit_of_a_user_are_429_until_one_leaves() {
    let (_redis, gateway) = start("server.max_sessions_per_user", 2);
    let ann = Request::upgrade("/ws/me").bearer(&token::of("ann"));
    let clients: Vec<_> = (0..2).map(|_| Client::open(gateway.address, &ann)).collect();
    gateway.send(&ann).assert_refused(429, "user_limit");
    gateway.open_as("bob", "/ws/me");
    drop(clients);
    until_admitted(&gateway, &ann);
}

#[test]
fn handshakes_above_the_rate_are_503() {
    let (_redis, gateway) = start("server.handshakes_per_second", 5);
    let request = Request::upgrade("/ws/rooms/1");
    let mut refused = None;
    until("the rate is reached", || {
        refused = Client::try_open(gateway.address, &request).err();
        refused.is_some()
    });
    refused.expect("just seen").assert_refused(503, "at_capacity");
    until_admitted(&gateway, &request);
}

#[test]
fn clients_that_never_finish_their_request_do_not_keep_others_out() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_pending_handshakes", 4)
        .set("server.handshake_timeout", "60s")
        .endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let _silent: Vec<_> = (0..20).map(|_| http::connect(gateway.address)).collect();
    until_admitted(&gateway, &Request::upgrade("/ws/rooms/1"));
}
