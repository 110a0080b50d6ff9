//! The admin port: health that is true, every series from the start, and nothing of it on the
//! public port.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    client::TEXT,
    settings::{notifications, rooms},
    wait::until,
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

#[test]
fn every_series_of_the_contract_exists_from_the_start() {
    let (_redis, gateway) = start();
    let metrics = gateway.metrics();
    for name in [
        "sockway_sessions",
        "sockway_sessions_opened_total",
        "sockway_sessions_closed_total",
        "sockway_session_seconds_count",
        "sockway_handshakes_refused_total",
        "sockway_handshake_seconds_count",
        "sockway_redis_messages_total",
        "sockway_redis_message_bytes_total",
        "sockway_deliveries_total",
        "sockway_delivered_bytes_total",
        "sockway_delivery_seconds_count",
        "sockway_missed_messages_total",
        "sockway_gaps_total",
        "sockway_channels",
        "sockway_redis_up",
        "sockway_redis_last_verified_timestamp_seconds",
        "sockway_redis_reconnects_total",
        "sockway_redis_outage_seconds_total",
        "sockway_redis_resubscribe_seconds_count",
        "sockway_config_reloads_total",
        "sockway_log_records_dropped_total",
        "sockway_build_info",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.all(name).next().is_some(), "{name} is missing");
    }
    assert_eq!(metrics.all("sockway_sessions").count(), 2, "one for each endpoint");
    assert_eq!(
        metrics.get("sockway_sessions_opened_total{endpoint=\"rooms\",transport=\"websocket\"}"),
        0.0
    );
    assert_eq!(metrics.get("sockway_redis_up"), 1.0);
}

#[test]
fn labels_never_name_a_user_a_channel_or_an_address() {
    let (redis, gateway) = start();
    let mut ann = gateway.open_as("unmistakable-ann", "/ws/me");
    let _room = gateway.open("/ws/rooms/unmistakable-room");
    redis.publish("user:unmistakable-ann", "hello");
    assert_eq!(ann.text(), "hello");
    let text = gateway.admin("/metrics").text();
    assert!(!text.contains("unmistakable") && !text.contains("127.0.0.1"), "{text}");
}

#[test]
fn status_says_what_is_going_on() {
    let (_redis, gateway) = start();
    let _clients: Vec<_> = (0..3).map(|_| gateway.open("/ws/rooms/1")).collect();
    until("the sessions are counted", || gateway.admin("/status").json()["sessions"]["rooms"] == 3);
    let status = gateway.admin("/status").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["phase"], "running");
    assert_eq!(status["sessions"]["notifications"], 0);
    assert_eq!(status["channels"]["wanted"], 1);
    assert_eq!(status["channels"]["subscribed"], 1);
    assert_eq!(status["redis"]["link"], "up");
    assert!(status["uptime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn status_says_what_is_published_and_who_is_in_rooms_and_which_patterns_and_streams_there_are() {
    let redis = Redis::start();
    let table = |lines: &str| lines.parse::<toml::Table>().expect("TOML");
    let chat = Endpoint::new("chat", "/ws/chat/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("publish", table("channel = \"chat:{path.room}\""))
        .set("presence", table("channel = \"chat:{path.room}\""));
    let all = Endpoint::new("all", "/ws/all", &[])
        .set("format", "json")
        .set("patterns", vec!["order:*"])
        .set("streams", vec!["log"]);
    let token = format!(
        "sha256 = {:?}\nchannels = [\"order:*\"]",
        crate::rig::token::sha256("a backend's")
    );
    let settings = Settings::new(&redis).endpoint(chat).endpoint(all);
    let gateway = Gateway::start(&settings.append("http_publish.token", table(&token)));
    let status = || gateway.admin("/status").json();
    let nothing = json!({"published": 0, "refused": 0, "outcome_unknown": 0});
    let publish = json!({"under_way_bytes": 0, "clients": nothing, "http": nothing});
    assert_eq!(status()["publish"], publish);
    assert_eq!(status()["presence"], json!({"rooms": 0, "members": 0}));
    assert_eq!(status()["patterns"], json!({"in_use": 0, "limit": 100}));
    assert_eq!(status()["streams"], json!({"wanted": 0, "subscribed": 0}));
    let http = json!({"listen": "127.0.0.1:0", "path": "/publish", "tokens": 1});
    assert_eq!(status()["http_publish"], http);

    let mut ann = gateway.open_as("ann", "/ws/chat/7");
    let (_bob, _eve) = (gateway.open_as("bob", "/ws/chat/7"), gateway.open_as("eve", "/ws/all"));
    for frame in [r#"{"type":"publish","data":1}"#, "{}"] {
        ann.send(TEXT, frame.as_bytes());
    }
    let post = |channel: &str| {
        let request = Request::line(&format!("POST /publish/{channel} HTTP/1.1"));
        request.header("Content-Length", "0").header("Connection", "close").bearer("a backend's")
    };
    let publish = json!({
        "under_way_bytes": 0,
        "clients": {"published": 1, "refused": 1, "outcome_unknown": 0},
        "http": {"published": 1, "refused": 1, "outcome_unknown": 0},
    });
    assert_eq!(post("order:1").send(gateway.address).status, 200);
    assert_eq!(post("other").send(gateway.address).status, 403);
    until("all of it is counted", || status()["publish"] == publish);
    assert_eq!(status()["presence"], json!({"rooms": 1, "members": 2}));
    assert_eq!(status()["patterns"]["in_use"], 1);
    assert_eq!(status()["streams"], json!({"wanted": 1, "subscribed": 1}));

    redis.hang();
    let waiting = thread::spawn({
        let (request, address) = (post("order:2"), gateway.address);
        move || request.send(address).status
    });
    until("it is under way", || status()["publish"]["under_way_bytes"].as_u64() > Some(0));
    redis.go_on();
    assert!([200, 504].contains(&waiting.join().expect("an answer")));
}

#[test]
fn the_busiest_channels_are_listed_with_their_sessions_by_prefix_and_limit() {
    let (_redis, gateway) = start();
    let _clients: Vec<_> = ["a", "b", "b", "b", "c", "c"]
        .map(|room| gateway.open(&format!("/ws/rooms/{room}")))
        .into();
    let _ann = gateway.open_as("ann", "/ws/me");
    let list = |target: &str| -> Vec<(String, u64)> {
        let rows = gateway.admin(target).json()["channels"].as_array().expect("a list").clone();
        let row = |row: &serde_json::Value| {
            let name = row["channel"].as_str().expect("a name").to_owned();
            (name, row["sessions"].as_u64().expect("a number"))
        };
        rows.iter().map(row).collect()
    };
    assert_eq!(
        list("/channels?prefix=room:&limit=2"),
        [("room:b".to_owned(), 3), ("room:c".to_owned(), 2)]
    );
    assert_eq!(list("/channels").len(), 5);
    assert_eq!(list("/channels?prefix=nothing"), []);
}

#[test]
fn the_console_is_a_page_and_unknown_paths_are_not_found() {
    let (_redis, gateway) = start();
    let page = gateway.admin("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(gateway.admin("/nothing").status, 404);
    let post = Request::line("POST /metrics HTTP/1.1").header("Connection", "close");
    assert_eq!(post.send(gateway.admin).status, 405);
}

#[test]
fn the_public_port_knows_nothing_of_the_admin_port() {
    let (_redis, gateway) = start();
    for path in ["/", "/metrics", "/livez", "/readyz", "/status", "/channels", "/drain"] {
        gateway.send(&Request::get(path)).assert_refused(404, "not_found");
    }
}

/// A server that takes one connection after the other and answers each with this.
fn answering(with: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(with);
        }
    });
    address
}

#[test]
fn not_ready_is_told_in_words_whatever_keeps_redis_away() {
    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    for (url, said) in [
        ("redis://127.0.0.1:1".to_owned(), "Connection refused"),
        ("redis+unix:///nowhere/redis.sock".to_owned(), "No such file or directory"),
        ("redis://nowhere.invalid".to_owned(), "nowhere.invalid"),
        (format!("redis://{http}"), ""),
        (format!("rediss://{http}"), ""),
    ] {
        let gateway = Gateway::start_unready(&Settings::with_url(&url).endpoint(rooms()));
        let mut last = String::new();
        until(&format!("{url} is told: {last}"), || {
            let reasons = gateway.admin("/readyz").json();
            last = reasons["reasons"][0]["detail"].as_str().expect("a reason").to_owned();
            last.contains(said) && !last.contains("not connected yet")
        });
        let is_code = |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
        let codes = last.as_bytes().windows(2).filter(|pair| is_code(pair)).count();
        assert!(codes == 0 && !last.contains(['{', '(']), "{url}: {last}");
    }
}
