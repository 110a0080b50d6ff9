//! Messages from clients, with a real Redis: what others see of them, and what the sender is told.

mod raw;
mod refused;
mod streams;
mod trouble;

use crate::rig::{
    Client, Endpoint, Gateway, Redis, Settings, client::TEXT, metrics::Metrics, token,
};
use serde_json::{Value, json};
use toml::Table;

/// A `[endpoint.publish]` table with these lines.
fn table(lines: &str) -> Table {
    lines.parse().expect("TOML")
}

/// `/ws/rooms/{room}` ← `chat:{path.room}`, where clients publish as these lines say.
fn rooms(publish: &str) -> Endpoint {
    Endpoint::new("rooms", "/ws/rooms/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("publish", table(publish))
}

const CHAT: &str = "channel = \"chat:{path.room}\"";

struct Scene {
    redis: Redis,
    gateway: Gateway,
}

impl Scene {
    fn new(publish: &str) -> Self {
        Self::of(rooms(publish))
    }

    fn of(endpoint: Endpoint) -> Self {
        let redis = Redis::start();
        let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
        Self { redis, gateway }
    }

    /// A client of this user in this room that has had its `ready`.
    #[track_caller]
    fn join(&self, user: &str, room: &str) -> Client {
        self.join_with(&token::of(user), room)
    }

    #[track_caller]
    fn join_with(&self, token: &str, room: &str) -> Client {
        let mut client = self.gateway.open_with(token, &format!("/ws/rooms/{room}"));
        assert_eq!(client.json()["type"], "ready");
        client
    }

    fn metrics(&self) -> Metrics {
        self.gateway.metrics()
    }

    fn counted(&self, result: &str) -> f64 {
        let series = format!("sockway_publishes_total{{result=\"{result}\",source=\"client\"}}");
        self.metrics().get(&series)
    }
}

#[track_caller]
fn say(client: &mut Client, frame: &Value) {
    say_text(client, &frame.to_string());
}

#[track_caller]
fn say_text(client: &mut Client, frame: &str) {
    client.send(TEXT, frame.as_bytes());
}

/// The next frame, without what time makes of it.
#[track_caller]
fn told(client: &mut Client) -> Value {
    let mut frame = client.json();
    if let Some(data) = frame.get_mut("data").and_then(Value::as_object_mut) {
        data.remove("at");
    }
    frame
}

/// What members of a room get of what this user says there.
fn said(user: &str, room: &str, data: &Value) -> Value {
    let stamped = json!({"type": "message", "user": user, "room": room, "data": data});
    json!({"type": "message", "channel": format!("chat:{room}"), "data": stamped})
}

#[test]
fn everybody_in_a_room_gets_what_one_says_stamped_and_its_sender_too() {
    let scene = Scene::new(CHAT);
    let (mut ann, mut bob) = (scene.join("ann", "7"), scene.join("bob", "7"));
    let mut elsewhere = scene.join("eve", "8");
    say(&mut ann, &json!({"type": "publish", "data": {"user": "bob", "text": "hi"}, "ref": "a1"}));
    let expected = said("ann", "7", &json!({"user": "bob", "text": "hi"}));
    assert_eq!(told(&mut bob), expected);
    // Before or behind its own message.
    let both = [told(&mut ann), told(&mut ann)];
    let published = json!({"type": "published", "ref": "a1", "receivers": 1});
    assert!(both.contains(&expected) && both.contains(&published), "{both:?}");
    scene.redis.publish("chat:8", "\"only this\"");
    assert_eq!(told(&mut elsewhere)["data"], "only this");
    assert_eq!(scene.counted("published"), 1.0);
}

#[test]
fn what_was_sent_stays_as_it_was_written_and_the_time_is_the_gateways() {
    let scene = Scene::new(CHAT);
    let mut ann = scene.join("ann", "7");
    let before = token::now() * 1000;
    say_text(
        &mut ann,
        r#"{"type":"publish","data":{"b" : 1.50,"a":[1e5],"b":12345678901234567890}}"#,
    );
    let text = ann.text();
    assert!(text.contains(r#""data":{"b" : 1.50,"a":[1e5],"b":12345678901234567890}}"#), "{text}");
    let frame: Value = serde_json::from_str(&text).unwrap();
    let at = frame["data"]["at"].as_i64().unwrap();
    assert!((before - 1000..=before + 60_000).contains(&at), "{at}");
}

#[test]
fn a_stamp_has_the_claims_that_are_listed_and_follows_a_newer_token() {
    let scene = Scene::new(&format!("{CHAT}\nstamp_claims = [\"name\", \"absent\"]"));
    let exp = token::now() + 600;
    let token = |name: &str, exp: i64| {
        token::signed(&json!({"sub": "ann", "exp": exp, "name": name, "secret": 1}))
    };
    let mut ann = scene.join_with(&token("Ann", exp), "7");
    let publish = json!({"type": "publish", "data": 1});
    say(&mut ann, &publish);
    assert_eq!(told(&mut ann)["data"]["claims"], json!({"name": "Ann"}));
    let refresh = json!({"type": "refresh", "token": token("Anne", exp + 60)});
    say(&mut ann, &refresh);
    scene.gateway.wait_metric("sockway_refreshes_total{result=\"accepted\"}", 1.0);
    say(&mut ann, &publish);
    assert_eq!(told(&mut ann)["data"]["claims"], json!({"name": "Anne"}));
}

#[test]
fn many_rooms_over_one_socket_are_those_that_the_session_has() {
    let endpoint =
        Endpoint::new("rooms", "/ws/rooms/{room}", &["chat:{path.room}", "chat:lobby", "news"])
            .set("format", "json")
            .set("publish", table("channel = \"chat:{any}\"\nstamp = false"));
    let scene = Scene::of(endpoint);
    let mut ann = scene.join("ann", "7");
    for channel in ["chat:lobby", "chat:7"] {
        say(&mut ann, &json!({"type": "publish", "channel": channel, "data": [1]}));
        let expected = json!({"type": "message", "channel": channel, "data": [1]});
        assert_eq!(told(&mut ann), expected);
    }
    for channel in ["chat:8", "news", "chat:", "chat:*", "other", ""] {
        say(&mut ann, &json!({"type": "publish", "channel": channel, "data": 1, "ref": "r"}));
        let refused = json!({"type": "refused", "ref": "r", "code": "channel_not_allowed"});
        assert_eq!(told(&mut ann), refused, "{channel}");
    }
    say(&mut ann, &json!({"type": "publish", "data": 1, "ref": "r"}));
    assert_eq!(told(&mut ann)["code"], "frame_invalid");
}

#[test]
fn a_channel_that_the_session_has_added_is_one_that_it_publishes_to() {
    let endpoint = Endpoint::new("rooms", "/ws/rooms/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("subscribe", vec!["chat:{any}"])
        .set("publish", table("channel = \"chat:{any}\"\nstamp = false"));
    let scene = Scene::of(endpoint);
    let mut ann = scene.join("ann", "7");
    let publish = json!({"type": "publish", "channel": "chat:8", "data": 1, "ref": "r"});
    let refused = json!({"type": "refused", "ref": "r", "code": "channel_not_allowed"});
    say(&mut ann, &publish);
    assert_eq!(told(&mut ann), refused);
    say(&mut ann, &json!({"type": "subscribe", "channel": "chat:8"}));
    assert_eq!(told(&mut ann), json!({"type": "subscribed", "channel": "chat:8"}));
    say(&mut ann, &publish);
    let mut both = [told(&mut ann), told(&mut ann)].map(|it| it["type"].to_string());
    both.sort();
    assert_eq!(both, ["\"message\"", "\"published\""]);
    say(&mut ann, &json!({"type": "unsubscribe", "channel": "chat:8"}));
    assert_eq!(told(&mut ann), json!({"type": "unsubscribed", "channel": "chat:8"}));
    say(&mut ann, &publish);
    assert_eq!(told(&mut ann), refused);
}
