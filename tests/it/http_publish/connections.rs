//! Connections: kept alive, bounded, chunked, drained; a port of their own.

use super::{Caller, TOKEN, post, publish, settings, start};
use crate::rig::{Certificate, Gateway, Redis, Request, http::connect, wait};
use rustls::{ALL_VERSIONS, ClientConnection, StreamOwned};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Instant,
};

#[test]
fn one_connection_carries_request_after_request_by_length_and_chunked() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let mut caller = Caller::to(gateway.address);
    let chunked = Request::line("POST /publish/room:1 HTTP/1.1").bearer(TOKEN);
    let chunked = chunked.header("Transfer-Encoding", "chunked");
    for _ in 0..50 {
        assert_eq!(caller.post("/publish/room:1", "length").status, 200);
        assert_eq!(client.text(), "length");
        let answer =
            caller.ask(&chunked, b"3\r\nchu\r\n4;ext=1\r\nnked\r\n0\r\nTrailer: x\r\n\r\n");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), None);
        assert_eq!(client.text(), "chunked");
        caller.post("/publish/orders", "x").assert_refused(403, "channel_not_allowed");
    }
    assert_eq!(
        gateway.metrics().get("sockway_handshakes_refused_total{reason=\"not_found\"}"),
        0.0
    );
}

/// The statuses of so many answers that come one right behind the other.
fn answers(caller: &mut Caller, count: usize) -> Vec<String> {
    let (mut bytes, mut statuses) = (Vec::new(), Vec::new());
    while statuses.len() < count || !bytes.ends_with(b"}") {
        let mut chunk = [0; 4096];
        let read = caller.0.read(&mut chunk).expect("answers");
        assert_ne!(read, 0, "the gateway closed after {statuses:?}");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = |(at, _): (usize, &str)| text[at + 9..at + 12].to_owned();
        statuses = text.match_indices("HTTP/1.1 ").map(status).collect();
    }
    statuses
}

#[test]
fn what_comes_a_byte_at_a_time_or_all_at_once_is_answered_in_order() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let request =
        |body: &str| [&post("/publish/room:1", body.as_bytes()).encode(), body.as_bytes()].concat();
    let mut caller = Caller::to(gateway.address);
    for byte in request("slowly") {
        caller.send(&[byte]);
    }
    assert_eq!(caller.answer().status, 200);
    assert_eq!(client.text(), "slowly");
    // Pipelined, the last one with a wrong channel.
    let wrong = [&post("/publish/orders", b"x").encode()[..], b"x"].concat();
    caller.send(&[request("one"), request("two"), wrong, request("three")].concat());
    assert_eq!(answers(&mut caller, 4), ["200", "200", "403", "200"]);
    assert_eq!([client.text(), client.text(), client.text()], ["one", "two", "three"]);
}

#[test]
fn what_is_pipelined_behind_chunks_is_answered_in_order_and_not_taken_for_something_else() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let chunked = Request::line("POST /publish/room:1 HTTP/1.1").bearer(TOKEN);
    let chunked = chunked.header("Transfer-Encoding", "chunked").encode();
    let chunked = |body: &str| [&chunked[..], body.as_bytes()].concat();
    // Its body looks like a request.
    let hidden = [&post("/publish/room:1", b"hidden").encode()[..], b"hidden"].concat();
    let by_length = [&post("/publish/room:1", &hidden).encode()[..], &hidden].concat();
    let requests = [
        chunked("5\r\nfirst\r\n0\r\n\r\n"),
        by_length,
        chunked("3;ext=1\r\nthi\r\n2\r\nrd\r\n0\r\nTrailer: x\r\n\r\n"),
        [&post("/publish/orders", b"x").encode()[..], b"x"].concat(),
        chunked("4\r\nlast\r\n0\r\n\r\n"),
    ]
    .concat();
    let expected = ["first", std::str::from_utf8(&hidden).expect("text"), "third", "last"];
    // All at once, and cut at some places.
    for pieces in [requests.len(), 7, 61] {
        let mut caller = Caller::to(gateway.address);
        for piece in requests.chunks(pieces) {
            caller.send(piece);
        }
        assert_eq!(answers(&mut caller, 5), ["200", "200", "200", "403", "200"]);
        assert_eq!([(); 4].map(|()| client.text()), expected);
        assert_eq!(caller.post("/publish/room:1", "after").status, 200, "the connection stays");
        assert_eq!(client.text(), "after");
    }
}

#[test]
fn a_body_that_was_not_read_is_not_taken_for_the_next_request() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let hidden = [&post("/publish/room:1", b"hidden").encode()[..], b"hidden"].concat();
    let coded = post("/publish/room:1", &hidden).header("Content-Encoding", "gzip");
    let mut caller = Caller::to(gateway.address);
    let answer = caller.ask(&coded, &hidden);
    answer.assert_refused(415, "encoding_not_supported");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!([answer.rest, caller.until_closed()].concat(), b"");
    assert_eq!(publish(&gateway, "/publish/room:1", "after").status, 200);
    assert_eq!(client.text(), "after");
}

#[test]
fn chunks_whose_end_could_be_read_in_two_ways_end_the_connection() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let chunked = Request::line("POST /publish/room:1 HTTP/1.1").bearer(TOKEN);
    let chunked = chunked.header("Transfer-Encoding", "chunked");
    // A reader for which LF alone ends a line sees a second request; for one that wants CRLF it is a trailer.
    let hidden = [&post("/publish/room:1", b"hidden").encode()[..], b"hidden\r\n\r\n"].concat();
    for trailers in ["Trailer: x\n\r\n", "\n"] {
        let mut caller = Caller::to(gateway.address);
        let body = [b"5\r\nfirst\r\n0\r\n", trailers.as_bytes(), &hidden].concat();
        let answer = caller.ask(&chunked, &body);
        answer.assert_refused(400, "body_invalid");
        assert_eq!([answer.rest, caller.until_closed()].concat(), b"");
    }
    assert_eq!(publish(&gateway, "/publish/room:1", "after").status, 200);
    assert_eq!(client.text(), "after");
}

#[test]
fn a_connection_ends_when_the_caller_says_so_or_speaks_an_older_http() {
    let redis = Redis::start();
    let gateway = start(&redis);
    for request in [
        post("/publish/room:1", b"x").header("Connection", "close"),
        post("/publish/room:1", b"x").header("Connection", "keep-alive, Close"),
        Request::line("POST /publish/room:1 HTTP/1.0").bearer(TOKEN).header("Content-Length", "1"),
    ] {
        let mut caller = Caller::to(gateway.address);
        let answer = caller.ask(&request, b"x");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(caller.until_closed(), b"");
    }
}

#[test]
fn a_stranger_is_answered_and_its_connection_closed_so_that_it_takes_no_place() {
    let redis = Redis::start();
    let own = crate::rig::HeldPort::new().expect("a free port");
    let on_own = settings(&redis).set("http_publish.listen", own.address().to_string());
    for (settings, is_own) in [(settings(&redis), false), (on_own, true)] {
        let gateway = Gateway::start(&settings);
        let address = if is_own { own.address() } else { gateway.address };
        let post = |path: &str| Request::line(&format!("POST {path} HTTP/1.1"));
        for (request, status) in [
            (post("/publish/room:1"), 401),
            (post("/publish"), 401),
            (post("/publish/room:1").bearer("wrong"), 401),
            (Request::line("PUT /publish/room:1 HTTP/1.1"), 405),
        ] {
            let mut stranger = Caller::to(address);
            let answer = stranger.ask(&request.header("Content-Length", "0"), b"");
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")));
            assert_eq!(stranger.until_closed(), b"");
        }
        let mut caller = Caller::to(address);
        caller
            .ask(&post("/publish/room:1").bearer(TOKEN), b"")
            .assert_refused(411, "length_required");
        assert_eq!(caller.post("/publish/room:1", "x").status, 200, "whoever has a token stays");
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word_and_a_used_one_is_not() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).set("http_publish.idle_timeout", "300ms"));
    // In one piece, and in several, behind which it takes one more look to see that there is nothing.
    for body in [&b"x"[..], &[b'x'; 300_000]] {
        let mut caller = Caller::to(gateway.address);
        // Before it was answered, so before it was idle.
        let begun = Instant::now();
        assert_eq!(caller.post("/publish/room:1", body).status, 200);
        assert_eq!(caller.until_closed(), b"");
        assert!(begun.elapsed().as_millis() >= 300, "{:?}", begun.elapsed());
    }
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
}

#[test]
fn an_idle_connection_is_closed_without_a_word_over_tls_too() {
    let redis = Redis::start();
    let files = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(files.path(), "own");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let settings = settings(&redis)
        .set("http_publish.idle_timeout", "300ms")
        .set("server.tls.cert_file", path(&certificate.certificate))
        .set("server.tls.key_file", path(&certificate.key));
    let gateway = Gateway::start(&settings);
    let trust = Arc::new(certificate.trusted(ALL_VERSIONS));
    for body in [&b"x"[..], &[b'x'; 300_000]] {
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(Arc::clone(&trust), name).expect("a client");
        let mut caller = StreamOwned::new(client, connect(gateway.address));
        caller.write_all(&post("/publish/room:1", body).encode()).expect("taken");
        caller.write_all(body).expect("taken");
        let mut answers = Vec::new();
        caller.read_to_end(&mut answers).expect("an orderly end");
        let answers = String::from_utf8(answers).expect("text");
        assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
    }
}

#[test]
fn a_proxy_may_send_a_handshake_on_a_connection_that_published() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut caller = Caller::to(gateway.address);
    for number in 0..3 {
        assert_eq!(caller.post("/publish/room:1", number.to_string()).status, 200);
    }
    let answer = caller.ask(&Request::upgrade("/ws/rooms/1"), b"");
    assert_eq!(answer.status, 101);
    redis.publish("room:1", "over the same connection");
    let mut frame = answer.rest;
    while frame.len() < 26 {
        let mut chunk = [0; 64];
        let read = caller.0.read(&mut chunk).expect("a frame");
        frame.extend_from_slice(&chunk[..read]);
    }
    assert_eq!(&frame[2..], b"over the same connection");
    let mut other = Caller::to(gateway.address);
    assert_eq!(other.post("/publish/room:1", "x").status, 200);
    other.ask(&Request::get("/nowhere"), b"").assert_refused(404, "not_found");
}

#[test]
fn callers_count_as_connections_and_as_nothing_else() {
    let redis = Redis::start();
    let settings = settings(&redis)
        .set("server.max_connections", 3)
        .set("server.max_connections_per_ip", 1)
        .set("server.trusted_proxies", toml::Value::Array(Vec::new()))
        .set("server.handshakes_per_second", 1);
    let gateway = Gateway::start(&settings);
    let _session = gateway.open("/ws/rooms/1");
    // This address has its one connection, and this second its one handshake.
    let mut callers = [Caller::to(gateway.address), Caller::to(gateway.address)];
    for caller in &mut callers {
        assert_eq!(caller.post("/publish/room:1", "x").status, 200);
        assert_eq!(caller.post("/publish/room:1", "x").status, 200);
    }
    publish(&gateway, "/publish/room:1", "x").assert_refused(503, "at_capacity");
    let [first, _second] = callers;
    drop(first);
    wait::until("a place is free", || publish(&gateway, "/publish/room:1", "x").status == 200);
}

#[test]
fn a_drain_closes_idle_connections_and_answers_what_is_under_way() {
    let redis = Redis::start();
    let mut gateway = start(&redis);
    let (mut idle, mut busy) = (Caller::to(gateway.address), Caller::to(gateway.address));
    assert_eq!(idle.post("/publish/room:1", "x").status, 200);
    assert_eq!(busy.post("/publish/room:1", "x").status, 200);
    busy.send(&post("/publish/room:1", b"hello").encode());
    busy.send(b"hel");
    // Whether the head has been read is told by the 100 of a second one.
    let mut told = Caller::to(gateway.address);
    told.send(&post("/publish/room:1", b"hello").header("Expect", "100-continue").encode());
    assert_eq!(told.answer().status, 100);
    gateway.terminate();
    assert_eq!(idle.until_closed(), b"");
    busy.send(b"lo");
    told.send(b"hello");
    for mut caller in [busy, told] {
        let answer = caller.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(caller.until_closed(), b"");
    }
    assert_eq!(gateway.process.exit_code(), 0);
}

/// The address that the gateway logged for this field.
fn logged(gateway: &Gateway, field: &str) -> SocketAddr {
    gateway.process.stderr.wait_for("the ports are logged", |line| {
        let record: Value = serde_json::from_str(line).ok()?;
        let fields = record.get("fields").unwrap_or(&record);
        fields[field].as_str()?.parse().ok()
    })
}

#[test]
fn on_a_port_of_its_own_it_is_not_on_the_public_one() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).set("http_publish.listen", "127.0.0.1:0"));
    let own = logged(&gateway, "publish");
    let mut client = gateway.open("/ws/rooms/1");
    let mut caller = Caller::to(own);
    assert_eq!(caller.post("/publish/room:1", "hello").status, 200);
    assert_eq!(client.text(), "hello");
    caller.ask(&Request::upgrade("/ws/rooms/1"), b"").assert_refused(404, "not_found");
    publish(&gateway, "/publish/room:1", "x").assert_refused(404, "not_found");
}

#[test]
fn a_unix_socket_of_its_own_is_as_good() {
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("publish.sock");
    let listen = format!("unix:{}", path.display());
    let gateway = Gateway::start(&settings(&redis).set("http_publish.listen", listen));
    let mut client = gateway.open("/ws/rooms/1");
    let mut stream = UnixStream::connect(path).expect("the gateway listens");
    let request = post("/publish/room:1", b"hello").header("Connection", "close");
    stream.write_all(&[&request.encode()[..], b"hello"].concat()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(client.text(), "hello");
}
