//! The event bus: some types, types that change, all types.

use super::start;
use crate::rig::{
    Gateway, Redis, Request, left_out,
    python::{NO_PYTHON, Peer, python},
    token,
};
use serde_json::{Value, json};

const CREATED: &str = "events:order.created";
const SHIPPED: &str = "events:order.shipped";

/// Publishes one event of each type; the number of each is its own.
fn publish(redis: &Redis) {
    redis.publish(CREATED, r#"{"order":17}"#);
    redis.publish("events:user.joined", r#"{"user":4}"#);
    redis.publish(SHIPPED, r#"{"order":16}"#);
}

fn message(channel: &str, data: &Value) -> Value {
    json!({"type": "message", "channel": channel, "data": data})
}

fn watcher(of: &str) -> String {
    token::signed(&json!({"sub": "ann", "exp": token::now() + 3600, "watch": of}))
}

fn open(python: &str, gateway: &Gateway, target: &str, token: &str) -> (Peer, Value) {
    let mut peer = Peer::open(python, gateway.address, target, token);
    let ready = peer.next("ready");
    (peer, ready)
}

#[test]
fn some_types_come_by_the_query() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (redis, gateway) = start("events.toml");
    let target = "/ws/events?types=order.created,order.shipped";
    let (mut peer, ready) = open(&python, &gateway, target, &token::of("ann"));
    assert_eq!(ready["channels"], json!([CREATED, SHIPPED]));
    publish(&redis);
    assert_eq!(peer.json(), message(CREATED, &json!({"order": 17})));
    assert_eq!(peer.json(), message(SHIPPED, &json!({"order": 16})));
}

#[test]
fn a_page_changes_its_types_without_connecting_anew() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (redis, gateway) = start("events.toml");
    let (mut peer, _) = open(&python, &gateway, "/ws/events/chosen", &token::of("ann"));
    publish(&redis);
    for (kind, channel) in
        [("subscribe", CREATED), ("subscribe", SHIPPED), ("unsubscribe", CREATED)]
    {
        peer.send(&json!({"type": kind, "channel": channel}));
        assert_eq!(peer.json(), json!({"type": format!("{kind}d"), "channel": channel}));
    }
    publish(&redis);
    assert_eq!(peer.json(), message(SHIPPED, &json!({"order": 16})), "and nothing before it");
}

#[test]
fn all_types_come_by_a_pattern_each_with_its_name_where_the_token_may_watch() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (redis, gateway) = start("events.toml");
    let (mut peer, ready) = open(&python, &gateway, "/ws/events/all", &watcher("events"));
    assert_eq!(ready["patterns"], json!(["events:*"]));
    redis.publish("other:order.created", "not an event");
    publish(&redis);
    for (channel, data) in [
        (CREATED, json!({"order": 17})),
        ("events:user.joined", json!({"user": 4})),
        (SHIPPED, json!({"order": 16})),
    ] {
        let mut expected = message(channel, &data);
        expected["pattern"] = "events:*".into();
        assert_eq!(peer.json(), expected);
    }
    let without = Request::upgrade("/ws/events/all").bearer(&token::of("ann"));
    gateway.send(&without).assert_refused(403, "claim_missing");
}
