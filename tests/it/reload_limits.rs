//! Limits changed by a reload, seen by the answers to clients before and after.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    settings::{notifications, rooms},
    token,
    wait::until,
};

fn start(settings: impl FnOnce(Settings) -> Settings) -> (Redis, Settings, Gateway) {
    let redis = Redis::start();
    let base = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings(base.clone()));
    (redis, base, gateway)
}

/// An upgrade forwarded for this address by the proxy on this machine.
fn from(address: &str) -> Request {
    Request::upgrade("/ws/rooms/1").header("X-Forwarded-For", address)
}

#[test]
fn a_limit_of_an_address_is_raised_and_lowered_and_counts_who_was_there_before() {
    let limit = |settings: &Settings, limit: i64| {
        settings.clone().set("server.max_connections_per_ip", limit)
    };
    let (redis, base, gateway) = start(|base| limit(&base, 1));
    let open = || Client::open(gateway.address, &from("203.0.113.7"));
    let refused = || gateway.send(&from("203.0.113.7")).assert_refused(429, "address_limit");
    let mut first = open();
    refused();

    assert!(gateway.reload(&limit(&base, 2)));
    let mut second = open();
    refused();

    assert!(gateway.reload(&limit(&base, 1)));
    refused();
    Client::open(gateway.address, &from("203.0.113.8"));
    redis.publish("room:1", "to both");
    assert_eq!((first.text(), second.text()), ("to both".to_owned(), "to both".to_owned()));
    first.bye();
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    refused();
    second.bye();
    until("the place is free", || Client::try_open(gateway.address, &from("203.0.113.7")).is_ok());
}

#[test]
fn a_limit_of_a_user_is_raised_and_lowered_and_counts_who_was_there_before() {
    let limit = |settings: &Settings, limit: i64| {
        settings.clone().set("server.max_sessions_per_user", limit)
    };
    let (redis, base, gateway) = start(|base| limit(&base, 1));
    let ann = Request::upgrade("/ws/me").bearer(&token::of("ann"));
    let refused = || gateway.send(&ann).assert_refused(429, "user_limit");
    let mut first = Client::open(gateway.address, &ann);
    refused();

    assert!(gateway.reload(&limit(&base, 2)));
    let mut second = Client::open(gateway.address, &ann);
    refused();

    assert!(gateway.reload(&limit(&base, 1)));
    refused();
    gateway.open_as("bob", "/ws/me");
    redis.publish("user:ann", "to both");
    assert_eq!((first.text(), second.text()), ("to both".to_owned(), "to both".to_owned()));
}

#[test]
fn whose_x_forwarded_for_is_believed_changes_with_a_reload() {
    let one = |settings: Settings| settings.set("server.max_connections_per_ip", 1);
    let (_redis, base, gateway) = start(one);
    let open = |address: &str| Client::try_open(gateway.address, &from(address));
    let _held = open("203.0.113.1").expect("this machine's proxy is believed");
    let _also = open("203.0.113.2").expect("another client of the same proxy");

    let elsewhere = one(base.clone()).set("server.trusted_proxies", vec!["192.0.2.0/24"]);
    assert!(gateway.reload(&elsewhere));
    let _proxy = open("203.0.113.3").expect("the first connection of 127.0.0.1 itself");
    let answer = open("203.0.113.4").err().expect("all that it reports are one address now");
    answer.assert_refused(429, "address_limit");

    assert!(gateway.reload(&one(base)));
    let _believed = open("203.0.113.4").expect("this machine's proxy is believed again");
    let answer = open("203.0.113.1").err().expect("held from before");
    answer.assert_refused(429, "address_limit");
}
