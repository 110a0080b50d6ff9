//! Clients whose network fails silently: no FIN, no reset, no answer to anything.

use crate::rig::{
    Gateway, Redis, Settings, left_out,
    process::{Process, sockway},
    settings::rooms,
    wait::until,
    wire::Wire,
};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const COUNT: usize = 8;

#[test]
fn clients_whose_wire_is_pulled_are_all_reaped_by_their_ping_timeout() {
    let wire = match Wire::lay() {
        Ok(wire) => wire,
        Err(why) => {
            return left_out(&format!(
                "half-open clients need root and a network namespace: {why}"
            ));
        }
    };
    let redis = Redis::start();
    // Long before anything else would notice that they are gone.
    let endpoint = rooms().set("ping_interval", "2s").set("ping_timeout", "3s");
    let timeout = Duration::from_secs(3);
    let settings = Settings::new(&redis).set("server.listen", format!("{}:0", wire.ours));
    let gateway = Gateway::start(&settings.endpoint(endpoint));
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let mut listen = sockway();
    listen.args(["listen", &url]);
    let near = Process::start(&mut listen);
    let far: Vec<_> = (0..COUNT).map(|_| Process::start(&mut wire.far(&listen))).collect();
    let sessions = "sockway_sessions{endpoint=\"rooms\"}";
    gateway.wait_metric(sessions, (COUNT + 1) as f64);
    redis.publish("room:1", "before");
    for client in far.iter().chain([&near]) {
        client.stdout.wait_for("the message", |line| (line == "before").then_some(()));
    }
    // What pulls it may return long after it has.
    let pulled = Instant::now();
    wire.pull();
    until("all are reaped", || gateway.metrics().get(sessions) == 1.0);
    assert!(pulled.elapsed() >= timeout, "they were not reaped by their timeout");
    let reaped = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"ping_timeout\"}";
    gateway.wait_metric(reaped, COUNT as f64);
    redis.publish("room:1", "after");
    near.stdout.wait_for("the message", |line| (line == "after").then_some(()));
}

/// There is no pong to miss: it is what was sent that nobody acknowledges.
#[test]
fn streams_of_events_whose_wire_is_pulled_are_all_ended_by_their_write_timeout() {
    let wire = match Wire::lay() {
        Ok(wire) => wire,
        Err(why) => {
            return left_out(&format!(
                "half-open clients need root and a network namespace: {why}"
            ));
        }
    };
    let redis = Redis::start();
    let endpoint = rooms()
        .set("sse", true)
        .set("heartbeat", "500ms")
        .set("ping_interval", "1s")
        .set("write_timeout", "1s");
    let settings = Settings::new(&redis).set("server.listen", format!("{}:0", wire.ours));
    let gateway = Gateway::start(&settings.endpoint(endpoint));
    let mut read = Command::new("curl");
    read.args(["--silent", "--no-buffer", "--header", "Accept: text/event-stream"]);
    read.arg(format!("http://{}/ws/rooms/1", gateway.address));
    let near = Process::start(&mut read);
    let far: Vec<_> = (0..COUNT).map(|_| Process::start(&mut wire.far(&read))).collect();
    let sessions = "sockway_sessions{endpoint=\"rooms\"}";
    gateway.wait_metric(sessions, (COUNT + 1) as f64);
    redis.publish("room:1", "before");
    for client in far.iter().chain([&near]) {
        client.stdout.wait_for("the message", |line| (line == "data: before").then_some(()));
    }
    wire.pull();
    // A heartbeat, the look behind it, the timeout, and the time that the close has.
    until("all are ended", || gateway.metrics().get(sessions) == 1.0);
    let ended = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"write_timeout\"}";
    gateway.wait_metric(ended, COUNT as f64);
    redis.publish("room:1", "after");
    near.stdout.wait_for("the message", |line| (line == "data: after").then_some(()));
}
