//! What is refused, with the status and the code of each, and what then becomes of the connection.

use super::{Caller, TOKEN, post, publish, settings, start};
use crate::rig::{Endpoint, Gateway, Redis, Request};
use std::{io::Write as _, thread};

/// A request line with [`TOKEN`] and nothing that says how long the body is.
fn without_length(line: &str) -> Request {
    Request::line(line).bearer(TOKEN)
}

#[test]
fn nobody_publishes_without_one_of_the_tokens_and_none_of_a_client_is_one() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).static_token("a client's", "42"));
    let plain = || post("/publish/room:1", b"x").without("Authorization");
    let ask = |request: &Request| Caller::to(gateway.address).ask(request, b"x");
    ask(&plain()).assert_refused(401, "token_missing");
    ask(&plain().header("Authorization", "Basic eDp5")).assert_refused(401, "token_missing");
    for wrong in ["a client's", "", &crate::rig::token::of("42"), &crate::rig::token::sha256(TOKEN)]
    {
        ask(&plain().bearer(wrong)).assert_refused(401, "token_invalid");
    }
    ask(&plain().bearer(TOKEN).bearer("other")).assert_refused(401, "token_invalid");
    let by_query = format!("POST /publish/room:1?token={} HTTP/1.1", TOKEN.replace(' ', "%20"));
    let by_query = Request::line(&by_query).header("Content-Length", "1");
    ask(&by_query).assert_refused(401, "token_missing");
    let metrics = gateway.metrics();
    let series = "sockway_publishes_total{source=\"http\",result=\"not_permitted\"}";
    assert_eq!(metrics.get(series), 8.0);
}

#[test]
fn the_token_is_looked_at_before_a_byte_of_the_body_is_asked_for() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let expecting = |token: &str| {
        let request = post("/publish/room:1", b"hello").header("Expect", "100-continue");
        request.without("Authorization").bearer(token).encode()
    };
    let mut stranger = Caller::to(gateway.address);
    stranger.send(&expecting("wrong"));
    let answer = stranger.answer();
    answer.assert_refused(401, "token_invalid");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stranger.until_closed(), b"");

    let mut caller = Caller::to(gateway.address);
    caller.send(&expecting(TOKEN));
    assert_eq!(caller.answer().status, 100);
    caller.send(b"hello");
    assert_eq!(caller.answer().status, 200);
}

#[test]
fn each_fault_of_a_request_has_its_status_and_code() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).set("http_publish.max_body", "1KiB"));
    let ask = |request: &Request, body: &[u8]| Caller::to(gateway.address).ask(request, body);
    let chunked = |line| without_length(line).header("Transfer-Encoding", "chunked");
    publish(&gateway, "/publish", "{").assert_refused(400, "body_invalid");
    publish(&gateway, "/publish", r#"{"batch":[]}"#).assert_refused(400, "body_invalid");
    publish(&gateway, "/publish/", "x").assert_refused(400, "channel_invalid");
    publish(&gateway, "/publish/room:%ff", "x").assert_refused(400, "channel_invalid");
    publish(&gateway, "/publish/room:%0a", "x").assert_refused(400, "channel_invalid");
    let longest = format!("/publish/room:{}", "a".repeat(1_020));
    publish(&gateway, &longest, "x").assert_refused(400, "channel_invalid");
    publish(&gateway, "/publish/orders", "x").assert_refused(403, "channel_not_allowed");
    publish(&gateway, "/publish/a/b", "x").assert_refused(404, "not_found");
    publish(&gateway, "/publish/room:1", [b'x'; 1_025]).assert_refused(413, "body_too_large");
    let large = [&b"401\r\n"[..], &[b'x'; 1_025], b"\r\n0\r\n\r\n"].concat();
    let line = "POST /publish/room:1 HTTP/1.1";
    ask(&chunked(line), &large).assert_refused(413, "body_too_large");
    ask(&without_length(line), b"").assert_refused(411, "length_required");
    let coded = post("/publish/room:1", b"x").header("Content-Encoding", "gzip");
    ask(&coded, b"x").assert_refused(415, "encoding_not_supported");
    let coded = without_length(line).header("Transfer-Encoding", "gzip, chunked");
    ask(&coded, b"0\r\n\r\n").assert_refused(415, "encoding_not_supported");
    for method in ["GET", "PUT", "OPTIONS"] {
        let answer = ask(&without_length(&format!("{method} /publish/room:1 HTTP/1.1")), b"");
        answer.assert_refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
    }
    ask(&chunked(line), b"zz\r\nx\r\n0\r\n\r\n").assert_refused(400, "body_invalid");
    assert_eq!(publish(&gateway, "/publish/room:1", [b'x'; 1_024]).status, 200);
}

#[test]
fn a_body_whose_end_is_said_twice_is_refused_on_every_request_of_a_connection() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let twice = |headers: [(&str, &str); 2]| {
        let [one, other] = headers;
        let request = without_length("POST /publish/room:1 HTTP/1.1");
        request.header(one.0, one.1).header(other.0, other.1)
    };
    let (length, chunked) = (("Content-Length", "5"), ("Transfer-Encoding", "chunked"));
    for headers in [
        [length, length],
        [length, ("Content-Length", "6")],
        [length, chunked],
        [chunked, length],
        [chunked, chunked],
    ] {
        for before in 0..2 {
            let mut caller = Caller::to(gateway.address);
            for _ in 0..before {
                assert_eq!(caller.post("/publish/room:1", "first").status, 200);
            }
            let answer =
                caller.ask(&twice(headers), b"0\r\n\r\nPOST /publish/room:1 HTTP/1.1\r\n\r\n");
            assert_eq!(answer.status, 400, "{headers:?} {before}");
            answer.assert_refused(400, "bad_handshake");
            assert_eq!(caller.until_closed(), b"", "{headers:?}");
        }
    }
    let old = Request::line("POST /publish/room:1 HTTP/1.0").bearer(TOKEN);
    let answer = Caller::to(gateway.address).ask(&old.header(chunked.0, chunked.1), b"0\r\n\r\n");
    answer.assert_refused(400, "bad_handshake");
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_one_that_is_cut_off_publishes_nothing() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).set("server.handshake_timeout", "500ms"));
    let mut client = gateway.open("/ws/rooms/1");
    let mut caller = Caller::to(gateway.address);
    caller.send(&post("/publish/room:1", b"hello").encode());
    caller.send(b"hel");
    caller.answer().assert_refused(408, "request_timeout");
    let mut cut = Caller::to(gateway.address);
    cut.send(&post("/publish/room:1", b"hello").encode());
    cut.send(b"hell");
    drop(cut);
    assert_eq!(publish(&gateway, "/publish/room:1", "after").status, 200);
    assert_eq!(client.text(), "after");
}

#[test]
fn a_large_body_that_is_refused_early_still_finds_its_answer() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut caller = Caller::to(gateway.address);
    let body = vec![b'x'; 4 << 20];
    let request = post("/publish/room:1", &body).encode();
    let mut sending = caller.0.try_clone().expect("a socket");
    let sender = thread::spawn(move || sending.write_all(&[request, body].concat()).is_ok());
    caller.answer().assert_refused(413, "body_too_large");
    assert!(sender.join().expect("no panic"), "the gateway reads on for a moment");
}

#[test]
fn a_token_used_more_often_than_it_may_is_told_to_wait() {
    let redis = Redis::start();
    let settings = settings(&redis);
    let mut entry = toml::Table::new();
    entry.insert("sha256".to_owned(), crate::rig::token::sha256("slow").into());
    entry.insert("channels".to_owned(), vec!["room:*"].into());
    entry.insert("per_second".to_owned(), 3.into());
    let gateway = Gateway::start(&settings.append("http_publish.token", entry));
    let ask = || {
        let request = post("/publish/room:1", b"x").without("Authorization").bearer("slow");
        Caller::to(gateway.address).ask(&request, b"x")
    };
    let statuses: Vec<_> = (0..10).map(|_| ask().status).collect();
    assert!(statuses.contains(&429) && statuses[..3] == [200; 3], "{statuses:?}");
    let limited = (0..100).map(|_| ask()).find(|answer| answer.status == 429);
    limited.expect("one over the limit").assert_refused(429, "rate_limited");
    assert_eq!(
        publish(&gateway, "/publish/room:1", "x").status,
        200,
        "another token is not limited"
    );
}

#[test]
fn endpoints_stay_what_they_are_beside_it() {
    let redis = Redis::start();
    let settings = settings(&redis).endpoint(Endpoint::new("other", "/other", &["other"]).open());
    let gateway = Gateway::start(&settings);
    gateway.send(&Request::line("POST /other HTTP/1.1")).assert_refused(405, "method_not_allowed");
    gateway.send(&Request::upgrade("/publish/a/b")).assert_refused(404, "not_found");
    gateway.open("/other");
}
