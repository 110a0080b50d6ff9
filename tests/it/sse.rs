//! Server-Sent Events: the same messages, limits and ends as over a WebSocket, read by a plain client.

use crate::rig::{
    Endpoint, Gateway, HeldPort, Redis, Request, Settings,
    events::{Event, Events, request},
    gateway,
    http::{self, with_deadlines},
    proxy::{Proxy, Weather},
    settings::{notifications, rooms},
    token, wait,
};
use rustix::process::Signal;
use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

/// `/ws/rooms/{room}`, over both.
fn both() -> Endpoint {
    rooms().set("sse", true)
}

fn start(endpoint: Endpoint) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    (redis, gateway)
}

fn open(gateway: &Gateway, target: &str) -> Events {
    Events::open(gateway.address, &request(target))
}

fn opened(transport: &str) -> String {
    format!("sockway_sessions_opened_total{{endpoint=\"rooms\",transport=\"{transport}\"}}")
}

fn closed(reason: &str) -> String {
    format!("sockway_sessions_closed_total{{endpoint=\"rooms\",reason=\"{reason}\"}}")
}

#[test]
fn messages_come_as_events_and_the_first_is_ready() {
    let (redis, gateway) = start(both());
    let mut events = open(&gateway, "/ws/rooms/1");
    let ready = events.ready();
    assert_eq!(ready["channels"], json!(["room:1"]));
    assert_eq!(ready["heartbeat_ms"], 25_000);
    assert!((1_000..=5_000).contains(&events.retry.expect("a time")), "{:?}", events.retry);
    let mut socket = gateway.open("/ws/rooms/1");
    for payload in ["hi", "", "two\nlines\n", " white space ", "{\n  \"a\": 1\n}", "gr\u{fc}\u{df}"]
    {
        assert_eq!(redis.publish("room:1", payload), 1);
        assert_eq!(events.message(), payload);
        assert_eq!(socket.text(), payload);
    }
    for payload in
        [&b"a carriage\rreturn"[..], b"\r\n\r\nevent: close\r\ndata: {}\r\n\r\n", b"\xFF\0"]
    {
        redis.publish("room:1", payload);
        let event = events.expect("base64");
        let decode = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, event.data);
        assert_eq!(decode.expect("base64"), payload);
    }
    gateway.wait_metric(&opened("sse"), 1.0);
    gateway.wait_metric(&opened("websocket"), 1.0);
}

#[test]
fn json_events_are_the_json_frames() {
    let (redis, gateway) = start(both().set("format", "json"));
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    redis.publish("room:1", "{\r\n\"a\": 1}");
    assert_eq!(
        events.next(),
        Some(Event {
            name: "message".to_owned(),
            data: r#"{"type":"message","channel":"room:1","data":{  "a": 1}}"#.to_owned(),
            last_id: String::new(),
        })
    );
}

#[test]
fn http_1_0_gets_the_same_events_without_chunks() {
    let (redis, gateway) = start(both());
    let old = Request::line("GET /ws/rooms/1 HTTP/1.0").header("Accept", "text/event-stream");
    let mut events = Events::open(gateway.address, &old.without("Host"));
    assert_eq!(events.head.header("transfer-encoding"), None);
    events.ready();
    redis.publish("room:1", "hi");
    assert_eq!(events.message(), "hi");
    gateway.terminate();
    events.assert_closed(1012, "restarting");
}

#[test]
fn a_token_gives_the_same_channels_and_its_end_ends_the_stream_for_good() {
    let redis = Redis::start();
    let endpoint = notifications().set("sse", true);
    // Without leeway, so that the test need not wait for it.
    let settings = Settings::new(&redis).set("auth.jwt.leeway", "0s");
    let gateway = Gateway::start(&settings.endpoint(endpoint));
    let as_query = open(&gateway, &format!("/ws/me?token={}", token::of("ann")));
    let as_header = Events::open(gateway.address, &request("/ws/me").bearer(&token::of("ann")));
    let soon = token::signed(&json!({ "sub": "bob", "exp": token::now() + 5 }));
    let mut expiring = open(&gateway, &format!("/ws/me?token={soon}"));
    expiring.ready();
    let day = Some(86_400_000);
    assert_eq!(expiring.assert_closed(3000, "token_expired"), day);
    for mut events in [as_query, as_header] {
        assert_eq!(events.ready()["channels"], json!(["user:ann", "global"]));
        redis.publish("user:ann", "yours");
        assert_eq!(events.message(), "yours");
        drop(events);
    }
    let mut events = open(&gateway, &format!("/ws/me?token={}", token::of("ann")));
    events.ready();
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    assert_eq!(events.assert_closed(3000, "revoked"), day);
}

#[test]
fn a_quiet_stream_has_heartbeats_though_it_is_raw() {
    let (_redis, gateway) = start(both().set("heartbeat", "200ms"));
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    for _ in 0..3 {
        assert_eq!(events.expect("heartbeat").data, r#"{"type":"heartbeat"}"#);
    }
}

#[test]
fn a_lost_redis_is_told_as_an_event_and_the_next_message_comes() {
    let (mut redis, gateway) = start(both());
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    redis.kill();
    gateway.wait_unready();
    redis.begin();
    let gap = r#"{"type":"gap","channel":"room:1","reason":"redis_reconnected","missed":null}"#;
    assert_eq!(events.expect("gap").data, gap);
    redis.publish("room:1", "after");
    assert_eq!(events.message(), "after");
}

#[test]
fn a_drain_closes_every_stream_with_1012_behind_what_was_queued_and_ends() {
    let (redis, mut gateway) = start(both());
    let mut streams: Vec<_> = (0..20).map(|_| open(&gateway, "/ws/rooms/1")).collect();
    streams.iter_mut().for_each(|events| drop(events.ready()));
    redis.publish("room:1", "last");
    gateway.terminate();
    for events in &mut streams {
        assert_eq!(events.message(), "last");
        assert_eq!(events.assert_closed(1012, "restarting"), None, "it may come back by itself");
    }
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn a_client_that_leaves_in_any_way_leaves_nothing_behind() {
    let (redis, gateway) = start(both());
    let gone = open(&gateway, "/ws/rooms/1");
    drop(gone);
    let reset = open(&gateway, "/ws/rooms/1");
    SockRef::from(&reset.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(reset);
    let mut half = open(&gateway, "/ws/rooms/1");
    half.ready();
    half.half_close();
    assert!(half.has_broken(), "a half-closed connection was closed, without a word");
    gateway.wait_metric(&closed("peer_gone"), 3.0);
    let mut chatty = open(&gateway, "/ws/rooms/1");
    chatty.ready();
    chatty.stream.write_all(b"GET /ws/rooms/1 HTTP/1.1\r\n\r\n").expect("taken");
    assert_eq!(chatty.assert_closed(1003, "unexpected_message"), Some(86_400_000));
    // Bytes that come with the request, too.
    let mut stream = http::connect(gateway.address);
    let pipelined = [request("/ws/rooms/1").encode(), request("/ws/rooms/1").encode()].concat();
    stream.write_all(&pipelined[..pipelined.len() - 1]).expect("taken");
    gateway.wait_metric(&closed("unexpected_message"), 2.0);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    redis.wait_numsub("room:1", 0);
    drop(stream);
}

#[test]
fn a_stream_that_is_not_read_is_closed_as_slow_and_its_neighbour_misses_nothing() {
    const MESSAGES: usize = 600;
    let redis = Redis::start();
    let quick = Endpoint::new("quick", "/quick", &["room:1"]).open().set("sse", true);
    let settings = Settings::new(&redis)
        .set("server.shards", 1)
        // Room for all that is published at once: it is read only afterwards.
        .endpoint(quick.set("queue_bytes", "64MiB"))
        .endpoint(both().set("queue_messages", 16).set("write_timeout", "60s"));
    let gateway = Gateway::start(&settings);
    let mut slow = Events::over(narrow(&gateway), &request("/ws/rooms/1"));
    slow.ready();
    let mut quick = open(&gateway, "/quick");
    quick.ready();
    let message = |number: usize| format!("{number:0>16384}");
    redis.publish_all("room:1", (0..MESSAGES).map(message));
    let missed = "sockway_missed_messages_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    wait::until("it is too slow", || gateway.metrics().get(missed) > 0.0);
    let mut expected = 0;
    let close = loop {
        match slow.next() {
            Some(event) if event.name == "message" => {
                assert_eq!(event.data, message(expected));
                expected += 1;
            }
            other => break other.expect("a close"),
        }
    };
    assert_eq!(close.data, r#"{"code":4008,"reason":"slow_consumer"}"#);
    assert_eq!(slow.next(), None);
    gateway.wait_metric(&closed("slow_consumer"), 1.0);
    (0..MESSAGES).for_each(|number| assert_eq!(quick.message(), message(number)));
}

/// A connection whose gateway soon notices when it is not read.
fn narrow(gateway: &Gateway) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket option");
    socket.connect(&gateway.address.into()).expect("the port accepts");
    with_deadlines(socket.into())
}

#[test]
fn a_reload_that_takes_the_events_away_closes_the_streams_and_no_websocket() {
    let redis = Redis::start();
    let settings = Settings::new(&redis);
    let gateway = Gateway::start(&settings.clone().endpoint(both()));
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    let mut socket = gateway.open("/ws/rooms/1");
    assert!(gateway.reload(&settings.clone().endpoint(both().set("queue_messages", 7))));
    redis.publish("room:1", "still here");
    assert_eq!(events.message(), "still here");
    assert!(gateway.reload(&settings.endpoint(rooms())));
    events.assert_closed(4010, "reconfigured");
    redis.publish("room:1", "and here");
    assert_eq!([socket.text(), socket.text()], ["still here", "and here"]);
    gateway.send(&request("/ws/rooms/1")).assert_refused(426, "upgrade_required");
}

#[test]
fn a_newer_session_of_the_user_takes_the_place_of_the_older_for_good() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_sessions_per_user", 1)
        .set("server.on_user_limit", "replace")
        .endpoint(notifications().set("sse", true));
    let gateway = Gateway::start(&settings);
    let target = format!("/ws/me?token={}", token::of("ann"));
    let mut older = open(&gateway, &target);
    older.ready();
    let mut newer = open(&gateway, &target);
    newer.ready();
    assert_eq!(older.assert_closed(4011, "replaced"), Some(86_400_000));
    redis.publish("user:ann", "yours");
    assert_eq!(newer.message(), "yours");
}

/// Over a unix socket, whose other end must read before anything counts as acknowledged.
#[test]
fn a_stream_whose_client_takes_nothing_is_ended_by_its_write_timeout() {
    let endpoint = both()
        .set("heartbeat", "100ms")
        .set("ping_interval", "200ms")
        // The living one must have the processor once in it.
        .set("write_timeout", "3s");
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("ws.sock");
    let listen = format!("unix:{}", socket.display());
    let settings = Settings::new(&redis).set("server.listen", listen).endpoint(endpoint);
    let (process, _file) = gateway::spawn(&settings);
    process
        .stderr
        .wait_for("the gateway is ready", |line| line.contains("Redis link is up").then_some(()));
    let connect = || UnixStream::connect(&socket).expect("it listens");
    let (mut dead, mut alive) = (connect(), connect());
    for client in [&mut dead, &mut alive] {
        client.write_all(&request("/ws/rooms/1").encode()).expect("taken");
    }
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = alive.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    process.stderr.wait_for("the close", |line| line.contains("write_timeout").then_some(()));
    process.signal(Signal::TERM);
    let read = reading.join().expect("read");
    assert!(read.contains("event: heartbeat"), "{read}");
    assert!(read.contains(r#"{"code":1012,"reason":"restarting"}"#), "it was left alone: {read}");
    drop(dead);
}

#[test]
fn streams_come_back_by_themselves_through_a_crash_of_the_gateway() {
    let port = HeldPort::new().expect("a free port");
    let redis = Redis::start();
    let settings =
        Settings::new(&redis).set("server.listen", port.address().to_string()).endpoint(both());
    let mut gateway = Gateway::start(&settings);
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    gateway.process.signal(Signal::KILL);
    assert!(events.has_broken(), "a stream that breaks off has no end");
    drop(gateway);
    gateway = Gateway::start(&settings);
    let mut events = open(&gateway, "/ws/rooms/1");
    events.ready();
    redis.publish("room:1", "again");
    assert_eq!(events.message(), "again");
}

#[test]
fn events_pass_a_slow_network_in_any_pieces() {
    let (redis, gateway) = start(both());
    let proxy = Proxy::to(&gateway.address);
    proxy.set(Weather::Drip);
    let mut events = Events::open(proxy.address, &request("/ws/rooms/1"));
    events.ready();
    redis.publish_all("room:1", (0..20).map(|number| format!("line\n{number}")));
    (0..20).for_each(|number| assert_eq!(events.message(), format!("line\n{number}")));
}
