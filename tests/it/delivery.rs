//! From PUBLISH to the socket: which client gets which message, in which order, in which frames.

use crate::rig::{
    Endpoint, Frame, Gateway, Redis, Settings,
    settings::{notifications, rooms},
};
use serde_json::json;

fn start(endpoint: Endpoint) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    (redis, gateway)
}

#[test]
fn a_user_gets_the_own_channel_and_the_global_one_and_nothing_of_others() {
    let (redis, gateway) = start(notifications());
    let mut ann = gateway.open_as("ann", "/ws/me");
    let mut bob = gateway.open_as("bob", "/ws/me");
    assert_eq!(redis.publish("user:ann", "for ann"), 1);
    assert_eq!(redis.publish("user:bob", "for bob"), 1);
    assert_eq!(redis.publish("user:ann2", "for nobody here"), 0);
    redis.publish("global", "for all");
    for (client, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        let mut got = [client.text(), client.text()];
        got.sort();
        assert_eq!(got, ["for all".to_owned(), format!("for {name}")]);
        // A message delivered by mistake would come before this one.
        assert_eq!(client_sentinel(&redis, name), 1);
        assert_eq!(client.text(), "the end");
    }
}

fn client_sentinel(redis: &Redis, name: &str) -> i64 {
    redis.publish(&format!("user:{name}"), "the end")
}

#[test]
fn every_session_of_one_user_gets_each_message_once() {
    let (redis, gateway) = start(notifications());
    let mut tabs: Vec<_> = (0..5).map(|_| gateway.open_as("ann", "/ws/me")).collect();
    assert_eq!(redis.publish("user:ann", "one"), 1, "one subscription serves all tabs");
    redis.publish("user:ann", "two");
    for tab in &mut tabs {
        assert_eq!([tab.text(), tab.text()], ["one", "two"]);
    }
}

#[test]
fn payloads_arrive_byte_for_byte_as_text_when_utf8_and_else_as_binary() {
    let (redis, gateway) = start(rooms());
    let mut client = gateway.open("/ws/rooms/1");
    let mebibyte = "ä".repeat(512 * 1024);
    let all_bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let texts = ["", "x", "\0\r\n\u{feff}", "{\"a\": [1.50 , null]}", "🦀", &mebibyte];
    let binaries: [&[u8]; 4] = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", &all_bytes];
    for text in texts {
        redis.publish("room:1", text);
        assert!(client.frame() == Frame::Text(text.to_owned()), "{} bytes of text", text.len());
    }
    for bytes in binaries {
        redis.publish("room:1", bytes);
        assert!(client.frame() == Frame::Binary(bytes.to_vec()), "{} bytes", bytes.len());
    }
}

#[test]
fn lengths_around_every_boundary_of_the_frame_header_arrive_whole() {
    let (redis, gateway) = start(rooms());
    let mut client = gateway.open("/ws/rooms/1");
    for len in [124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537] {
        let payload = "a".repeat(len);
        redis.publish("room:1", &payload);
        assert!(client.text() == payload, "{len} bytes");
    }
}

#[test]
fn order_within_a_channel_is_the_order_of_redis_for_every_session() {
    const MESSAGES: usize = 5_000;
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let clients: Vec<_> = (0..4).map(|_| gateway.open("/ws/rooms/1")).collect();
    redis.publish_all("room:1", (0..MESSAGES).map(|number| number.to_string()));
    for mut client in clients {
        for number in 0..MESSAGES {
            assert_eq!(client.text(), number.to_string());
        }
    }
    gateway.wait_metric("sockway_deliveries_total{endpoint=\"rooms\"}", 4.0 * MESSAGES as f64);
}

#[test]
fn json_sessions_are_told_ready_first_and_then_get_each_message_in_its_envelope() {
    let (redis, gateway) = start(notifications().set("format", "json"));
    let mut client = gateway.open_as("ann", "/ws/me");
    let ready = client.json();
    assert_eq!(ready["type"], "ready");
    assert_eq!(ready["channels"], json!(["user:ann", "global"]));
    assert!(ready["session"].as_str().is_some_and(|id| !id.is_empty()), "{ready}");

    let cases: [(&[u8], &str, serde_json::Value); 6] = [
        (br#"{"a": [1.5, null]}"#, "data", json!({"a": [1.5, null]})),
        (b"42", "data", json!(42)),
        (b"plain text", "data", json!("plain text")),
        (b"{broken", "data", json!("{broken")),
        (b"", "data", json!("")),
        (b"\xff\x00", "data_base64", json!("/wA=")),
    ];
    for (payload, key, value) in cases {
        redis.publish("user:ann", payload);
        let expected = json!({"type": "message", "channel": "user:ann", key: value});
        assert_eq!(client.json(), expected);
    }
    redis.publish("global", "\"hello\"");
    assert_eq!(client.json(), json!({"type": "message", "channel": "global", "data": "hello"}));
}

#[test]
fn two_json_sessions_have_two_names() {
    let (_redis, gateway) = start(rooms().set("format", "json"));
    let [one, two] = [0, 1].map(|_| gateway.open("/ws/rooms/1").json()["session"].clone());
    assert_ne!(one, two);
}

#[test]
fn the_channel_prefix_is_prepended_at_redis_and_invisible_to_clients() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("redis.channel_prefix", "shop:")
        .endpoint(rooms().set("format", "json"));
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open("/ws/rooms/1");
    assert_eq!(client.json()["channels"], json!(["room:1"]));
    assert_eq!(redis.publish("room:1", "not this"), 0);
    assert_eq!(redis.publish("shop:room:1", "this"), 1);
    assert_eq!(client.json(), json!({"type": "message", "channel": "room:1", "data": "this"}));
}

#[test]
fn a_message_above_max_payload_is_a_gap_and_not_a_message() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("redis.max_payload", "1KiB");
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "x".repeat(1024));
    assert_eq!(client.text().len(), 1024);
    redis.publish("room:1", "x".repeat(1025));
    assert_eq!(client.text(), r#"{"type":"gap"}"#);
    redis.publish("room:1", "after");
    assert_eq!(client.text(), "after");
    gateway.wait_metric("sockway_gaps_total{reason=\"payload_too_large\"}", 1.0);
}

#[test]
fn redis_can_be_reached_over_its_unix_socket() {
    let redis = Redis::start();
    let url = format!("redis+unix://{}", redis.socket().display());
    let gateway = Gateway::start(&Settings::with_url(&url).endpoint(rooms()));
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "over the socket");
    assert_eq!(client.text(), "over the socket");
}

#[test]
fn the_counters_say_what_the_clients_saw() {
    let (redis, gateway) = start(rooms());
    let mut clients: Vec<_> = (0..3).map(|_| gateway.open("/ws/rooms/1")).collect();
    for number in 0..10 {
        redis.publish("room:1", format!("message {number}"));
    }
    for client in &mut clients {
        (0..10).for_each(|number| assert_eq!(client.text(), format!("message {number}")));
    }
    gateway.wait_metric("sockway_deliveries_total{endpoint=\"rooms\"}", 30.0);
    gateway.wait_metric("sockway_delivery_seconds_count", 30.0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), 3.0);
    assert_eq!(
        metrics.get("sockway_sessions_opened_total{endpoint=\"rooms\",transport=\"websocket\"}"),
        3.0
    );
    assert_eq!(metrics.sum("sockway_missed_messages_total"), 0.0);
    assert!(metrics.get("sockway_redis_messages_total") >= 10.0);
    assert!(metrics.get("sockway_redis_message_bytes_total") >= 90.0);
    let delivered = metrics.get("sockway_delivered_bytes_total{endpoint=\"rooms\"}");
    // The payloads, or the payloads with their two-byte frame headers.
    assert!([270.0, 330.0].contains(&delivered), "{delivered}");
    assert_eq!(metrics.get("sockway_channels{state=\"subscribed\"}"), 1.0);
    clients.pop().expect("three").bye();
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 2.0);
}
