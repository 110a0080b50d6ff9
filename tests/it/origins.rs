//! Which pages may connect.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    settings::{notifications, rooms},
};

fn start(origins: &[&str]) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.allowed_origins", origins.to_vec())
        .endpoint(rooms())
        .endpoint(notifications());
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

fn from(origin: &str) -> Request {
    Request::upgrade("/ws/rooms/1").header("Origin", origin)
}

#[test]
fn only_listed_origins_may_connect_and_clients_without_one_always() {
    let (_redis, gateway) = start(&["https://shop.example", "https://*.good.example"]);
    for origin in [
        "https://shop.example",
        "https://SHOP.example",
        "https://a.good.example",
        "https://a.b.good.example",
    ] {
        Client::open(gateway.address, &from(origin));
    }
    gateway.open("/ws/rooms/1");
    for origin in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://good.example",
        "https://evilgood.example",
        "https://evil.example/.good.example",
        "https://evil.example#.good.example",
        "https://user@a.good.example",
        "https://.good.example",
        "null",
        "",
    ] {
        let answer = gateway.send(&from(origin));
        assert_eq!(answer.status, 403, "{origin}");
        answer.assert_refused(403, "origin_not_allowed");
    }
}

#[test]
fn a_wrong_origin_is_refused_before_the_token_is_looked_at() {
    let (_redis, gateway) = start(&["https://shop.example"]);
    let request = Request::upgrade("/ws/me").header("Origin", "https://evil.example");
    gateway.send(&request).assert_refused(403, "origin_not_allowed");
    gateway.send(&request.bearer("garbage")).assert_refused(403, "origin_not_allowed");
}

#[test]
fn without_a_list_any_origin_may_connect() {
    let (_redis, gateway) = start(&[]);
    for origin in ["https://evil.example", "null"] {
        Client::open(gateway.address, &from(origin));
    }
}
