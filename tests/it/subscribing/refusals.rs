//! Every code by which a subscribe is refused; the session goes on.

use super::{Scene, answer, message, refused, say, subscribe, unsubscribe};
use serde_json::json;

#[test]
fn a_name_that_is_not_allowed_and_one_that_is_none_are_refused_alike() {
    // So many that a burst holds all of these.
    let scene = Scene::with_most(100);
    let mut client = scene.open();
    for channel in [
        "",
        "chat:",
        "chat:*",
        "chat:7:8",
        "other",
        "user:43:x",
        "room:c",
        "sockway:control",
        "__keyevent@0__:x",
        "chat:\u{0}",
        "chat:{x}",
        "log:",
        "log:*",
    ] {
        subscribe(&mut client, channel);
        assert_eq!(client.json(), refused(channel, "channel_not_allowed"));
    }
    scene.redis.publish("fixed", "1");
    assert_eq!(client.json(), message("fixed", 1));
}

#[test]
fn too_many_subscriptions_are_refused_until_one_is_given_back() {
    let scene = Scene::new();
    let mut client = scene.open();
    for number in 0..4 {
        let channel = format!("chat:{number}");
        subscribe(&mut client, &channel);
        assert_eq!(client.json(), answer("subscribed", &channel));
    }
    subscribe(&mut client, "chat:4");
    assert_eq!(client.json(), refused("chat:4", "too_many_subscriptions"));
    unsubscribe(&mut client, "chat:0");
    assert_eq!(client.json(), answer("unsubscribed", "chat:0"));
    subscribe(&mut client, "chat:4");
    assert_eq!(client.json(), answer("subscribed", "chat:4"));
}

#[test]
fn what_the_session_opened_with_cannot_be_given_back() {
    let scene = Scene::new();
    let mut client = scene.open();
    unsubscribe(&mut client, "fixed");
    assert_eq!(client.json(), refused("fixed", "channel_fixed"));
    scene.redis.publish("fixed", "1");
    assert_eq!(client.json(), message("fixed", 1));
}

#[test]
fn a_position_that_is_none_and_one_of_a_channel_are_refused() {
    let scene = Scene::new();
    let mut client = scene.open();
    for (channel, more) in [
        ("log:7", json!({"since": "yesterday"})),
        ("log:7", json!({"since": "log:7@5-0"})),
        ("chat:7", json!({"since": "5-0"})),
        ("chat:7", json!({"last": 5})),
    ] {
        let mut frame = json!({"type": "subscribe", "channel": channel});
        frame.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        say(&mut client, &frame);
        assert_eq!(client.json(), refused(channel, "since_invalid"));
    }
}

#[test]
fn a_key_that_is_no_stream_is_refused_and_the_session_goes_on() {
    let scene = Scene::new();
    scene.redis.command(&["SET", "log:7", "x"]);
    let mut client = scene.open();
    subscribe(&mut client, "log:7");
    assert_eq!(client.json(), refused("log:7", "channel_refused"));
    subscribe(&mut client, "chat:7");
    assert_eq!(client.json(), answer("subscribed", "chat:7"));
}

#[test]
fn a_subscribe_that_redis_does_not_answer_in_time_is_refused_and_given_up() {
    let redis = crate::rig::Redis::start();
    let settings = crate::rig::Settings::new(&redis)
        .set("server.handshake_timeout", "3s")
        // The link must outlive the silence.
        .set("redis.probe_interval", "30s")
        .set("redis.probe_timeout", "20s");
    let gateway = crate::rig::Gateway::start(&settings.clone().endpoint(super::endpoint()));
    let scene = Scene { redis, gateway, settings };
    let mut client = scene.open();
    scene.redis.hang();
    subscribe(&mut client, "chat:7");
    assert_eq!(client.json(), refused("chat:7", "subscription_timeout"));
    scene.redis.go_on();
    scene.redis.wait_numsub("chat:7", 0);
    subscribe(&mut client, "chat:7");
    assert_eq!(client.json(), answer("subscribed", "chat:7"));
}
