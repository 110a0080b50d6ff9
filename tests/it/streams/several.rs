//! Sessions with more than one stream, with channels beside them, and the bounds of their replays.

use super::{Guest, Scene, rooms};
use crate::rig::{Client, Endpoint, Frame, Gateway, Redis, Request, Settings, wait::until};
use serde_json::{Value, json};

fn start(redis: &Redis, endpoint: Endpoint) -> Gateway {
    Gateway::start(&Settings::new(redis).endpoint(endpoint.open().set("format", "json")))
}

#[test]
fn the_bytes_of_a_replay_are_shared_in_the_order_of_ready() {
    let redis = Redis::start();
    let endpoint = Endpoint::streams("three", "/ws", &["a", "b", "c"]).set("replay_bytes", "2500B");
    let gateway = start(&redis, endpoint);
    let payload = |name: &str| json!(name.repeat(998)).to_string();
    for name in ["a", "b", "c"] {
        redis.add(name, &payload(name));
    }
    redis.add("b", &payload("b"));
    // a takes 1,000 bytes, b would take 2,000 of 1,500, and c 1,000 of what b did not take.
    let mut client = gateway.open("/ws?since=a@0-0,b@0-0,c@0-0");
    let ready = client.json();
    let streams = ready["streams"].as_object().expect("streams");
    assert_eq!(streams.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    for (name, recovered) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(streams[name]["recovered"], json!(recovered), "{name} of {ready}");
    }
    assert_eq!(streams["b"]["reason"], json!("too_many"));
    assert_eq!((&client.json()["channel"], &client.json()["channel"]), (&json!("a"), &json!("c")));
    let live = redis.add("b", "1");
    let frame = client.json();
    assert_eq!((&frame["channel"], &frame["id"]), (&json!("b"), &json!(live)));
}

#[test]
fn positions_are_of_one_stream_each_and_those_of_others_are_ignored() {
    let redis = Redis::start();
    let gateway = start(&redis, Endpoint::streams("two", "/ws", &["a", "b,c"]));
    let first = redis.add("a", "1");
    let second = redis.add("b,c", "2");
    let third = redis.add("b,c", "3");
    let mut client = gateway.open(&format!("/ws?since=b%252Cc@{second},gone@1-0"));
    let ready = client.json();
    assert_eq!(ready["streams"]["a"], json!({"id": first}));
    let expected = json!({"id": second, "recovered": true, "replayed": 1});
    assert_eq!(ready["streams"]["b,c"], expected);
    assert_eq!(client.json()["id"], json!(third));
    for since in ["1-0", "a@1-0,a@2-0", "a@1-0,2-0", "a@1"] {
        let request = Request::upgrade(&format!("/ws?since={since}"));
        gateway.send(&request).assert_refused(400, "since_invalid");
    }
}

#[test]
fn channels_and_streams_come_beside_one_another() {
    let redis = Redis::start();
    let endpoint = Endpoint::streams("both", "/ws", &["kept"]).set("channels", vec!["news"]);
    let gateway = start(&redis, endpoint);
    let first = redis.add("kept", "1");
    let mut client = gateway.open("/ws?last=1");
    let ready = client.json();
    assert_eq!(ready["channels"], json!(["news"]));
    assert_eq!(ready["streams"]["kept"], json!({"id": "0-0", "replayed": 1}));
    let frame = client.json();
    assert_eq!((&frame["channel"], &frame["id"]), (&json!("kept"), &json!(first)));
    redis.publish("news", "2");
    let frame = client.json();
    assert_eq!(
        (&frame["channel"], &frame["data"], &frame["id"]),
        (&json!("news"), &json!(2), &Value::Null)
    );
    let second = redis.add("kept", "3");
    assert_eq!(client.json()["id"], json!(second));
    // Neither a stream of that name nor a channel of this one is any of it.
    redis.add("news", "no");
    assert_eq!(redis.publish("kept", "no"), 0);
    redis.publish("news", "4");
    assert_eq!(client.json()["data"], json!(4));
}

#[test]
fn an_entry_that_is_too_large_is_told_in_its_place_and_the_others_come() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("redis.max_payload", "1KiB");
    let gateway = Gateway::start(&settings.endpoint(rooms().set("format", "json")));
    let large = "x".repeat(1_025);
    let scene = Scene { redis, gateway };
    let mut live = scene.open("");
    scene.add("1");
    let skipped = scene.add(&large);
    scene.add("2");
    let mut replayed = scene.open("?since=0-0");
    assert_eq!(replayed.ready["recovered"], json!(true));
    for guest in [&mut live, &mut replayed] {
        assert_eq!(guest.entry(), json!(1));
        let gap = guest.next();
        let told = (&gap["type"], &gap["reason"], &gap["missed"], &gap["id"]);
        let missed = json!(1);
        assert_eq!(told, (&json!("gap"), &json!("payload_too_large"), &missed, &json!(skipped)));
        assert_eq!(guest.entry(), json!(2));
    }
    let mut back = scene.open(&format!("?since={skipped}"));
    assert_eq!(back.ready["replayed"], json!(1));
    assert_eq!(back.entry(), json!(2));
}

#[test]
fn while_replays_hold_their_half_of_the_memory_another_waits_and_then_is_at_capacity() {
    const ENTRIES: usize = 400;
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.shards", 1)
        .set("server.handshake_timeout", "4s")
        // Half of it is room for one replay, not for two.
        .set("server.max_queue_memory", "12MiB");
    let rooms = rooms().set("replay_bytes", "2MiB").set("write_timeout", "60s");
    let gateway = Gateway::start(&settings.endpoint(rooms.set("format", "json")));
    let scene = Scene { redis, gateway };
    for _ in 0..ENTRIES {
        scene.add(&json!("x".repeat(4_000)).to_string());
    }
    let request = Request::upgrade("/ws/rooms/7?since=0-0");
    let mut slow = Guest::over(Client::open_narrow(scene.gateway.address, &request));
    assert_eq!(slow.ready["recovered"], json!(true));
    scene.gateway.send(&request).assert_refused(503, "at_capacity");
    let mut new = scene.open("");
    scene.add("\"live\"");
    assert_eq!(new.entry(), json!("live"), "who asks for nothing does not wait");
    for _ in 0..ENTRIES {
        assert!(matches!(slow.client.event(), Frame::Text(_)));
    }
    until("the memory is free again", || Client::try_open(scene.gateway.address, &request).is_ok());
}
