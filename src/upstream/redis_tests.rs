//! The Redis side against real `redis-server` children, one a test.

use super::{
    Credentials, LinkStatus, Login, Status, Upstream,
    test_server::{HeldPort, Server, call, certify, command, configured, read_reply},
};
use crate::{
    bus::{
        Event, RejectedBy, Request, RequestBatch, Revoke, ShardEnd, SubscriptionEvent,
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
    }
}

impl Rig {
    fn start(settings: config::Redis) -> Self {
        let (end, mut shards) = queues_for_tests(1);
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
async fn the_smallest_acl_is_enough_and_refuses_only_what_it_does_not_name() {
    let server = Server::start(&[]);
    let rule = "ACL SETUSER gateway on >hunter2 resetchannels &user:*:news -@all +subscribe \
                +unsubscribe +ping +hello +auth +quit +reset +client|setname +client|id";
    let mut words: Vec<_> = rule.split_whitespace().collect();
    words.push("(+publish +subscribe &sockway:probe*)");
    assert_eq!(server.call(&words), ["OK"]);
    let mut rig = Rig::start(config::Redis {
        username: Some("gateway".to_owned()),
        password: Some(Secret::new("hunter2".to_owned())),
        ..settings(&server)
    });
    rig.until_up().await;

    let mut channels = numbered(300);
    channels.insert(123, "forbidden".to_owned());
    rig.join(&channels).await;
    let subscription_events = rig.subscription_event(301).await;
    let refused: Vec<_> = subscription_events
        .iter()
        .filter(|it| !matches!(it, SubscriptionEvent::Confirmed(_)))
        .collect();
    assert_eq!(refused, [&SubscriptionEvent::Rejected(name("forbidden"), RejectedBy::Redis)]);
    assert_eq!(server.subscribers(&channels), 300);
    server.publish("user:299:news", "hello");
    assert_eq!(rig.event().await, "user:299:news=hello");
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test]
async fn after_a_kill_and_a_restart_a_gap_stands_before_the_new_messages() {
    let mut server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.publish("a", "before");
    assert_eq!(rig.event().await, "a=before");
    server.kill();
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    rig.until_down("").await;
    server.restart();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    server.publish("a", "after");
    assert_eq!(rig.event().await, "lost 1");
    assert_eq!(rig.event().await, "gap a redis_reconnected");
    assert_eq!(rig.event().await, "a=after");
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 1);
    assert!(rig.metrics.upstream.outage_seconds.get() > 0.0);
}

#[tokio::test]
async fn a_hung_redis_is_noticed_and_delivers_again_soon_after_it_wakes() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.signal(Signal::STOP);
    let hung = Instant::now();
    rig.until_down("no answer within 1s").await;
    assert!(hung.elapsed() < Duration::from_secs(5), "{:?}", hung.elapsed());
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    sleep(Duration::from_secs(1)).await;
    server.signal(Signal::CONT);
    let woken = Instant::now();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    assert!(woken.elapsed() < Duration::from_secs(2), "{:?}", woken.elapsed());
    rig.until_up().await;
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
async fn five_thousand_channels_come_back_each_time_and_nothing_leaks() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    let channels = numbered(5_000);
    rig.join(&channels).await;
    assert!(
        rig.subscription_event(5_000)
            .await
            .iter()
            .all(|it| matches!(it, SubscriptionEvent::Confirmed(_)))
    );
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for round in 1..=5 {
        server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let lost = rig.subscription_event(1).await;
        assert!(matches!(&lost[..], [SubscriptionEvent::Lost(all)] if all.len() == 5_000));
        assert_eq!(rig.subscription_event(5_000).await.len(), 5_000);
        rig.until_up().await;
        assert_eq!(server.subscribers(&channels), 5_000);
        assert_eq!(rig.metrics.upstream.reconnects.get(), round);
        while rig.shard.ring.try_recv().is_some() {}
    }
    eventually("old connections are closed", || server.connections() == 2).await;
    let now = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(now <= tasks, "{now} tasks, {tasks} before");
}

#[tokio::test]
async fn stopping_closes_every_connection() {
    let server = Server::start(&[]);
    let rig = Rig::up(&server).await;
    assert_eq!(server.connections(), 2);
    rig.task.abort();
    eventually("closed", || server.connections() == 0).await;
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_not_ready_with_the_reason_and_never_the_secret() {
    let server = Server::start(&["--requirepass", "right"]);
    let mut rig = Rig::start(settings(&server));
    rig.until_down("NOAUTH").await;
    let password = Some(Secret::new("hunter2".to_owned()));
    let mut rig = Rig::start(config::Redis { password, ..settings(&server) });
    let reason = rig.until_down("WRONGPASS").await;
    assert!(!reason.contains("hunter2"));
    let password = Some(Secret::new("right".to_owned()));
    let mut rig = Rig::start(config::Redis { password, ..settings(&server) });
    rig.until_up().await;
}

#[tokio::test]
async fn a_full_redis_is_dialled_at_most_ten_times_in_ten_seconds() {
    let server = Server::start(&["--maxclients", "1"]);
    // Takes the only place, once the connection that waited for the start is gone.
    let only = loop {
        let stream = UnixStream::connect(server.socket()).unwrap();
        if call(&stream, &["PING"]) == ["PONG"] {
            break stream;
        }
    };
    let rejected = || -> usize {
        let stats = call(&only, &["INFO", "stats"]).remove(0);
        let count = stats.lines().find_map(|line| line.strip_prefix("rejected_connections:"));
        count.unwrap().parse().unwrap()
    };
    let before = rejected();
    let mut rig = Rig::start(settings(&server));
    rig.until_down("").await;
    sleep(Duration::from_secs(10)).await;
    let dials = rejected() - before;
    assert!((3..=10).contains(&dials), "{dials} dials");
    assert_eq!(call(&only, &["CONFIG", "SET", "maxclients", "100"]), ["OK"]);
    rig.until_up().await;
}

#[tokio::test]
async fn a_gateway_that_starts_before_redis_is_ready_when_redis_is() {
    let mut server = Server::start(&[]);
    server.kill();
    let mut rig = Rig::start(settings(&server));
    rig.until_down("No such file").await;
    rig.join(&["a".to_owned()]).await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_event(1).await, [refused]);
    server.restart();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    rig.until_up().await;
}

#[tokio::test]
async fn a_publish_that_is_forbidden_is_not_ready_but_still_delivers() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "-publish"]);
    let mut rig = Rig::start(settings(&server));
    rig.until_down("'publish'").await;
    rig.joined("a").await;
    server.call(&["ACL", "SETUSER", "default", "+publish"]);
    server.publish("a", "still here");
    assert_eq!(rig.event().await, "a=still here");
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    let messages: Vec<_> = (0..10_000).map(|n: u32| n.to_string()).collect();
    let burst: Vec<_> = messages.iter().flat_map(|n| command(&["PUBLISH", "a", n])).collect();
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream.write_all(&burst).unwrap();
    for n in &messages {
        assert_eq!(rig.event().await, format!("a={n}"));
    }
    assert_eq!(rig.metrics.upstream.messages.get(), 10_000);
}

#[tokio::test]
async fn a_flood_longer_than_the_probes_timeout_is_not_taken_for_death() {
    // Else Redis would end a subscriber that is so far behind, which is another matter.
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut rig = Rig::start(config::Redis {
        probe_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_millis(500),
        ..settings(&server)
    });
    rig.until_up().await;
    rig.joined("a").await;
    let socket = server.socket();
    let flood = std::thread::spawn(move || {
        let burst = command(&["PUBLISH", "a", "0123456789abcdef"]).repeat(1_000);
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..100 {
            stream.write_all(&burst).unwrap();
            (0..1_000).for_each(|_| read_reply(&mut replies, &mut Vec::new()));
        }
    });
    for channel in numbered(10) {
        rig.join(std::slice::from_ref(&channel)).await;
        let event = rig.subscription_event(1).await;
        let link = rig.status.borrow().link.clone();
        assert_eq!(event, [SubscriptionEvent::Confirmed(name(&channel))], "{link:?}");
    }
    let messages = rig.metrics.upstream.messages.clone();
    eventually("all of the flood has arrived", || messages.get() == 100_000).await;
    assert!(flood.is_finished());
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}
