//! Liveness in both directions: what a client sees of a connection that is alive, and of one that is not.

use crate::rig::{
    Frame, Gateway, Redis, Settings,
    client::PONG,
    process::{Process, sockway},
    proxy::{Proxy, Weather},
    settings::rooms,
    wait::LIMIT,
};
use std::time::{Duration, Instant};

/// Short, so that the tests need not wait for a multiple of 25 s; all that is measured is a multiple of it.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a client waits for, in heartbeats, before it gives the connection up.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// A `sockway listen` through a proxy, connected, and its room subscribed.
fn listening(redis: &Redis, proxy: &Proxy) -> Process {
    let mut command = sockway();
    command.args(["listen", &format!("ws://{}/ws/rooms/1", proxy.address)]);
    let listen = Process::start(&mut command);
    listen.stderr.wait_for("it is connected", |line| (line == "connected").then_some(()));
    redis.publish("room:1", "before");
    listen.stdout.wait_for("the message", |line| line.contains("before").then_some(()));
    listen
}

#[test]
fn a_network_that_swallows_without_closing_ends_both_sides_and_each_says_why() {
    let redis = Redis::start();
    // Shorter than the defaults of 25 s and 20 s, as the heartbeat.
    let endpoint = rooms()
        .set("format", "json")
        .set("heartbeat", "1s")
        .set("ping_interval", "1s")
        .set("ping_timeout", "1s");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let proxy = Proxy::to(&gateway.address);
    let mut listen = listening(&redis, &proxy);
    proxy.set(Weather::BlackHole);
    let swallowed = Instant::now();
    assert_eq!(listen.exit_within(LIMIT).code(), Some(1));
    let took = swallowed.elapsed();
    // A heartbeat may have come just before, or have been due at that moment.
    assert!(took > PATIENCE - HEARTBEAT && took < PATIENCE + 4 * HEARTBEAT, "{took:?}");
    let said = listen.stderr.text();
    assert!(said.contains("nothing came for 2.5s"), "{said}");
    let closed = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"ping_timeout\"}";
    gateway.wait_metric(closed, 1.0);
}

#[test]
fn listen_stays_on_a_quiet_connection_that_is_alive() {
    let redis = Redis::start();
    let endpoint = rooms().set("format", "json").set("heartbeat", "1s");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let proxy = Proxy::to(&gateway.address);
    let mut listen = listening(&redis, &proxy);
    let heartbeats = |lines: &str| lines.matches(r#"{"type":"heartbeat"}"#).count();
    crate::rig::wait::until("more heartbeats than its patience lasts", || {
        heartbeats(&listen.stdout.text()) >= 4
    });
    assert!(listen.is_running());
}

#[test]
fn heartbeats_come_when_nothing_else_does_and_not_while_messages_flow() {
    let redis = Redis::start();
    let endpoint = rooms().set("format", "json").set("heartbeat", "1s");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let mut client = gateway.open("/ws/rooms/1");
    assert_eq!(client.json()["heartbeat_ms"], 1_000);
    let (flowing, mut last) = (Instant::now(), Instant::now());
    let mut sent = 0;
    while flowing.elapsed() < 3 * HEARTBEAT {
        let asked = Instant::now();
        redis.publish("room:1", sent.to_string());
        let mut frame = client.json();
        // On a machine that stood still for a whole heartbeat one is right.
        while frame["type"] == "heartbeat" && last.elapsed() >= HEARTBEAT {
            frame = client.json();
        }
        assert_eq!(frame["data"], sent, "{frame}");
        (sent, last) = (sent + 1, asked);
    }
    assert_eq!(client.json()["type"], "heartbeat");
    assert!(last.elapsed() >= HEARTBEAT, "{:?}", last.elapsed());
    assert_eq!(client.json()["type"], "heartbeat");
    let deliveries = "sockway_deliveries_total{endpoint=\"rooms\"}";
    gateway.wait_metric(deliveries, f64::from(sent));
}

#[test]
fn a_raw_session_gets_its_notice_as_heartbeat_and_without_one_nothing() {
    let redis = Redis::start();
    let loud = rooms().set("heartbeat", "1s").set("heartbeat_notice", "alive");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(loud));
    assert_eq!(gateway.open("/ws/rooms/1").text(), "alive");

    // Pings mark the time.
    let quiet = rooms().set("heartbeat", "1s").set("ping_interval", "500ms");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(quiet));
    let mut client = gateway.open("/ws/rooms/1");
    for _ in 0..5 {
        let Frame::Ping(payload) = client.frame() else { panic!("only pings are due") };
        client.send(PONG, &payload);
    }
}
