//! A session over Server-Sent Events: what its client is sent, and what ends it.

use crate::{
    bus::{Event, Revoke},
    endpoint::{Endpoint, Format},
    net::Transport,
    reason::{CloseReason, GapReason},
    shard::{
        SessionSpec,
        rig::{Rig, endpoint, identity, open as open_plain, orders, run, settle, spec},
    },
    wire::sse::Body,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{Instant, sleep},
};

/// Its client's end.
struct Client(UnixStream);

impl Client {
    /// The next chunk's event; `None`: the connection ended.
    async fn next(&mut self) -> Option<String> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut event = vec![0; size + 2];
        self.0.read_exact(&mut event).await.unwrap();
        Some(String::from_utf8(event).unwrap().strip_suffix("\r\n").unwrap().to_owned())
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.ok()?);
        }
        Some(String::from_utf8(line).unwrap().trim_end().to_owned())
    }

    /// The close, the empty chunk behind it, and the end of the connection.
    async fn assert_closed(&mut self, retry: &str, data: &str) {
        let close = format!("{retry}event: close\ndata: {data}\n\n");
        assert_eq!(self.next().await.unwrap(), close);
        let told = Instant::now();
        assert_eq!(self.next().await.unwrap(), "", "the end of the body");
        assert_eq!(self.0.read(&mut [0]).await.unwrap(), 0);
        assert!(told.elapsed() < Duration::from_secs(1), "it waited for an answer");
    }
}

const A_DAY: &str = "retry: 86400000\n";

/// Opens an event stream in `orders`, and reads its first event.
async fn open(rig: &mut Rig, endpoint: Endpoint) -> (Client, String) {
    // A session that has the channel already keeps it confirmed.
    let _first = rig.connect(endpoint.clone()).await;
    let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
    let codec = endpoint.format.over_event_stream(Body::Chunked);
    let spec = SessionSpec { codec, ..spec(endpoint, identity()) };
    let pending = open_plain(subscription, spec).await;
    let (ours, theirs) = UnixStream::pair().unwrap();
    pending.start(Transport::Unix(ours), &Bytes::new());
    let mut client = Client(theirs);
    let ready = client.next().await.unwrap();
    (client, ready)
}

fn message(data: &str) -> String {
    format!("data: {data}\n\n")
}

fn closed(rig: &Rig, reason: CloseReason) -> u64 {
    rig.metrics().closed[reason.index()].load()
}

#[test]
fn ready_messages_and_gaps_come_as_events_in_their_order() {
    run(async {
        let mut rig = Rig::new();
        let (mut client, ready) = open(&mut rig, endpoint()).await;
        let (retry, rest) = ready.split_once('\n').unwrap();
        assert!(retry.starts_with("retry: "), "{ready}");
        assert!(rest.starts_with(r#"event: ready"#) && rest.contains(r#""channels":["orders"]"#));
        assert!(rest.contains(r#""heartbeat_ms":25000}"#), "{ready}");
        rig.publish("orders", "1");
        rig.event(Event::Gap(orders(), GapReason::RedisReconnected));
        rig.publish("orders", "2");
        assert_eq!(client.next().await.unwrap(), message("1"));
        let gap = r#"{"type":"gap","channel":"orders","reason":"redis_reconnected","missed":null}"#;
        assert_eq!(client.next().await.unwrap(), format!("event: gap\n{}", message(gap)));
        assert_eq!(client.next().await.unwrap(), message("2"));
        assert_eq!(rig.metrics().deliveries.load(), 2, "the first session left before");
        let json = Endpoint { format: Format::Json, ..endpoint() };
        let (mut client, _) = open(&mut rig, json).await;
        rig.publish("orders", "3");
        let data = r#"{"type":"message","channel":"orders","data":3}"#;
        assert_eq!(client.next().await.unwrap(), message(data));
    });
}

#[test]
fn a_raw_stream_has_heartbeats_and_no_pings() {
    run(async {
        let mut rig = Rig::new();
        let (mut client, _) = open(&mut rig, endpoint()).await;
        let mut last = Instant::now();
        for _ in 0..5 {
            let beat = "event: heartbeat\ndata: {\"type\":\"heartbeat\"}\n\n";
            assert_eq!(client.next().await.unwrap(), beat);
            assert!(last.elapsed() <= Duration::from_millis(25_350), "{:?}", last.elapsed());
            last = Instant::now();
        }
    });
}

#[test]
fn bytes_behind_the_request_end_the_session_and_their_sender_is_told() {
    run(async {
        let mut rig = Rig::new();
        let (mut client, _) = open(&mut rig, endpoint()).await;
        client.0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        client.assert_closed(A_DAY, r#"{"code":1003,"reason":"unexpected_message"}"#).await;
        drop(client);
        settle().await;
        assert_eq!(closed(&rig, CloseReason::UnexpectedMessage), 1);
    });
}

#[test]
fn a_client_that_stops_sending_has_left() {
    run(async {
        let mut rig = Rig::new();
        let (mut client, _) = open(&mut rig, endpoint()).await;
        settle().await;
        let before = closed(&rig, CloseReason::PeerGone);
        client.0.shutdown().await.unwrap();
        assert_eq!(client.next().await, None, "no close is told to who has left");
        settle().await;
        assert_eq!(closed(&rig, CloseReason::PeerGone), before + 1);
    });
}

#[test]
fn a_close_is_the_last_event_and_ends_the_connection_without_an_answer() {
    run(async {
        let mut rig = Rig::new();
        let (mut client, _) = open(&mut rig, endpoint()).await;
        rig.publish("orders", "1");
        rig.shard.registry.drain(Duration::ZERO);
        assert_eq!(client.next().await.unwrap(), message("1"));
        client.assert_closed("", r#"{"code":1012,"reason":"restarting"}"#).await;

        let mut rig = Rig::new();
        let (mut client, _) = open(&mut rig, endpoint()).await;
        rig.revoke(Revoke::User("42".into()));
        client.assert_closed(A_DAY, r#"{"code":3000,"reason":"revoked"}"#).await;
    });
}

/// Resolves once a session was closed by its write timeout.
async fn timed_out(rig: &Rig) {
    while closed(rig, CloseReason::WriteTimeout) == 0 {
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn who_acknowledges_nothing_of_its_heartbeats_is_ended_by_the_write_timeout() {
    run(async {
        let mut rig = Rig::new();
        let (dead, _) = open(&mut rig, endpoint()).await;
        let (mut alive, _) = open(&mut rig, endpoint()).await;
        let began = Instant::now();
        let reading = async { while alive.next().await.is_some() {} };
        let watching = timed_out(&rig);
        tokio::select! {
            () = reading => panic!("who reads is left alone"),
            () = watching => {}
        }
        // A heartbeat, the next keepalive, the write timeout, and half a second for the close.
        assert!(began.elapsed() <= Duration::from_secs(25 + 25 + 10 + 2), "{:?}", began.elapsed());
        drop(dead);
        let more = async { while alive.next().await.is_some() {} };
        tokio::select! {
            () = more => panic!("who reads is left alone"),
            () = sleep(Duration::from_secs(600)) => {}
        }
    });
}

#[test]
fn a_client_whose_socket_is_full_has_no_time_for_the_close_after_the_write_timeout() {
    run(async {
        let mut rig = Rig::new();
        let (_dead, _) = open(&mut rig, endpoint()).await;
        let began = Instant::now();
        rig.publish("orders", &"x".repeat(1 << 20));
        timed_out(&rig).await;
        assert!(began.elapsed() <= Duration::from_secs(10 + 2), "{:?}", began.elapsed());
    });
}
