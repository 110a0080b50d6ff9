//! Liveness of clients: pings, closes, and clients that vanish.

use crate::rig::{
    Endpoint, Frame, Gateway, Redis, Request, Settings,
    client::{BINARY, CLOSE, Client, PING, PONG, TEXT},
    proxy::{Proxy, Weather},
    settings::rooms,
};

fn start(endpoint: Endpoint) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    (redis, gateway)
}

fn closed(reason: &str) -> String {
    format!("sockway_sessions_closed_total{{endpoint=\"rooms\",reason=\"{reason}\"}}")
}

/// Pings soon, and waits long enough for the pongs of a test that had to wait for the processor.
fn impatient() -> Endpoint {
    rooms().set("ping_interval", "200ms").set("ping_timeout", "3s")
}

#[test]
fn a_client_that_answers_pings_stays_and_one_that_does_not_is_closed_with_3008() {
    let (redis, gateway) = start(impatient());
    let mut dead = gateway.open("/ws/rooms/1");
    let close = loop {
        match dead.frame() {
            Frame::Ping(_) => {}
            other => break other,
        }
    };
    assert_eq!(close, Frame::Close(3008, "ping_timeout".to_owned()));
    drop(dead);
    gateway.wait_metric(&closed("ping_timeout"), 1.0);

    let mut lively = gateway.open("/ws/rooms/1");
    for _ in 0..5 {
        let Frame::Ping(payload) = lively.frame() else { panic!("only pings are due") };
        lively.send(PONG, &payload);
    }
    redis.publish("room:1", "still here");
    assert_eq!(lively.text(), "still here");
}

#[test]
fn a_client_behind_a_black_hole_is_reaped_by_its_ping_timeout() {
    let (_redis, gateway) = start(impatient());
    let proxy = Proxy::to(&gateway.address);
    let _client = Client::open(proxy.address, &Request::upgrade("/ws/rooms/1"));
    proxy.set(Weather::BlackHole);
    gateway.wait_metric(&closed("ping_timeout"), 1.0);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
}

#[test]
fn a_ping_is_answered_by_a_pong_with_its_payload() {
    let (_redis, gateway) = start(rooms());
    let mut client = gateway.open("/ws/rooms/1");
    for payload in [&b""[..], b"x", &[0xFF; 125]] {
        client.send(PING, payload);
        assert_eq!(client.frame(), Frame::Pong(payload.to_vec()));
    }
    client.send(PONG, b"nobody asked");
    client.send(PING, b"still here");
    assert_eq!(client.frame(), Frame::Pong(b"still here".to_vec()));
}

#[test]
fn a_close_is_answered_and_counted_as_bye() {
    let (_redis, gateway) = start(rooms());
    assert_eq!(gateway.open("/ws/rooms/1").bye().0, 1000);
    gateway.wait_metric(&closed("bye"), 1.0);

    let mut going_away = gateway.open("/ws/rooms/1");
    going_away.send(CLOSE, &[&1001u16.to_be_bytes()[..], "tab closed".as_bytes()].concat());
    assert!(matches!(going_away.frame(), Frame::Close(1000 | 1001, _)));
    assert_eq!(going_away.frame(), Frame::End);

    let mut silent = gateway.open("/ws/rooms/1");
    silent.send(CLOSE, b"");
    assert!(matches!(silent.frame(), Frame::Close(1000 | 1005, _)));
    assert_eq!(silent.frame(), Frame::End);
    gateway.wait_metric(&closed("bye"), 3.0);
}

#[test]
fn clients_that_vanish_are_counted_and_leave_nothing_behind() {
    let (redis, gateway) = start(rooms());
    drop(gateway.open("/ws/rooms/1"));
    gateway.open("/ws/rooms/1").reset();
    gateway.wait_metric(&closed("peer_gone"), 2.0);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    redis.wait_numsub("room:1", 0);
}

#[test]
fn what_a_client_says_is_ignored_or_closes_as_configured() {
    let (redis, gateway) = start(rooms().set("inbound", "ignore"));
    let mut chatty = gateway.open("/ws/rooms/1");
    chatty.send(TEXT, b"hello?");
    chatty.send(BINARY, &[0xFF; 1000]);
    redis.publish("room:1", "unmoved");
    assert_eq!(chatty.text(), "unmoved");

    let (_redis, strict) = start(rooms().set("inbound", "close"));
    for first in [TEXT, BINARY] {
        let mut chatty = strict.open("/ws/rooms/1");
        chatty.send(first, b"hello?");
        chatty.assert_closed(1003, "unexpected_message");
    }
    strict.wait_metric(&closed("unexpected_message"), 2.0);
}

#[test]
fn an_idle_session_is_told_nothing_but_pings() {
    let (redis, gateway) = start(impatient());
    let mut client = gateway.open("/ws/rooms/1");
    for _ in 0..3 {
        let Frame::Ping(payload) = client.frame() else { panic!("only pings are due") };
        assert!(payload.len() <= 125);
        client.send(PONG, &payload);
    }
    redis.publish("room:1", "news");
    assert_eq!(client.text(), "news");
}
