//! The Redis side against real `redis-server` children, one a test.

use super::{
    Credentials, LinkStatus, Login, Status, Upstream,
    test_server::{HeldPort, Server, call, command, configured, read_reply},
};
use crate::{
    bus::{
        Event, RejectedBy, Request, RequestBatch, Revoke, ShardEnd, SubscriptionEvent, UpstreamEnd,
        queues_for_tests,
    },
    channel::ChannelName,
    config::{self, RedisAddress, RedisTls},
    liveness::Liveness,
    metrics::Metrics,
    secret::Secret,
};
use rustix::process::Signal;
use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

mod load;
mod outages;
mod presence;
mod publishing;
mod rights;
mod streams;
mod troubles;

const PATIENCE: Duration = Duration::from_secs(30);

/// The Redis side and one shard.
struct Rig {
    shard: ShardEnd,
    sequence: u64,
    status: watch::Receiver<Status>,
    metrics: Arc<Metrics>,
    credentials: Credentials,
    task: AbortOnDropHandle<()>,
}

fn settings(server: &Server) -> config::Redis {
    config::Redis {
        address: RedisAddress::Unix(server.socket()),
        database: 0,
        tls: RedisTls::default(),
        username: None,
        password: None,
        probe_interval: Duration::from_secs(1),
        probe_timeout: Duration::from_secs(1),
        reconnect_min: Duration::from_millis(100),
        reconnect_max: Duration::from_secs(5),
        probe_channel: Some("sockway:probe".to_owned()),
        linger: Duration::from_millis(300),
        control_channel: Some("sockway:control".to_owned()),
        on_revocation_gap: config::OnRevocationGap::Warn,
        max_payload: (8 << 20).try_into().unwrap(),
        channel_prefix: String::new(),
        max_patterns: const { std::num::NonZeroUsize::new(100).unwrap() },
        max_streams: const { std::num::NonZeroUsize::new(200_000).unwrap() },
        stream_poll: None,
        stream_field: "data".to_owned(),
    }
}

impl Rig {
    fn start(settings: config::Redis) -> Self {
        Self::with(settings, queues_for_tests(1))
    }

    fn with(settings: config::Redis, (end, mut shards): (UpstreamEnd, Vec<ShardEnd>)) -> Self {
        let metrics = Arc::new(Metrics::new(1, &[]));
        let (upstream, status) = Upstream::new(settings, end, Arc::clone(&metrics));
        let credentials = upstream.credentials();
        let task = AbortOnDropHandle::new(tokio::spawn(
            upstream.run(Liveness::default().part("Redis side")),
        ));
        Self { shard: shards.remove(0), sequence: 0, status, metrics, credentials, task }
    }

    async fn up(server: &Server) -> Self {
        let mut rig = Self::start(settings(server));
        rig.until_up().await;
        rig
    }

    async fn until(&mut self, rule: impl Fn(&Status) -> bool) -> Status {
        let status = timeout(PATIENCE, self.status.wait_for(|status| rule(status))).await;
        status.expect("in time").unwrap().clone()
    }

    async fn until_up(&mut self) {
        self.until(|status| status.link == LinkStatus::Up).await;
    }

    /// Waits until it is down for a reason with this in it.
    async fn until_down(&mut self, text: &str) -> String {
        let has =
            |link: &LinkStatus| matches!(link, LinkStatus::Down(reason) if reason.contains(text));
        match self.until(|status| has(&status.link)).await.link {
            LinkStatus::Down(reason) => reason,
            LinkStatus::Up => unreachable!("waited for the contrary"),
        }
    }

    async fn request(&mut self, requests: Vec<Request>) {
        self.sequence += 1;
        let request = RequestBatch { shard: 0, sequence: self.sequence, requests };
        self.shard.requests.send(request).await.unwrap();
    }

    async fn join(&mut self, channels: &[String]) {
        self.request(channels.iter().map(|channel| Request::Subscribe(name(channel))).collect())
            .await;
    }

    async fn subscription_event(&mut self, count: usize) -> Vec<SubscriptionEvent> {
        let mut all = Vec::new();
        while all.len() < count {
            let subscription_events =
                timeout(PATIENCE, self.shard.subscription_events.recv()).await;
            all.extend(subscription_events.expect("in time").unwrap().events);
        }
        all
    }

    async fn joined(&mut self, channel: &str) {
        self.join(&[channel.to_owned()]).await;
        assert_eq!(self.subscription_event(1).await, [SubscriptionEvent::Confirmed(name(channel))]);
    }

    async fn event(&mut self) -> String {
        let event = timeout(PATIENCE, self.shard.ring.recv()).await.expect("in time").unwrap();
        match event {
            Event::Message(message) => {
                format!("{}={}", message.channel, String::from_utf8_lossy(message.payload()))
            }
            Event::Lost(channels) => format!("lost {}", channels.len()),
            Event::Gap(channel, reason) => format!("gap {channel} {}", reason.label()),
        }
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel)
}

fn lost(channels: &[&str]) -> SubscriptionEvent {
    SubscriptionEvent::Lost(channels.iter().map(|channel| name(channel)).collect())
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user:{n}:news")).collect()
}

/// Waits for a fact outside of the program.
async fn eventually(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_published_after_a_confirmation_arrives() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    for n in 0..100 {
        server.publish("a", &n.to_string());
    }
    server.publish("a", "");
    server.publish("a", "grüß");
    for n in 0..100 {
        assert_eq!(rig.event().await, format!("a={n}"));
    }
    assert_eq!(rig.event().await, "a=");
    assert_eq!(rig.event().await, "a=grüß");
    server.publish("sockway:control", r#"{"disconnect":{"user":42}}"#);
    let revoke = timeout(PATIENCE, rig.shard.revocations.recv()).await.expect("in time");
    assert_eq!(revoke, Some(Revoke::User("42".into())));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn it_works_over_tcp_with_a_prefix_and_a_database() {
    let held = HeldPort::new().unwrap();
    let port = held.address().port();
    let server = Server::start(&["--port", &port.to_string()]);
    let address = RedisAddress::Tcp { host: "127.0.0.1".to_owned(), port, tls: false };
    let prefix = "tenant:".to_owned();
    let mut rig = Rig::start(config::Redis {
        address,
        database: 3,
        channel_prefix: prefix,
        max_patterns: const { std::num::NonZeroUsize::new(100).unwrap() },
        max_streams: const { std::num::NonZeroUsize::new(200_000).unwrap() },
        stream_poll: None,
        stream_field: "data".to_owned(),
        ..settings(&server)
    });
    rig.until_up().await;
    rig.joined("a").await;
    assert_eq!(server.subscribers(&["tenant:a".into(), "tenant:sockway:probe".into()]), 2);
    server.publish("a", "not ours");
    server.publish("tenant:a", "ours");
    assert_eq!(rig.event().await, "a=ours");
    assert!(server.call(&["CLIENT", "LIST"])[0].contains("name=sockway"));
}

#[tokio::test]
async fn the_last_leave_unsubscribes_after_the_linger() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    let channel = ["a".to_owned()];
    assert_eq!(server.subscribers(&channel), 1);
    rig.request(vec![Request::Unsubscribe(name("a"))]).await;
    rig.joined("a").await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(server.subscribers(&channel), 1);
    rig.request(vec![Request::Unsubscribe(name("a"))]).await;
    eventually("unsubscribed", || server.subscribers(&channel) == 0).await;
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let server = Server::start(&[]);
    let rig = Rig::up(&server).await;
    assert_eq!(server.connections(), 2);
    rig.task.abort();
    eventually("closed", || server.connections() == 0).await;
}
