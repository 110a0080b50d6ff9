//! Raw endpoints: any message is the message, and nothing is told.

use super::{Scene, table};
use crate::rig::{
    Client, Endpoint, Gateway, Redis, Settings,
    client::{BINARY, Frame, TEXT},
};
use serde_json::{Value, json};

fn raw(publish: &str) -> Endpoint {
    Endpoint::new("rooms", "/ws/rooms/{room}", &["chat:{path.room}"]).set("publish", table(publish))
}

fn scene(publish: &str) -> (Scene, Client) {
    let scene = Scene::of(raw(publish));
    let client = scene.gateway.open_as("ann", "/ws/rooms/7");
    (scene, client)
}

const PLAIN: &str = "channel = \"chat:{path.room}\"\nstamp = false";

#[test]
fn without_a_stamp_it_is_an_echo_for_everybody_byte_by_byte() {
    let (scene, mut ann) = scene(PLAIN);
    let mut bob = scene.gateway.open_as("bob", "/ws/rooms/7");
    for (first, payload) in [(TEXT, &b"h\xc3\xaf {"[..]), (BINARY, b"\xff\x00"), (TEXT, b"")] {
        ann.send(first, payload);
        for client in [&mut ann, &mut bob] {
            let expected = match std::str::from_utf8(payload) {
                Ok(text) => Frame::Text(text.to_owned()),
                Err(_) => Frame::Binary(payload.to_vec()),
            };
            assert_eq!(client.event(), expected);
        }
    }
}

#[test]
fn with_a_stamp_text_is_a_string_and_other_bytes_are_base64() {
    let (_scene, mut ann) = scene("channel = \"chat:{path.room}\"");
    let mut stamped = |first, payload: &[u8]| -> Value {
        ann.send(first, payload);
        serde_json::from_str(&ann.text()).unwrap()
    };
    let text = stamped(TEXT, b"{\"a\":1}");
    assert_eq!((&text["user"], &text["room"]), (&json!("ann"), &json!("7")));
    assert_eq!(text["data"], json!("{\"a\":1}"));
    assert_eq!(stamped(BINARY, b"\xff\x00")["data_base64"], json!("/wA="));
}

#[test]
fn what_is_refused_is_counted_and_nobody_is_told() {
    let (scene, mut ann) = scene(&format!("{PLAIN}\ndata = \"json\""));
    ann.send(TEXT, b"{");
    ann.send(BINARY, b"\xff");
    ann.send(TEXT, b" [1]");
    assert_eq!(ann.text(), " [1]");
    assert_eq!(scene.counted("data_invalid"), 2.0);
}

#[test]
fn a_message_where_nothing_is_published_is_counted_and_ignored_or_closes() {
    let redis = Redis::start();
    let endpoint = |name: &str, inbound: &str| {
        Endpoint::new(name, &format!("/ws/{name}"), &["a"]).set("inbound", inbound)
    };
    let settings = Settings::new(&redis);
    let settings =
        settings.endpoint(endpoint("quiet", "ignore")).endpoint(endpoint("strict", "close"));
    let gateway = Gateway::start(&settings);
    let mut quiet = gateway.open_as("ann", "/ws/quiet");
    quiet.send(TEXT, b"hello");
    quiet.send(TEXT, b"hello");
    gateway.wait_metric("sockway_client_messages_ignored_total{endpoint=\"quiet\"}", 2.0);
    redis.publish("a", "still here");
    assert_eq!(quiet.text(), "still here");
    let mut strict = gateway.open_as("ann", "/ws/strict");
    strict.send(TEXT, b"hello");
    strict.assert_closed(1003, "unexpected_message");
    gateway.wait_metric("sockway_client_messages_ignored_total{endpoint=\"strict\"}", 1.0);
}
