//! `format = "binary"`: every message is a binary frame, and every notice a text frame.

use crate::rig::{
    Endpoint, Frame, Gateway, Redis, Settings,
    process::{Process, sockway},
    settings::rooms,
};

/// `rooms` with other frames, at a path of its own.
fn rooms_as(format: &str) -> Endpoint {
    let path = format!("/ws/{format}/{{room}}");
    Endpoint::new(format, &path, &["room:{path.room}"]).open().set("format", format)
}

fn binary(bytes: impl AsRef<[u8]>) -> Frame {
    Frame::Binary(bytes.as_ref().to_vec())
}

#[test]
fn every_payload_is_a_binary_frame_beside_sessions_that_get_it_otherwise() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms_as("binary")).endpoint(rooms_as("json"));
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    let mut clients = [gateway.open("/ws/binary/1"), gateway.open("/ws/binary/1")];
    let (mut json, mut raw) = (gateway.open("/ws/json/1"), gateway.open("/ws/rooms/1"));
    assert_eq!(json.json()["type"], "ready");
    let long = "ä".repeat(70_000);
    for payload in ["", "x", "{\"type\":\"gap\"}", "🦀", &long] {
        redis.publish("room:1", payload);
        for client in &mut clients {
            assert!(client.frame() == binary(payload), "{} bytes", payload.len());
        }
        assert!(raw.text() == payload);
        json.json();
    }
    redis.publish("room:1", b"\xff\x00");
    for client in clients.iter_mut().chain([&mut raw]) {
        assert_eq!(client.frame(), binary(b"\xff\x00"));
    }
}

#[test]
fn notices_of_gaps_and_heartbeats_are_text() {
    let mut redis = Redis::start();
    // Short, so that the test need not wait for the default of 25 s.
    let beating = rooms_as("binary").set("heartbeat", "1s").set("heartbeat_notice", "alive");
    let settings = Settings::new(&redis).set("redis.probe_interval", "500ms");
    let settings = settings.set("redis.probe_timeout", "400ms").endpoint(beating);
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open("/ws/binary/1");
    assert_eq!(client.text(), "alive");
    redis.kill();
    gateway.wait_unready();
    redis.begin();
    gateway.wait_ready();
    let told = std::iter::from_fn(|| Some(client.text())).find(|text| text != "alive");
    assert_eq!(told.as_deref(), Some(r#"{"type":"gap"}"#));
    redis.wait_numsub("room:1", 1);
    redis.publish("room:1", "after");
    let next = std::iter::from_fn(|| Some(client.frame()));
    let mut others = next.filter(|frame| *frame != Frame::Text("alive".to_owned()));
    assert_eq!(others.next(), Some(binary("after")));
}

#[test]
fn a_replay_is_binary_and_a_position_that_does_not_recover_is_told_as_text() {
    let redis = Redis::start();
    let endpoint = Endpoint::streams("kept", "/ws", &["chat"]).open().set("format", "binary");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let first = redis.add("chat", "one");
    redis.add("chat", "two");
    let mut client = gateway.open(&format!("/ws?since={first}"));
    assert_eq!(client.frame(), binary("two"));
    let mut lost = gateway.open("/ws?since=999999999999999-0&last=1");
    assert_eq!(lost.text(), r#"{"type":"gap"}"#);
    assert_eq!(lost.frame(), binary("two"));
    redis.add("chat", "three");
    for client in [&mut client, &mut lost] {
        assert_eq!(client.frame(), binary("three"));
    }
}

#[test]
fn listen_prints_binary_frames_like_others() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms_as("binary")));
    let mut command = sockway();
    command.args(["listen", &format!("ws://{}/ws/binary/1", gateway.address)]);
    let listen = Process::start(&mut command);
    listen.stderr.wait_for("it is connected", |line| (line == "connected").then_some(()));
    redis.publish("room:1", "hello");
    listen.stdout.wait_for("the message", |line| line.contains("hello").then_some(()));
}
