//! When a session gets a heartbeat, and what it costs.

use crate::{
    endpoint::{Endpoint, Format},
    shard::rig::{Client, Frame, Rig, bulky, endpoint, run, settle, text},
    wire::HeartbeatNotice,
};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const HEARTBEAT: Duration = Duration::from_secs(25);

fn json() -> Endpoint {
    Endpoint { format: Format::Json, ..endpoint() }
}

fn beat() -> Frame {
    text(r#"{"type":"heartbeat"}"#)
}

/// Reads the next frame that a page would see, and answers pings as its browser does.
async fn next(client: &mut Client) -> Frame {
    loop {
        match client.next().await {
            Frame::Ping => client.send(0x8A, b"").await,
            frame => return frame,
        }
    }
}

/// Whether a deadline of the wheel was met: never early, late by two ticks and a bit at the most.
fn assert_took(since: Instant, expected: Duration) {
    let took = since.elapsed();
    assert!(took >= expected && took < expected + Duration::from_millis(350), "{took:?}");
}

#[test]
fn a_heartbeat_comes_when_nothing_else_came_for_so_long_and_none_while_messages_flow() {
    run(async {
        let mut rig = Rig::new();
        // No ping: while this waits, nobody would answer it.
        let ping_interval = 100 * HEARTBEAT;
        let mut client = rig.connect(Endpoint { ping_interval, ..json() }).await;
        assert!(matches!(next(&mut client).await, Frame::Text(_)), "ready");
        for number in 0..20 {
            sleep(HEARTBEAT - Duration::from_secs(1)).await;
            rig.publish("orders", &number.to_string());
            let message = format!(r#"{{"type":"message","channel":"orders","data":{number}}}"#);
            assert_eq!(next(&mut client).await, text(&message));
        }
        let last = Instant::now();
        assert_eq!(next(&mut client).await, beat());
        assert_took(last, HEARTBEAT);
        assert_eq!(rig.metrics().deliveries.load(), 20, "a heartbeat is no delivery");
    });
}

#[test]
fn pings_and_pongs_do_not_put_a_heartbeat_off() {
    run(async {
        let mut rig = Rig::new();
        let ping_interval = Duration::from_secs(3);
        let mut client = rig.connect(Endpoint { ping_interval, ..json() }).await;
        assert!(matches!(next(&mut client).await, Frame::Text(_)), "ready");
        let opened = Instant::now();
        client.send(0x89, b"a page sees no pong").await;
        assert!(matches!(client.next().await, Frame::Pong(_)));
        assert_eq!(next(&mut client).await, beat());
        assert_took(opened, HEARTBEAT);
    });
}

#[test]
fn an_idle_session_is_woken_once_for_its_ping_and_its_heartbeat() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(json()).await;
        assert!(matches!(next(&mut client).await, Frame::Text(_)), "ready");
        assert_eq!(next(&mut client).await, beat());
        for _ in 0..10 {
            let waited = Instant::now();
            assert_eq!(client.next().await, Frame::Ping);
            let pinged = Instant::now();
            assert!(waited.elapsed() <= HEARTBEAT + Duration::from_millis(350));
            assert_eq!(client.next().await, beat());
            assert_eq!(pinged.elapsed(), Duration::ZERO, "with the same write");
            client.send(0x8A, b"").await;
        }
    });
}

#[test]
fn no_heartbeat_is_queued_while_something_else_waits() {
    run(async {
        let mut rig = Rig::new();
        let write_timeout = 10 * HEARTBEAT;
        let mut client = rig.connect(Endpoint { write_timeout, ..json() }).await;
        assert!(matches!(next(&mut client).await, Frame::Text(_)), "ready");
        rig.publish("orders", &bulky());
        settle().await;
        sleep(3 * HEARTBEAT).await;
        let Frame::Text(message) = client.next().await else { panic!("the message is first") };
        assert!(message.starts_with(r#"{"type":"message""#));
        let read = Instant::now();
        assert_eq!(next(&mut client).await, beat());
        assert_took(read, HEARTBEAT);
    });
}

#[test]
fn a_raw_session_has_the_heartbeat_of_its_notice_and_without_one_none() {
    run(async {
        for (heartbeat, heartbeat_notice, expected) in [
            (Some(HEARTBEAT), Some(HeartbeatNotice::new("beat")), Some(text("beat"))),
            (Some(HEARTBEAT), None, None),
            (None, Some(HeartbeatNotice::new("beat")), None),
        ] {
            let mut rig = Rig::new();
            let mut client =
                rig.connect(Endpoint { heartbeat, heartbeat_notice, ..endpoint() }).await;
            let got = timeout(10 * HEARTBEAT, next(&mut client)).await.ok();
            assert_eq!(got, expected);
        }
    });
}

#[test]
fn a_json_endpoint_without_a_heartbeat_sends_none_and_says_none() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(Endpoint { heartbeat: None, ..json() }).await;
        let Frame::Text(ready) = next(&mut client).await else { panic!("no ready") };
        assert!(!ready.contains("heartbeat"), "{ready}");
        assert!(timeout(10 * HEARTBEAT, next(&mut client)).await.is_err());
    });
}
