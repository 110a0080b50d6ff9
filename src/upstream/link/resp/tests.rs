//! What is found in a server's bytes, in any pieces, and what is refused.

use super::*;
use crate::upstream::link::fuzz::{Outcome, Seen, outcome};
use proptest::{collection::vec, prelude::*};

const MAX_PAYLOAD: usize = 100;

/// Read whole and byte by byte, which must be the same.
fn read(bytes: &[u8]) -> Outcome {
    let (whole, _) = outcome(bytes, bytes.len(), MAX_PAYLOAD);
    let (single, _) = outcome(bytes, 1, MAX_PAYLOAD);
    assert_eq!(whole, single);
    whole
}

fn events(bytes: &str) -> Vec<Seen> {
    let Outcome { events, wrong } = read(bytes.as_bytes());
    assert!(!wrong, "{bytes:?}");
    events
}

fn message(channel: &str, pattern: Option<&str>, payload: &[u8]) -> Seen {
    let (channel, pattern) = (channel.to_owned(), pattern.map(str::to_owned));
    Seen::Message { channel, pattern, payload: payload.to_vec() }
}

fn text(text: &str) -> Value {
    Value::Text(text.as_bytes().to_vec())
}

fn reply(value: Value) -> Vec<Seen> {
    vec![Seen::Reply(value)]
}

#[test]
fn pushes_of_both_versions_are_found() {
    for kind in ['>', '*'] {
        let bytes = format!(
            "{kind}3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
             {kind}3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n\
             {kind}4\r\n$8\r\npmessage\r\n$2\r\n?*\r\n$2\r\nab\r\n$0\r\n\r\n\
             {kind}3\r\n$8\r\nsmessage\r\n$0\r\n\r\n$1\r\nx\r\n\
             {kind}3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n\
             {kind}3\r\n$12\r\nsunsubscribe\r\n$1\r\nb\r\n:0\r\n"
        );
        assert_eq!(
            events(&bytes),
            [
                Seen::Confirmed("a".to_owned()),
                message("a", None, b"\r\n"),
                message("ab", Some("?*"), b""),
                message("", None, b"x"),
                Seen::Released("a".to_owned()),
                Seen::Released("b".to_owned()),
            ]
        );
    }
}

#[test]
fn every_kind_of_answer_is_read() {
    for (bytes, value) in [
        ("+PONG\r\n", text("PONG")),
        ("$4\r\nPONG\r\n", text("PONG")),
        ("=8\r\ntxt:PONG\r\n", text("PONG")),
        ("(12345678901234567890123\r\n", text("12345678901234567890123")),
        ("-ERR no\r\n", Value::Error("ERR no".to_owned())),
        ("!6\r\nERR no\r\n", Value::Error("ERR no".to_owned())),
        (":-9223372036854775808\r\n", Value::Integer(i64::MIN)),
        (",-1.5e3\r\n", Value::Double(-1500.0)),
        (",inf\r\n", Value::Double(f64::INFINITY)),
        ("#t\r\n", Value::Bool(true)),
        ("#f\r\n", Value::Bool(false)),
        ("_\r\n", Value::Null),
        ("$-1\r\n", Value::Null),
        ("*-1\r\n", Value::Null),
        ("*0\r\n", Value::List(Vec::new())),
        ("*2\r\n$4\r\npong\r\n$0\r\n\r\n", Value::List(vec![text("pong"), text("")])),
        ("~1\r\n:1\r\n", Value::List(vec![Value::Integer(1)])),
        ("%1\r\n+a\r\n*1\r\n_\r\n", Value::Map(vec![(text("a"), Value::List(vec![Value::Null]))])),
        ("|1\r\n+ttl\r\n:3600\r\n:7\r\n", Value::Integer(7)),
        ("*1\r\n|1\r\n+ttl\r\n:3600\r\n:7\r\n", Value::List(vec![Value::Integer(7)])),
    ] {
        assert_eq!(events(bytes), reply(value), "{bytes:?}");
    }
    let master = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    let expected = vec![text("master"), Value::Integer(0), Value::List(Vec::new())];
    assert_eq!(events(master), reply(Value::List(expected)));
}

#[test]
fn pushes_that_mean_nothing_to_us_are_skipped_whatever_is_in_them() {
    for push in [
        ">0\r\n",
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n",
        ">2\r\n$10\r\ninvalidate\r\n_\r\n",
        ">1\r\n:1\r\n",
        // Of the kinds that we know, in forms that we do not.
        ">2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n",
        ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n",
        ">1\r\n%1\r\n~1\r\n#t\r\n|1\r\n+a\r\n,1.5\r\n(1\r\n",
    ] {
        let bytes = format!("{push}+PONG\r\n");
        assert_eq!(events(&bytes), reply(text("PONG")), "{push:?}");
    }
    let huge = format!(">2\r\n$4\r\nnews\r\n${}\r\n{}\r\n+PONG\r\n", 3 << 20, "x".repeat(3 << 20));
    let (read, capacity) = outcome(huge.as_bytes(), 1000, MAX_PAYLOAD);
    assert_eq!((read.events, read.wrong), (reply(text("PONG")), false));
    assert_eq!(capacity, 64 << 10);
}

#[test]
fn a_message_above_the_cap_is_skipped_and_told_without_being_buffered() {
    let bytes = 5 << 20;
    let big = "x".repeat(bytes);
    let stream = format!(
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n${bytes}\r\n{big}\r\n\
         >4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nb\r\n$101\r\n{}\r\n\
         >3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n",
        "y".repeat(101)
    );
    for piece in [7_777, stream.len()] {
        let (read, capacity) = outcome(stream.as_bytes(), piece, MAX_PAYLOAD);
        let oversized = |channel: &str, pattern: Option<&str>, bytes| {
            let (channel, pattern) = (channel.to_owned(), pattern.map(str::to_owned));
            Seen::Oversized { channel, pattern, bytes }
        };
        assert_eq!(
            read.events,
            [
                oversized("a", None, bytes as u64),
                oversized("b", Some("*"), 101),
                message("a", None, b"1")
            ]
        );
        assert_eq!(capacity, 64 << 10);
    }
}

#[test]
fn the_buffer_grows_to_a_large_message_and_shrinks_behind_it() {
    let payload = "x".repeat(1 << 20);
    let bytes = format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n${}\r\n{payload}\r\n+PONG\r\n", 1 << 20);
    let (read, capacity) = outcome(bytes.as_bytes(), 5_000, 8 << 20);
    assert_eq!(read.events.len(), 2);
    assert!(((1 << 20)..(1 << 20) + 100).contains(&capacity), "{capacity}");
    let mut buffer = crate::upstream::link::read_buffer::ReadBuffer::new(8 << 20);
    let mut rest = bytes.as_bytes();
    while !rest.is_empty() {
        let room = buffer.room();
        let filled = room.len().min(rest.len());
        room[..filled].copy_from_slice(&rest[..filled]);
        buffer.filled(filled);
        rest = &rest[filled..];
        while buffer.next().unwrap().is_some() {}
    }
    buffer.room();
    assert_eq!(buffer.capacity(), 64 << 10);
}

#[test]
fn nothing_is_allocated_for_what_a_server_only_announces() {
    let deep = "*1\r\n".repeat(10_000);
    let deep_push = format!(">2\r\n+x\r\n{}", "*1\r\n".repeat(10_000));
    let long_line = format!("+{}", "x".repeat(20_000));
    for bytes in [
        "*2147483647\r\n",
        ">2147483647\r\n",
        "%2147483647\r\n",
        "*1048576\r\n:1\r\n",
        "$9223372036854775807\r\n",
        "$600000000\r\nx",
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$9223372036854775807\r\n",
        "$-2\r\n",
        "*-2\r\n",
        "$99999999999999999999\r\n",
        &deep,
        &deep_push,
        &long_line,
    ] {
        let (read, capacity) = outcome(bytes.as_bytes(), 1_000, 8 << 20);
        assert_eq!(
            (read.wrong, read.events),
            (true, vec![]),
            "{:?}",
            &bytes[..bytes.len().min(50)]
        );
        assert_eq!(capacity, 64 << 10);
    }
}

#[test]
fn what_is_not_resp_is_an_error() {
    for bytes in [
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "+OK\n",
        ":1a\r\n",
        ":\r\n",
        "#x\r\n",
        ",x\r\n",
        "$1\r\nabc",
        "$?\r\n",
        ">x\r\n",
        ">1\r\n?\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nxyz",
    ] {
        let read = read(bytes.as_bytes());
        assert!(read.wrong && read.events.is_empty(), "{bytes:?}: {read:?}");
    }
}

#[test]
fn a_command_holds_any_bytes() {
    let mut out = Vec::new();
    encode(&mut out, 3, [&b"AUTH"[..], b"", b"a \t\"\r\n\0\xFF"].into_iter());
    assert_eq!(out, b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$8\r\na \t\"\r\n\0\xFF\r\n");
}

/// One event of a server, in bytes.
fn event() -> impl Strategy<Value = Vec<u8>> {
    let push = |kind: &str, parts: &[&[u8]]| {
        let mut bytes = Vec::new();
        encode(&mut bytes, parts.len(), parts.iter().copied());
        bytes.splice(..1, kind.bytes());
        bytes
    };
    let kind = prop_oneof![Just(">"), Just("*")];
    let name = "[a-z:*]{0,8}";
    let payload = vec(any::<u8>(), 0..2 * MAX_PAYLOAD);
    prop_oneof![
        4 => (kind, name, payload.clone())
            .prop_map(move |(kind, name, it)| push(kind, &[b"message", name.as_bytes(), &it])),
        1 => (name, name, payload.clone()).prop_map(move |(pattern, name, it)| {
            push(">", &[b"pmessage", pattern.as_bytes(), name.as_bytes(), &it])
        }),
        1 => (name).prop_map(|it| format!(
            ">3\r\n$9\r\nsubscribe\r\n${}\r\n{it}\r\n:1\r\n", it.len()
        ).into_bytes()),
        1 => payload.prop_map(move |it| push(">", &[b"invalidate", &it])),
        1 => Just(b"+PONG\r\n".to_vec()),
        1 => Just(b"-ERR no\r\n".to_vec()),
        1 => Just(b"*2\r\n*0\r\n%1\r\n+a\r\n:1\r\n".to_vec()),
        1 => Just(b"|1\r\n+ttl\r\n:1\r\n#t\r\n".to_vec()),
    ]
}

proptest! {
    #[test]
    fn any_pieces_of_a_stream_give_the_same_events(
        events in vec(event(), 0..20),
        pieces in vec(1..50_usize, 1..10),
    ) {
        let stream = events.concat();
        let (whole, _) = outcome(&stream, stream.len(), MAX_PAYLOAD);
        prop_assert!(!whole.wrong);
        for piece in pieces {
            prop_assert_eq!(&outcome(&stream, piece, MAX_PAYLOAD).0, &whole);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_the_same_in_any_pieces(
        bytes in vec(prop_oneof![3 => proptest::sample::select(b"$*>|%~+-:_1230\r\n".as_slice()), 1 => any::<u8>()], 0..200),
        piece in 1..20_usize,
    ) {
        let (whole, _) = outcome(&bytes, bytes.len(), MAX_PAYLOAD);
        let (pieces, _) = outcome(&bytes, piece, MAX_PAYLOAD);
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }
}
