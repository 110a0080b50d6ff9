//! The private port over real sockets, with everything behind it played.

use super::{Admin, AdminContext, Turn, server::Running};
use crate::{
    bus::publishing,
    channel::ChannelName,
    liveness::{Liveness, SignOfLife},
    metrics::Metrics,
    net::held_port::HeldPort,
    phase::Phase,
    shard::{Busy, ShardCommand, ShardHandle},
    testing,
    upstream::{LinkStatus, Status},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time,
};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

/// A served private port and the strings to pull behind it.
struct Rig {
    address: SocketAddr,
    running: Running,
    upstream: watch::Sender<Status>,
    phase: watch::Sender<Phase>,
    drain: CancellationToken,
    /// Dropped when the rig is.
    shard: SignOfLife,
}

impl Rig {
    fn start() -> Self {
        Self::with_shards(Vec::new())
    }

    fn with_shards(shards: Vec<ShardHandle>) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), shards)
    }

    fn at(address: SocketAddr, shards: Vec<ShardHandle>) -> Self {
        Self::behind(Admin::bind(address).unwrap(), shards)
    }

    fn behind(admin: Admin, shards: Vec<ShardHandle>) -> Self {
        let text = r#"
            shutdown = { timeout = "20s" }
            endpoint = [
                { name = "notifications", path = "/ws", channels = ["all"], auth = "none" },
                { name = "rooms", path = "/rooms", channels = ["rooms"], auth = "none" },
            ]
        "#;
        let config = testing::config(text);
        let endpoints: Vec<_> = config.endpoints.iter().map(|it| Arc::clone(&it.name)).collect();
        let down = LinkStatus::Down("connection refused".to_owned());
        let (upstream, status) = watch::channel(Status {
            link: down,
            verified: None,
            wanted: 0,
            subscribed: 0,
            control_refused: None,
            tracking_refused: None,
        });
        let (phase, phases) = watch::channel(Phase::Running);
        let drain = CancellationToken::new();
        let mut liveness = Liveness::default();
        let shard = liveness.part("shard 0");
        let address = admin.address();
        let running = admin
            .start(AdminContext {
                metrics: Arc::new(Metrics::new(1, &endpoints)),
                config: watch::Sender::new(Arc::new(config)).subscribe(),
                shards,
                turn: Turn::default(),
                liveness,
                upstream: status,
                publisher: publishing().0,
                phase: phases,
                proof_expires: Duration::from_secs(9),
                started: Instant::now(),
                drain: drain.clone(),
                address,
                playground: None,
            })
            .unwrap();
        Self { address, running, upstream, phase, drain, shard }
    }

    fn link_is_up(&self) {
        let status = Status {
            link: LinkStatus::Up,
            verified: Some(Instant::now()),
            wanted: 7,
            subscribed: 5,
            control_refused: None,
            tracking_refused: None,
        };
        self.upstream.send_replace(status);
    }

    async fn ask(&self, head: &str) -> Reply {
        let request = format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw(self.address, &request).await
    }
}

/// An HTTP answer as it came over the wire.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

async fn raw(address: SocketAddr, request: &str) -> Reply {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        // A connection that is cut behind the answer, because not all was read, is fine here.
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8(reply).unwrap()
    };
    let reply = time::timeout(DEADLINE, talk).await.expect("an answer in time");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn alive_is_a_gateway_whose_parts_give_signs_of_life_even_without_redis() {
    let rig = Rig::start();
    rig.shard.give();
    let reply = rig.ask("GET /livez").await;
    assert_eq!((reply.status, reply.json()), (200, json!({"alive": true})));

    let silent = async {
        loop {
            let reply = rig.ask("GET /livez").await;
            if reply.status != 200 {
                break reply;
            }
        }
    };
    let reply = time::timeout(DEADLINE, silent).await.expect("noticed in time");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reasons"][0]["code"], "no_sign_of_life");
    assert!(reply.body.contains("shard 0 has given no sign of life"), "{}", reply.body);

    rig.shard.give();
    assert_eq!(rig.ask("GET /livez").await.status, 200);
}

#[tokio::test]
async fn a_name_that_is_not_this_ports_gets_nothing_and_drains_nothing() {
    let rig = Rig::start();
    for (host, status) in [("localhost", 200), ("10.1.2.3:9090", 200), ("evil.example", 403)] {
        let request = format!("GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(raw(rig.address, &request).await.status, status, "{host}");
    }
    let rebound = "POST /drain HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\
                   Connection: close\r\nContent-Length: 0\r\n\r\n";
    let reply = raw(rig.address, rebound).await;
    assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("host_not_allowed")));
    assert!(!rig.drain.is_cancelled());
}

#[tokio::test]
async fn ready_follows_the_redis_link_and_the_phase_and_says_why_not() {
    let rig = Rig::start();
    let reply = rig.ask("GET /readyz").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reasons"][0]["code"], "starting");
    assert!(reply.body.contains("connection refused"), "{}", reply.body);

    rig.link_is_up();
    let reply = rig.ask("GET /readyz").await;
    assert_eq!((reply.status, reply.json()), (200, json!({"ready": true, "reasons": []})));

    rig.phase.send_replace(Phase::Terminating);
    let reply = rig.ask("GET /readyz").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reasons"][0]["code"], "draining");
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let reply = Rig::start().ask("GET /metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    assert!(reply.body.contains("sockway_sessions{endpoint=\"rooms\"} 0\n"), "{}", reply.body);
}

#[tokio::test]
async fn status_shows_version_phase_uptime_sessions_link_and_channels() {
    let rig = Rig::start();
    let status = rig.ask("GET /status").await.json();
    assert_eq!(status["redis"]["link"], "down");
    assert_eq!(status["redis"]["reason"], "connection refused");
    assert_eq!(status["redis"]["seconds_since_proof"], Value::Null);

    rig.link_is_up();
    let status = rig.ask("GET /status").await.json();
    assert_eq!(status["version"], crate::VERSION);
    assert_eq!(status["revision"], crate::REVISION);
    assert_eq!(status["phase"], "running");
    assert_eq!(status["ready"], true);
    assert!(status["uptime_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(status["sessions"], json!({"notifications": 0, "rooms": 0}));
    assert_eq!(status["channels"], json!({"wanted": 7, "subscribed": 5}));
    assert_eq!(status["http_publish"], Value::Null);
    assert_eq!(status["redis"]["link"], "up");
    assert!(status["redis"]["seconds_since_proof"].as_f64().unwrap() < 9.0);
}

#[tokio::test]
async fn channels_are_asked_of_the_shards() {
    let (shard, mut commands) = ShardHandle::for_tests();
    tokio::spawn(async move {
        let Some(ShardCommand::Busiest { prefix, reply, .. }) = commands.recv().await else {
            panic!("another command")
        };
        let channel = ChannelName::new(format!("{prefix}42"));
        reply.send(vec![Busy { channel, sessions: 3 }]).unwrap();
    });
    let rig = Rig::with_shards(vec![shard]);
    let reply = rig.ask("GET /channels?prefix=user%3A&limit=5").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["channels"], json!([{"channel": "user:42", "sessions": 3}]));

    let reply = rig.ask("GET /channels?limit=no").await;
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("bad_query")));
}

#[tokio::test]
async fn a_drain_is_posted_and_never_taken_from_a_web_page() {
    let rig = Rig::start();
    assert_eq!(rig.ask("GET /drain").await.status, 405);
    let page = "POST /drain HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                Connection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(raw(rig.address, page).await.status, 403);
    assert!(!rig.drain.is_cancelled());

    let reply = rig.ask("POST /drain").await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.json(), json!({"draining": true, "timeout_seconds": 20.0}));
    assert!(rig.drain.is_cancelled());
}

#[tokio::test]
async fn unknown_paths_and_methods_get_problem_bodies() {
    let rig = Rig::start();
    for (head, status, code) in [
        ("GET /nothing", 404, "not_found"),
        ("GET /metrics/", 404, "not_found"),
        ("POST /metrics", 405, "method_not_allowed"),
        ("DELETE /status", 405, "method_not_allowed"),
        ("PUT /drain", 405, "method_not_allowed"),
    ] {
        let reply = rig.ask(head).await;
        assert_eq!((reply.status, &reply.json()["code"]), (status, &json!(code)), "{head}");
        assert!(reply.head.contains("content-type: application/problem+json"), "{}", reply.head);
        assert_eq!(reply.head.contains("\r\nallow: "), status == 405, "{}", reply.head);
    }
}

#[tokio::test]
async fn the_index_names_every_path_and_a_head_has_no_body() {
    let rig = Rig::start();
    let index = rig.ask("GET /").await;
    assert_eq!(index.status, 200);
    for path in ["/status", "/channels", "/readyz", "/livez", "/metrics", "/drain"] {
        assert!(index.body.contains(path), "{path}");
    }
    let head = rig.ask("HEAD /livez").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn garbage_and_giant_heads_are_refused() {
    let rig = Rig::start();
    assert_eq!(raw(rig.address, "\x16\x03\x01 hello\r\n\r\n").await.status, 400);
    let giant =
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(raw(rig.address, &giant).await.status, 431);
}

#[tokio::test]
async fn who_holds_every_place_and_says_nothing_does_not_keep_a_health_check_out() {
    let rig = Rig::start();
    let mut slow = Vec::new();
    for _ in 0..3 * super::server::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(rig.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: local").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(rig.ask("GET /readyz").await.status, 503, "an answer, and at once");

    let cut = async {
        for stream in &mut slow[..2 * super::server::MAX_CONNECTIONS] {
            let _ = stream.read(&mut [0; 16]).await;
        }
    };
    // Long before the time for a head is up.
    time::timeout(super::server::HEADER_TIMEOUT / 2, cut).await.expect("the oldest are cut");
}

#[tokio::test]
async fn every_complete_request_is_answered_however_many_come_at_once() {
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut asking = Vec::new();
    // More than there are places wait for the first accept, each with its request.
    for _ in 0..4 * super::server::MAX_CONNECTIONS {
        let connected = time::timeout(DEADLINE, TcpStream::connect(admin.address())).await;
        let mut stream = connected.expect("the kernel keeps it").unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        asking.push(stream);
    }
    let rig = Rig::behind(admin, Vec::new());
    rig.shard.give();
    for (number, mut stream) in asking.into_iter().enumerate() {
        let mut reply = [0; 12];
        let read = time::timeout(DEADLINE, stream.read_exact(&mut reply)).await.expect("in time");
        read.unwrap_or_else(|error| panic!("request {number} was cut: {error}"));
        assert_eq!(&reply, b"HTTP/1.1 200", "request {number}");
    }
}

#[tokio::test]
async fn a_stop_closes_the_port_and_ends_the_thread() {
    let port = HeldPort::new().unwrap();
    let Rig { address, running, .. } = Rig::at(port.address(), Vec::new());
    let _idle = TcpStream::connect(address).await.unwrap();
    time::timeout(DEADLINE, running.stop()).await.expect("stopped in time");
    assert!(TcpStream::connect(address).await.is_err());
}
