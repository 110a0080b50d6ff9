//! Stopping: every session is told, after what was queued for it, and the exit status is as
//! promised.

use crate::rig::{
    Client, Endpoint, Frame, Gateway, HeldPort, Redis, Request, Settings, http,
    settings::rooms,
    wait::{LIMIT, until},
};
use rustix::process::Signal;
use std::{io::Write, net::TcpStream, thread, time::Duration};

fn start(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&change(Settings::new(&redis).endpoint(rooms())));
    (redis, gateway)
}

fn wait_phase(gateway: &Gateway, phase: &str) {
    until(&format!("phase {phase}"), || gateway.admin("/status").json()["phase"] == phase);
}

#[test]
fn sigterm_and_sigint_close_everybody_with_1012_and_exit_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_redis, mut gateway) = start(|settings| settings);
        let mut clients: Vec<_> =
            (0..20).map(|room| gateway.open(&format!("/ws/rooms/{room}"))).collect();
        gateway.process.signal(signal);
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.assert_closed(1012, "restarting"));
            }
        });
        assert_eq!(gateway.process.exit_code(), 0);
    }
}

#[test]
fn a_gateway_without_sessions_stops_at_once() {
    let (_redis, mut gateway) =
        start(|settings| settings.set("shutdown.spread", "60s").set("shutdown.timeout", "120s"));
    gateway.terminate();
    assert!(gateway.process.exit_within(LIMIT).success());
}

#[test]
fn what_was_queued_is_sent_before_the_close() {
    const MESSAGES: usize = 400;
    let message = |number: usize| format!("{number:0>16384}");
    let redis = Redis::start();
    let wide = Endpoint::new("wide", "/ws/wide", &["news"])
        .open()
        // Room for all that the late one reads only after the end has begun.
        .set("queue_bytes", "64MiB");
    let settings = Settings::new(&redis).set("server.shards", 1).set("shutdown.timeout", "30s");
    let mut gateway = Gateway::start(&settings.endpoint(wide));
    let mut late = Client::open_narrow(gateway.address, &Request::upgrade("/ws/wide"));
    let mut quick = gateway.open("/ws/wide");
    redis.publish_all("news", (0..MESSAGES).map(message));
    (0..MESSAGES).for_each(|number| assert_eq!(quick.text(), message(number)));
    gateway.terminate();
    wait_phase(&gateway, "draining");
    let (texts, close) = late.until_closed();
    assert_eq!(close, (1012, "restarting".to_owned()));
    assert!(texts.iter().enumerate().all(|(number, text)| *text == message(number)));
    assert_eq!(texts.len(), MESSAGES, "all that was queued");
    late.try_send(crate::rig::client::CLOSE, &1012u16.to_be_bytes());
    quick.assert_closed(1012, "restarting");
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn during_readiness_delay_it_is_not_ready_but_still_serves() {
    let (redis, mut gateway) = start(|settings| {
        settings.set("shutdown.readiness_delay", "60s").set("shutdown.timeout", "120s")
    });
    gateway.terminate();
    wait_phase(&gateway, "terminating");
    let readiness = gateway.admin("/readyz");
    assert_eq!(readiness.status, 503);
    assert_eq!(gateway.admin("/livez").status, 200);
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "still served");
    assert_eq!(client.text(), "still served");
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn a_draining_gateway_takes_nobody_new_and_a_second_signal_ends_it_at_once() {
    let port = HeldPort::new().expect("a free port");
    let (_redis, mut gateway) = start(|settings| {
        settings
            .set("server.listen", port.address().to_string())
            .set("shutdown.spread", "60s")
            .set("shutdown.timeout", "120s")
    });
    let mut clients: Vec<_> = (0..20).map(|_| gateway.open("/ws/rooms/1")).collect();
    gateway.terminate();
    wait_phase(&gateway, "draining");
    until("the port is closed", || TcpStream::connect(gateway.address).is_err());
    assert!(!gateway.is_ready());
    gateway.terminate();
    let status = gateway.process.exit_within(LIMIT);
    assert_eq!(status.code(), Some(0));
    let log = gateway.process.stderr.text();
    assert!(!log.contains("ERROR"), "what was asked for is no error: {log}");
    for client in &mut clients {
        match client.event() {
            Frame::End => {}
            other => assert_eq!(other, Frame::Close(1012, "restarting".to_owned())),
        }
    }
}

#[test]
fn a_request_that_is_completed_while_draining_is_503() {
    let (_redis, mut gateway) =
        start(|settings| settings.set("shutdown.spread", "60s").set("shutdown.timeout", "120s"));
    let _held: Vec<_> = (0..20).map(|_| gateway.open("/ws/rooms/1")).collect();
    let request = Request::upgrade("/ws/rooms/1").encode();
    let (begun, rest) = request.split_at(10);
    let mut late = http::connect(gateway.address);
    late.write_all(begun).expect("taken");
    gateway.open("/ws/rooms/1"); // every earlier connection has been accepted
    gateway.terminate();
    wait_phase(&gateway, "draining");
    http::exchange(late, rest).assert_refused(503, "draining");
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn sessions_are_closed_one_by_one_over_the_spread() {
    let (_redis, mut gateway) =
        start(|settings| settings.set("shutdown.spread", "1s").set("shutdown.timeout", "30s"));
    let mut clients: Vec<_> = (0..40).map(|_| gateway.open("/ws/rooms/1")).collect();
    gateway.terminate();
    let start = std::time::Instant::now();
    let mut moments: Vec<Duration> = thread::scope(|scope| {
        let waits: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    client.assert_closed(1012, "restarting");
                    start.elapsed()
                })
            })
            .collect();
        waits.into_iter().map(|wait| wait.join().expect("closed")).collect()
    });
    moments.sort();
    // The middle half of 40 random moments within a second spans some time; closing all at once
    // does not.
    let middle = moments[30] - moments[10];
    assert!(middle > Duration::from_millis(100), "closed within {middle:?}");
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn a_client_that_never_reads_does_not_hold_the_stop_beyond_its_timeout() {
    let (redis, mut gateway) =
        start(|settings| settings.set("shutdown.spread", "50ms").set("shutdown.timeout", "1s"));
    let _stuck = Client::open_narrow(gateway.address, &Request::upgrade("/ws/rooms/1"));
    redis.publish_all("room:1", (0..20).map(|_| "x".repeat(500 * 1024)));
    until("it has all of it", || gateway.metrics().get("sockway_redis_messages_total") >= 20.0);
    gateway.terminate();
    let status = gateway.process.exit_within(LIMIT / 2);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_stop_while_redis_is_away_is_a_stop_all_the_same() {
    let (mut redis, mut gateway) = start(|settings| settings);
    let mut client = gateway.open("/ws/rooms/1");
    redis.kill();
    gateway.wait_unready();
    gateway.terminate();
    client.assert_closed(1012, "restarting");
    assert_eq!(gateway.process.exit_code(), 0);
}
