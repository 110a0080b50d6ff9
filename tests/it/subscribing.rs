//! Subscribe and unsubscribe within a session, with a real Redis: each answer is true when it comes, and what
//! ends a subscription ends nothing else.

mod acl;
mod floods;
mod refusals;
mod streams;

use crate::rig::{Client, Endpoint, Gateway, Redis, Settings, token};
use serde_json::{Value, json};

fn endpoint() -> Endpoint {
    Endpoint::new("rooms", "/ws", &["fixed"])
        .set("format", "json")
        .set("subscribe", vec!["chat:{any}", "user:{user}:{any}", "room:{claim.rooms}"])
        .set("subscribe_streams", vec!["log:{any}"])
        .set("max_subscriptions", 4)
        // A test writes faster than a client reads.
        .set("replay_messages", 10_000)
}

struct Scene {
    redis: Redis,
    gateway: Gateway,
    settings: Settings,
}

impl Scene {
    fn new() -> Self {
        Self::over(Redis::start())
    }

    fn over(redis: Redis) -> Self {
        Self::of(redis, endpoint())
    }

    /// … where a session may add this many.
    fn with_most(most: usize) -> Self {
        Self::of(Redis::start(), endpoint().set("max_subscriptions", most as i64))
    }

    fn of(redis: Redis, endpoint: Endpoint) -> Self {
        let settings = Settings::new(&redis);
        let gateway = Gateway::start(&settings.clone().endpoint(endpoint));
        Self { redis, gateway, settings }
    }

    fn open(&self) -> Client {
        let claims = json!({"sub": "42", "rooms": ["a", "b"], "exp": token::now() + 3600});
        let mut client = self.gateway.open_with(&token::signed(&claims), "/ws");
        assert_eq!(client.json()["type"], "ready");
        client
    }
}

/// Sends a frame.
fn say(client: &mut Client, frame: &Value) {
    client.send(0x81, frame.to_string().as_bytes());
}

fn subscribe(client: &mut Client, channel: &str) {
    say(client, &json!({"type": "subscribe", "channel": channel}));
}

fn unsubscribe(client: &mut Client, channel: &str) {
    say(client, &json!({"type": "unsubscribe", "channel": channel}));
}

fn answer(kind: &str, channel: &str) -> Value {
    json!({"type": kind, "channel": channel})
}

fn message(channel: &str, data: u64) -> Value {
    json!({"type": "message", "channel": channel, "data": data})
}

fn refused(channel: &str, code: &str) -> Value {
    json!({"type": "refused", "channel": channel, "code": code})
}

#[test]
fn subscribed_means_that_nothing_published_from_then_on_is_missed_and_unsubscribed_that_nothing_comes()
 {
    let scene = Scene::new();
    let mut client = scene.open();
    // No more than may come at once.
    for number in 0..8 {
        let channel = &format!("chat:{number}");
        subscribe(&mut client, channel);
        assert_eq!(client.json(), answer("subscribed", channel));
        scene.redis.publish(channel, number.to_string());
        assert_eq!(client.json(), message(channel, number));
        unsubscribe(&mut client, channel);
        assert_eq!(client.json(), answer("unsubscribed", channel));
        scene.redis.publish(channel, "gone");
    }
    scene.redis.publish("fixed", "1");
    assert_eq!(client.json(), message("fixed", 1));
    scene.redis.wait_numsub("chat:0", 0);
}

#[test]
fn each_frame_is_answered_with_its_ref_and_what_is_there_twice_comes_once() {
    let scene = Scene::new();
    let mut client = scene.open();
    for (channel, reference) in [("chat:7", "a"), ("chat:7", "b"), ("fixed", "c"), ("room:b", "d")]
    {
        say(&mut client, &json!({"type": "subscribe", "channel": channel, "ref": reference}));
        let expected = json!({"type": "subscribed", "channel": channel, "ref": reference});
        assert_eq!(client.json(), expected);
    }
    scene.redis.publish("chat:7", "1");
    scene.redis.publish("fixed", "2");
    assert_eq!(client.json(), message("chat:7", 1));
    assert_eq!(client.json(), message("fixed", 2));
    for reference in ["e", "f"] {
        say(&mut client, &json!({"type": "unsubscribe", "channel": "chat:7", "ref": reference}));
        let expected = json!({"type": "unsubscribed", "channel": "chat:7", "ref": reference});
        assert_eq!(client.json(), expected);
    }
    unsubscribe(&mut client, "chat:never");
    assert_eq!(client.json(), answer("unsubscribed", "chat:never"));
}

#[test]
fn a_gap_of_an_added_channel_is_told_when_it_is_back() {
    let mut scene = Scene::new();
    let mut client = scene.open();
    subscribe(&mut client, "chat:7");
    assert_eq!(client.json(), answer("subscribed", "chat:7"));
    scene.redis.kill();
    scene.gateway.wait_unready();
    subscribe(&mut client, "chat:8");
    assert_eq!(client.json(), refused("chat:8", "redis_unavailable"));
    scene.redis.begin();
    let mut told = [client.json(), client.json()].map(|gap| gap["channel"].clone());
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, [json!("chat:7"), json!("fixed")]);
    scene.redis.publish("chat:7", "1");
    assert_eq!(client.json(), message("chat:7", 1));
}

#[test]
fn what_a_newer_token_does_not_allow_ends_and_the_session_stays() {
    let scene = Scene::new();
    let mut client = scene.open();
    for channel in ["room:a", "room:b"] {
        subscribe(&mut client, channel);
        assert_eq!(client.json(), answer("subscribed", channel));
    }
    let claims = json!({"sub": "42", "rooms": ["b"], "exp": token::now() + 7200});
    say(&mut client, &json!({"type": "refresh", "token": token::signed(&claims)}));
    let expected = json!({"type": "unsubscribed", "channel": "room:a", "reason": "not_permitted"});
    assert_eq!(client.json(), expected);
    scene.redis.wait_numsub("room:a", 0);
    subscribe(&mut client, "room:a");
    assert_eq!(client.json(), refused("room:a", "channel_not_allowed"));
    scene.redis.publish("room:b", "1");
    assert_eq!(client.json(), message("room:b", 1));
}

#[test]
fn what_a_reload_does_not_allow_ends_and_the_session_stays() {
    let scene = Scene::new();
    let mut client = scene.open();
    for channel in ["room:a", "chat:7"] {
        subscribe(&mut client, channel);
        assert_eq!(client.json(), answer("subscribed", channel));
    }
    let less = endpoint().set("subscribe", vec!["room:{claim.rooms}", "more:{any}"]);
    assert!(scene.gateway.reload(&scene.settings.clone().endpoint(less)));
    let expected = json!({"type": "unsubscribed", "channel": "chat:7", "reason": "not_permitted"});
    assert_eq!(client.json(), expected);
    for (channel, expected) in [
        ("chat:7", refused("chat:7", "channel_not_allowed")),
        ("more:1", answer("subscribed", "more:1")),
        ("room:a", answer("subscribed", "room:a")),
    ] {
        subscribe(&mut client, channel);
        assert_eq!(client.json(), expected);
    }
}

#[test]
fn what_a_session_has_added_is_given_back_with_it() {
    let scene = Scene::new();
    let mut client = scene.open();
    subscribe(&mut client, "chat:7");
    assert_eq!(client.json(), answer("subscribed", "chat:7"));
    assert_eq!(scene.redis.numsub("chat:7"), 1);
    drop(client);
    scene.redis.wait_numsub("chat:7", 0);
    // Again and again with the subscribe under way.
    for number in 0..50 {
        let mut client = scene.open();
        subscribe(&mut client, &format!("chat:{number}"));
        client.reset();
    }
    for number in 0..50 {
        scene.redis.wait_numsub(&format!("chat:{number}"), 0);
    }
    scene.gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
}
