//! Every answer of the handshake table that does not depend on tokens.

use crate::rig::{
    Client, Endpoint, Gateway, Redis, Request, Settings,
    http::{self, Response},
    settings::{notifications, rooms},
    token,
};
use std::{io::Write, net::TcpStream};

fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

#[test]
fn unknown_paths_wrong_methods_and_plain_gets_have_their_own_answers() {
    let (_redis, gateway) = start();
    for path in ["/", "/ws", "/ws/rooms", "/ws/rooms/", "/ws/rooms/1/2", "/WS/rooms/1", "/metrics"]
    {
        gateway.send(&Request::upgrade(path)).assert_refused(404, "not_found");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = Request::line(&format!("{method} /ws/rooms/1 HTTP/1.1")).with_upgrade();
        let answer = gateway.send(&request);
        answer.assert_refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET"));
    }
    let answer = gateway.send(&Request::get("/ws/rooms/1"));
    answer.assert_refused(426, "upgrade_required");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
}

#[test]
fn what_is_not_a_correct_handshake_is_400() {
    let (_redis, gateway) = start();
    let good = Request::upgrade("/ws/rooms/1");
    for bad in [
        good.clone().without("Sec-WebSocket-Key"),
        good.clone().replace("Sec-WebSocket-Key", "short"),
        good.clone().replace("Sec-WebSocket-Key", &"A".repeat(24)),
        good.clone().without("Sec-WebSocket-Version"),
        good.clone().replace("Sec-WebSocket-Version", "8"),
        good.clone().replace("Connection", "keep-alive"),
        good.clone().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        gateway.send(&bad).assert_refused(400, "bad_handshake");
    }
}

#[test]
fn what_is_not_http_1_1_is_answered_400_or_hung_up_on_and_never_more() {
    let (_redis, gateway) = start();
    let http_1_0 = String::from_utf8(Request::upgrade("/ws/rooms/1").encode())
        .expect("ASCII")
        .replace("HTTP/1.1", "HTTP/1.0");
    let attempts: [&[u8]; 6] = [
        http_1_0.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /ws/rooms/1 HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"GET /ws/rooms/1\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\n\r\n\0\0\0\0\r\n\r\n",
    ];
    for bytes in attempts {
        let mut stream = http::connect(gateway.address);
        stream.write_all(bytes).expect("taken");
        match Response::read(&mut stream) {
            Ok(answer) => answer.assert_refused(400, "bad_handshake"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{bytes:?}"),
        }
    }
    gateway.open("/ws/rooms/1");
}

#[test]
fn capitals_lists_and_early_frames_are_correct_handshakes_too() {
    let (redis, gateway) = start();
    let request = Request::upgrade("/ws/rooms/1")
        .replace("Upgrade", "WebSocket")
        .replace("Connection", "keep-alive, Upgrade")
        .header("Sec-WebSocket-Extensions", "permessage-deflate");
    let mut client = Client::open(gateway.address, &request);
    redis.publish("room:1", "hello");
    assert_eq!(client.text(), "hello");
}

#[test]
fn frames_sent_right_behind_the_request_are_not_lost() {
    let (_redis, gateway) = start();
    let mut bytes = Request::upgrade("/ws/rooms/1").encode();
    bytes.extend(crate::rig::client::encode(crate::rig::client::PING, b"early"));
    let answer = http::exchange(http::connect(gateway.address), &bytes);
    assert_eq!(answer.status, 101);
}

#[test]
fn a_request_that_is_never_complete_is_cut_with_408() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("server.handshake_timeout", "300ms").endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let mut stream = http::connect(gateway.address);
    stream.write_all(b"GET /ws/rooms/1 HTTP/1.1\r\nHost: ").expect("taken");
    let answer = Response::read(&mut stream).expect("an answer");
    answer.assert_refused(408, "request_timeout");
    ended(stream);
    // A client that sends nothing is disconnected or answered the same, never kept.
    let mut silent = http::connect(gateway.address);
    if let Ok(answer) = Response::read(&mut silent) {
        answer.assert_refused(408, "request_timeout");
    }
    ended(silent);
}

#[track_caller]
fn ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let end = std::io::Read::read_to_end(&mut stream, &mut rest);
    assert!(!matches!(end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
}

#[test]
fn request_lines_and_headers_above_8_kib_are_414_and_431() {
    let (_redis, gateway) = start();
    let long = Request::upgrade(&format!("/ws/rooms/1?x={}", "y".repeat(9 * 1024)));
    gateway.send(&long).assert_refused(414, "uri_too_long");
    let large = Request::upgrade("/ws/rooms/1").header("X-Large", &"y".repeat(9 * 1024));
    gateway.send(&large).assert_refused(431, "headers_too_large");
    let mut many = Request::upgrade("/ws/rooms/1");
    for number in 0..200 {
        many = many.header(&format!("X-{number}"), "y");
    }
    gateway.send(&many).assert_refused(431, "headers_too_large");
    let fits = Request::upgrade(&format!("/ws/rooms/1?x={}", "y".repeat(7 * 1024)));
    Client::open(gateway.address, &fits.header("X-Fits", &"y".repeat(6 * 1024)));
}

#[test]
fn twenty_megabytes_of_header_cost_an_answer_and_no_memory() {
    let (_redis, gateway) = start();
    let mut stream = http::connect(gateway.address);
    let mut bytes = Request::upgrade("/ws/rooms/1").encode();
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b"X-Huge: ");
    let _ = stream.write_all(&bytes);
    for _ in 0..20 {
        if stream.write_all(&vec![b'y'; 1024 * 1024]).is_err() {
            break;
        }
    }
    let _ =
        Response::read(&mut stream).map(|answer| answer.assert_refused(431, "headers_too_large"));
    gateway.open("/ws/rooms/1");
}

#[test]
fn refusals_are_counted_by_their_code() {
    let (_redis, gateway) = start();
    gateway.send(&Request::upgrade("/nowhere"));
    gateway.send(&Request::upgrade("/ws/me"));
    gateway.send(&Request::upgrade("/ws/me"));
    for (code, expected) in [("not_found", 1.0), ("token_missing", 2.0), ("token_invalid", 0.0)] {
        let series = format!("sockway_handshakes_refused_total{{reason=\"{code}\"}}");
        gateway.wait_metric(&series, expected);
    }
}

#[test]
fn a_refused_connection_can_be_used_for_another_try() {
    let (_redis, gateway) = start();
    let mut stream = http::connect(gateway.address);
    stream.write_all(&Request::upgrade("/ws/me").encode()).expect("taken");
    Response::read(&mut stream).expect("an answer").assert_refused(401, "token_missing");
    let good = Request::upgrade("/ws/me").bearer(&token::of("ann"));
    if stream.write_all(&good.encode()).is_ok() {
        // A server may close after a refusal; if it does not, the second request counts.
        let _ = Response::read(&mut stream).map(|answer| assert_eq!(answer.status, 101));
    }
}

#[test]
fn one_value_of_a_list_gives_one_channel_each_and_more_than_32_are_refused() {
    let redis = Redis::start();
    let endpoint = Endpoint::new("events", "/ws/events", &["events:{query.types}"]).open();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let mut client = gateway.open("/ws/events?types=order.created,order.shipped");
    redis.publish("events:order.created", "created");
    redis.publish("events:order.shipped", "shipped");
    assert_eq!([client.text(), client.text()], ["created", "shipped"]);

    let list = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",");
    gateway.open(&format!("/ws/events?types={}", list(32)));
    let too_many = Request::upgrade(&format!("/ws/events?types={}", list(33)));
    gateway.send(&too_many).assert_refused(403, "too_many_values");
    for query in ["", "?types=", "?types=a,,b", "?other=a"] {
        let answer = gateway.send(&Request::upgrade(&format!("/ws/events{query}")));
        answer.assert_refused(403, "value_not_allowed");
    }
}
