//! Frames that no correct client sends: each gets its exact close code, and the process goes on.

use crate::rig::{
    Client, Frame, Gateway, Redis, Settings,
    client::{BINARY, CLOSE, PING, TEXT, encode, head},
    settings::rooms,
};
use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

const CONTINUATION: u8 = 0x80;
/// Clears the FIN bit.
const MORE: u8 = 0x7F;

fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway =
        Gateway::start(&Settings::new(&redis).endpoint(rooms().set("max_message", "1KiB")));
    (redis, gateway)
}

/// Sends the bytes on a new session, which must then be closed with this code and reason, and
/// nothing else.
#[track_caller]
fn assert_closes(gateway: &Gateway, what: &str, bytes: &[u8], code: u16, reason: &str) {
    let mut client = gateway.open("/ws/rooms/1");
    client.send_bytes(bytes);
    let frame = client.event();
    assert_eq!(frame, Frame::Close(code, reason.to_owned()), "{what}");
    client.try_send(CLOSE, &code.to_be_bytes());
    client.stop_writing();
    assert_eq!(client.frame(), Frame::End, "{what}");
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, 0, payload.len() as u64).as_slice(), payload].concat()
}

#[test]
fn frames_against_the_protocol_are_closed_with_1002() {
    let (_redis, gateway) = start();
    let close = |code: u16| encode(CLOSE, &code.to_be_bytes());
    for (what, bytes) in [
        ("unmasked", unmasked(TEXT, b"hi")),
        ("reserved bit 1", encode(TEXT | 0x40, b"hi")),
        ("reserved bit 2", encode(TEXT | 0x20, b"hi")),
        ("reserved bit 3", encode(TEXT | 0x10, b"hi")),
        ("opcode 3", encode(0x83, b"hi")),
        ("opcode 7", encode(0x87, b"hi")),
        ("opcode 11", encode(0x8B, b"hi")),
        ("opcode 15", encode(0x8F, b"hi")),
        ("a ping of 126 bytes", encode(PING, &[0; 126])),
        ("a close of 126 bytes", encode(CLOSE, &[0x03; 126])),
        ("a ping in fragments", encode(PING & MORE, b"hi")),
        ("a continuation of nothing", encode(CONTINUATION, b"hi")),
        ("a text within a text", [encode(TEXT & MORE, b"a"), encode(TEXT, b"b")].concat()),
        ("a close of one byte", encode(CLOSE, &[3])),
        ("close 999", close(999)),
        ("close 1004", close(1004)),
        ("close 1005", close(1005)),
        ("close 1006", close(1006)),
        ("close 1015", close(1015)),
        ("close 2999", close(2999)),
        ("close 5000", close(5000)),
    ] {
        assert_closes(&gateway, what, &bytes, 1002, "protocol_error");
    }
    let series = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"protocol_error\"}";
    gateway.wait_metric(series, 21.0);
}

#[test]
fn a_gateway_that_failed_a_connection_ends_it_and_does_not_wait_for_the_client() {
    let (_redis, gateway) = start();
    let mut client = gateway.open("/ws/rooms/1");
    client.send_bytes(&unmasked(TEXT, b"hi"));
    assert_eq!(client.frame(), Frame::Close(1002, "protocol_error".to_owned()));
    let start = Instant::now();
    assert_eq!(client.frame(), Frame::End);
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
}

#[test]
fn texts_that_are_not_utf8_are_closed_with_1007() {
    let (_redis, gateway) = start();
    for (what, bytes) in [
        ("a text", encode(TEXT, b"\xFF")),
        ("a surrogate", encode(TEXT, b"\xED\xA0\x80")),
        ("an overlong form", encode(TEXT, b"\xC0\xAF")),
        (
            "a text in fragments",
            [encode(TEXT & MORE, b"\xC3"), encode(CONTINUATION, b"\x28")].concat(),
        ),
        ("a close reason", encode(CLOSE, b"\x03\xE8\xFF")),
    ] {
        assert_closes(&gateway, what, &bytes, 1007, "invalid_utf8");
    }
}

#[test]
fn messages_above_max_message_are_closed_with_1009_before_they_are_there() {
    let (_redis, gateway) = start();
    let announced = |len: u64| [head(BINARY, 0x80, len), vec![0; 4]].concat();
    let half = || encode(TEXT & MORE, &[b'a'; 600]);
    for (what, bytes) in [
        ("a byte too many", encode(TEXT, &[b'a'; 1025])),
        ("1 GiB announced", announced(1 << 30)),
        ("2^62 announced", announced(1 << 62)),
        ("two fragments", [half(), encode(CONTINUATION, &[b'a'; 600])].concat()),
    ] {
        let before = gateway.vitals().memory_bytes;
        assert_closes(&gateway, what, &bytes, 1009, "message_too_big");
        let grown = gateway.vitals().memory_bytes.saturating_sub(before);
        assert!(grown <= 1 << 20, "{what} took {grown} bytes");
    }
}

#[test]
fn fragments_and_control_frames_between_them_are_fine() {
    let (redis, gateway) = start();
    let mut client = gateway.open("/ws/rooms/1");
    client.send(TEXT & MORE, "gr\u{fc}".as_bytes());
    client.send(PING, b"between");
    assert_eq!(client.frame(), Frame::Pong(b"between".to_vec()));
    client.send(CONTINUATION, "\u{df}".as_bytes());
    client.send(TEXT, &[b'a'; 1024]);
    redis.publish("room:1", "unmoved");
    assert_eq!(client.text(), "unmoved");
}

#[test]
fn frames_that_come_byte_by_byte_are_put_together() {
    let (_redis, gateway) = start();
    let mut client = gateway.open("/ws/rooms/1");
    for byte in encode(PING, b"slowly") {
        client.send_bytes(&[byte]);
    }
    assert_eq!(client.frame(), Frame::Pong(b"slowly".to_vec()));
}

#[test]
fn a_message_in_more_than_a_thousand_fragments_is_closed_with_1008() {
    let (_redis, gateway) = start();
    let mut bytes = encode(TEXT & MORE, b"");
    (0..1_025).for_each(|_| bytes.extend(encode(CONTINUATION & MORE, b"")));
    assert_closes(&gateway, "1,026 fragments", &bytes, 1008, "rate_limited");
}

#[test]
fn a_ping_flood_is_closed_with_1008_and_the_neighbour_is_not_disturbed() {
    let (redis, gateway) = start();
    let mut neighbour = gateway.open("/ws/rooms/1");
    let mut client = gateway.open("/ws/rooms/2");
    let mut writer = client.writer();
    let flood = thread::spawn(move || {
        let pings: Vec<u8> = (0..100).flat_map(|_| encode(PING, b"flood")).collect();
        // Ends when the gateway has closed: about as many as a client can send in seconds.
        (0..5_000).take_while(|_| writer.write_all(&pings).is_ok()).count()
    });
    let close = flooded(&mut client);
    assert_eq!(close, Frame::Close(1008, "rate_limited".to_owned()));
    redis.publish("room:1", "unmoved");
    assert_eq!(neighbour.text(), "unmoved");
    drop(client);
    flood.join().expect("the writer does not panic");
}

#[track_caller]
fn flooded(client: &mut Client) -> Frame {
    loop {
        match client.frame() {
            Frame::Pong(_) => {}
            other => return other,
        }
    }
}
