//! What Redis takes away from a session within it, or does not permit.

use super::{answer, endpoint, message, refused, subscribe};
use crate::rig::{Gateway, Redis, Settings};
use serde_json::json;

#[test]
fn a_channel_that_redis_does_not_permit_is_refused_and_one_that_it_takes_away_ends_alone() {
    let redis = Redis::start();
    let rights = |channels: &[&str]| {
        let user = ["ACL", "SETUSER", "gateway", "on", ">right", "+@all", "~*", "resetchannels"];
        redis.command(&[&user[..], &["&sockway:*", "&fixed"], channels].concat());
    };
    rights(&["&chat:a", "&chat:b"]);
    let settings =
        Settings::new(&redis).set("redis.username", "gateway").set("redis.password", "right");
    let gateway = Gateway::start(&settings.clone().endpoint(endpoint()));
    let mut client = {
        let token = crate::rig::token::of("42");
        gateway.open_with(&token, "/ws")
    };
    assert_eq!(client.json()["type"], "ready");
    for (channel, expected) in [
        ("chat:a", answer("subscribed", "chat:a")),
        ("chat:b", answer("subscribed", "chat:b")),
        ("chat:c", refused("chat:c", "channel_refused")),
    ] {
        subscribe(&mut client, channel);
        assert_eq!(client.json(), expected);
    }
    // Redis ends the connection of a user that loses a channel; what is asked for anew is refused then.
    rights(&["&chat:a"]);
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(client.json());
    }
    let gone = json!({"type": "unsubscribed", "channel": "chat:b", "reason": "channel_refused"});
    assert!(told.contains(&gone), "{told:?}");
    redis.publish("chat:a", "1");
    assert_eq!(client.json(), message("chat:a", 1));
}
