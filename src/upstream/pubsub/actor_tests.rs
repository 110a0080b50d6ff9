//! The actor over a fake Redis, with paused time.

use super::*;
use crate::{
    bus::{Event, Revoke, ShardEnd, ShardId, SubscriptionEvents, queues_for_tests},
    channel::ChannelName,
    upstream::{
        LinkStatus,
        fake_redis::{Fake, Sent, Server},
        link::{Command, Role},
        pubsub::Target,
    },
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(120);

/// An actor over a fake Redis, and its shards.
struct Rig {
    redis: Fake,
    shards: Vec<ShardEnd>,
    sequence: u64,
    status: watch::Receiver<Status>,
    metrics: Arc<Metrics>,
}

fn settings() -> config::Redis {
    config::Redis {
        address: config::RedisAddress::Tcp { host: "unused".to_owned(), port: 1, tls: false },
        tls: config::RedisTls::default(),
        database: 0,
        username: None,
        password: None,
        probe_interval: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(2),
        reconnect_min: Duration::from_millis(100),
        reconnect_max: Duration::from_secs(5),
        probe_channel: Some("probe".to_owned()),
        linger: Duration::from_secs(1),
        control_channel: Some("control".to_owned()),
        on_revocation_gap: OnRevocationGap::Warn,
        max_payload: 100.try_into().unwrap(),
        channel_prefix: "p:".to_owned(),
    }
}

impl Rig {
    fn start(prepare: impl FnOnce(&mut Server)) -> Self {
        Self::start_with(settings(), prepare)
    }

    fn start_with(settings: config::Redis, prepare: impl FnOnce(&mut Server)) -> Self {
        let redis = Fake::default();
        prepare(&mut redis.lock());
        let (end, shards) = queues_for_tests(2);
        let metrics = Arc::new(Metrics::new(2, &[]));
        let (actor, status) = Actor::new(redis.clone(), settings, end, Arc::clone(&metrics));
        tokio::spawn(actor.run());
        Self { redis, shards, sequence: 0, status, metrics }
    }

    async fn up() -> Self {
        let mut rig = Self::start(|_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        rig
    }

    async fn until(&mut self, rule: impl Fn(&Status) -> bool) -> Status {
        let status = timeout(PATIENCE, self.status.wait_for(|status| rule(status))).await;
        status.expect("in time").unwrap().clone()
    }

    async fn until_down(&mut self) -> String {
        match self.until(|status| status.link != LinkStatus::Up).await.link {
            LinkStatus::Down(reason) => reason,
            LinkStatus::Up => unreachable!("waited for the contrary"),
        }
    }

    async fn request(&mut self, shard: ShardId, requests: Vec<Request>) {
        self.sequence += 1;
        let request = RequestBatch { shard, sequence: self.sequence, requests };
        self.shards[shard].requests.send(request).await.unwrap();
    }

    async fn join(&mut self, shard: ShardId, channel: &str) {
        self.request(shard, vec![Request::Subscribe(name(channel))]).await;
    }

    async fn leave(&mut self, shard: ShardId, channel: &str) {
        self.request(shard, vec![Request::Unsubscribe(name(channel))]).await;
    }

    async fn subscription_events(&mut self, shard: ShardId) -> SubscriptionEvents {
        let subscription_events =
            timeout(PATIENCE, self.shards[shard].subscription_events.recv()).await;
        subscription_events.expect("in time").unwrap()
    }

    async fn joined(&mut self, shard: ShardId, channel: &str) {
        self.join(shard, channel).await;
        assert_eq!(
            self.subscription_events(shard).await.events,
            [SubscriptionEvent::Confirmed(name(channel))]
        );
    }

    /// What is in a shard's ring now, in words.
    fn ring(&mut self, shard: ShardId) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            words.push(match self.shards[shard].ring.try_recv() {
                Some(Ok(Event::Message(message))) => {
                    let payload = String::from_utf8_lossy(message.payload());
                    format!("{}={payload}", message.channel)
                }
                Some(Ok(Event::Lost(channels))) => {
                    let mut names: Vec<_> = channels.iter().map(ChannelName::as_str).collect();
                    names.sort_unstable();
                    format!("lost {}", names.join(" "))
                }
                Some(Ok(Event::Gap(channel, reason))) => {
                    format!("gap {channel} {}", reason.label())
                }
                Some(Err(error)) => format!("{error}"),
                None => return words,
            });
        }
    }

    /// What a shard was told to revoke.
    fn revoked(&mut self, shard: ShardId) -> Vec<Revoke> {
        std::iter::from_fn(|| self.shards[shard].revocations.try_recv().ok()).collect()
    }

    /// Lets everything that is ready happen.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel)
}

fn lost(channels: &[&str]) -> SubscriptionEvent {
    SubscriptionEvent::Lost(channels.iter().map(|channel| name(channel)).collect())
}

#[tokio::test(start_paused = true)]
async fn the_first_proof_comes_right_after_connecting() {
    let began = Instant::now();
    let rig = Rig::up().await;
    assert!(began.elapsed() < Duration::from_millis(50));
    assert_eq!(rig.redis.subscribes(), [["p:probe"], ["p:control"]]);
    assert_eq!(rig.metrics.upstream.up.get(), 1);
    assert!(rig.metrics.upstream.last_verified.get() > 0.0);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_probe_channel_ping_alone_is_the_proof() {
    let settings = config::Redis { probe_channel: None, control_channel: None, ..settings() };
    let mut rig = Rig::start_with(settings, |_| {});
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().commands, [Command::Role, Command::Ping]);
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_the_shards_that_want_its_channel_and_no_other() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "1");
    rig.redis.publish("p:b", "nobody");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=1"]);
    assert_eq!(rig.ring(1), [] as [&str; 0]);
    assert_eq!(rig.metrics.upstream.messages.get(), 1);
    assert_eq!(rig.metrics.upstream.message_bytes.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_prefix_is_added_outside_and_invisible_inside() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    assert_eq!(rig.redis.subscribes().last().unwrap(), &["p:a"]);
    rig.redis.lock().subscribed.insert("a".to_owned());
    rig.redis.publish("a", "without the prefix");
    rig.settle().await;
    assert_eq!(rig.ring(0), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn control_messages_go_to_every_shard_and_canaries_to_none() {
    let mut rig = Rig::up().await;
    rig.redis.publish("p:control", r#"{"disconnect":{"user":42}}"#);
    rig.redis.publish("p:probe", "somebody else's canary");
    rig.settle().await;
    for shard in [0, 1] {
        assert_eq!(rig.revoked(shard), [Revoke::User("42".into())]);
        assert_eq!(rig.ring(shard), [] as [&str; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_a_gap_of_its_channel_alone() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.send(Sent::Oversized("p:a".to_owned(), 101));
    rig.redis.publish("p:a", "fits");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["gap a payload_too_large", "a=fits"]);
}

#[tokio::test(start_paused = true)]
async fn joins_that_come_together_go_out_together() {
    let mut rig = Rig::up().await;
    let joins = |from: u32| (from..from + 1_500).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins(0).collect()).await;
    rig.request(1, joins(0).collect()).await;
    rig.until(|status| status.subscribed == 1_500).await;
    let sizes: Vec<_> = rig.redis.subscribes().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1_000, 500]);
}

#[tokio::test(start_paused = true)]
async fn subscription_events_say_how_far_the_shard_was_read() {
    let mut rig = Rig::up().await;
    rig.join(0, "a").await;
    rig.leave(0, "x").await;
    let subscription_events = rig.subscription_events(0).await;
    assert_eq!(subscription_events.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(subscription_events.read_up_to, rig.sequence);
    rig.join(1, "a").await;
    assert_eq!(rig.subscription_events(1).await.read_up_to, rig.sequence);
}

#[tokio::test(start_paused = true)]
async fn one_bad_channel_among_many_refuses_only_itself() {
    let bad = ["p:77", "p:500"].map(str::to_owned);
    let mut rig = Rig::start(|server| server.forbidden.extend(bad));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.request(0, (0..1_000).map(|n| Request::Subscribe(name(&n.to_string()))).collect()).await;
    let (mut held, mut refused) = (0, Vec::new());
    while held + refused.len() < 1_000 {
        for subscription_event in rig.subscription_events(0).await.events {
            match subscription_event {
                SubscriptionEvent::Confirmed(_) => held += 1,
                SubscriptionEvent::Rejected(channel, RejectedBy::Redis) => {
                    refused.push(channel.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    refused.sort();
    assert_eq!(refused, ["500", "77"]);
    assert!(rig.redis.subscribes().len() < 50, "found by halving");
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_refused_channel_is_held_once_redis_allows_it() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:a".to_owned()]));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.join(0, "a").await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::Redis);
    assert_eq!(rig.subscription_events(0).await.events, std::slice::from_ref(&refused));
    let asked = rig.redis.subscribes().len();
    rig.join(1, "a").await;
    assert_eq!(rig.subscription_events(1).await.events, [refused]);
    assert_eq!(rig.redis.subscribes().len(), asked, "a refusal is remembered");
    rig.redis.lock().forbidden.clear();
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
}

#[tokio::test(start_paused = true)]
async fn the_last_leave_unsubscribes_after_the_linger_and_a_rejoin_within_it_does_not() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    rig.joined(0, "a").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(rig.redis.lock().subscribed.contains("p:a"));
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(rig.redis.lock().subscribed.contains("p:a"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!rig.redis.lock().subscribed.contains("p:a"));
    assert_eq!(rig.status.borrow().subscribed, 0);
    assert_eq!(rig.metrics.upstream.channels_subscribed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_link_a_join_is_refused_at_once_and_stays_wanted() {
    let down = LinkError::Unreachable("Connection refused".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(down));
    rig.join(0, "a").await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_events(0).await.events, [refused]);
    rig.redis.lock().down = None;
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(rig.ring(0), [] as [&str; 0], "it was never held, so nothing was missed");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_gap_stands_at_the_confirmation_before_the_first_new_message() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "before");
    // Redis sends this one right behind the acknowledgement.
    rig.redis.lock().publish_on_subscribe = Some(("p:a".to_owned(), "early".to_owned()));
    rig.redis.drop_link();
    assert_eq!(rig.subscription_events(0).await.events, [lost(&["a"])]);
    assert_eq!(rig.ring(0), ["a=before", "lost a"], "no gap is told before Redis has confirmed");
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    rig.redis.publish("p:a", "after");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["gap a redis_reconnected", "a=early", "a=after"]);
    assert_eq!(rig.ring(1), ["lost a"]);
    assert_eq!(rig.subscription_events(1).await.events, [lost(&["a"])]);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 1);
    assert_eq!(rig.metrics.upstream.resubscribe_seconds.get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_when_the_link_broke_is_refused_and_held_later_without_a_gap() {
    let mut rig = Rig::up().await;
    rig.redis.lock().mute = true;
    rig.join(0, "a").await;
    rig.settle().await;
    rig.redis.lock().mute = false;
    rig.redis.drop_link();
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_events(0).await.events, [refused]);
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(rig.ring(0), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_hangs_is_noticed_within_interval_and_timeout() {
    let mut rig = Rig::up().await;
    {
        let mut server = rig.redis.lock();
        server.mute = true;
        // The canary does not tell it either.
        server.deaf = true;
    }
    let hung = Instant::now();
    let reason = rig.until_down().await;
    assert!(hung.elapsed() < Duration::from_millis(7_200), "{:?}", hung.elapsed());
    assert_eq!(reason, "no answer within 2s");
    assert_eq!(rig.metrics.upstream.up.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_delays_answers_is_not_taken_for_death() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().mute = true;
    for _ in 0..150 {
        rig.redis.publish("p:a", "flood");
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.ring(0);
    }
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_trickle_in_prove_the_connection_before_they_make_a_message() {
    let rig = Rig::up().await;
    rig.redis.lock().mute = true;
    for _ in 0..150 {
        rig.redis.lock().trickled += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_death_in_the_end_even_under_a_flood() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().mute = true;
    let flood = async {
        loop {
            rig.redis.publish("p:a", "flood");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut status = rig.status.clone();
    tokio::select! {
        () = flood => {}
        down = timeout(PATIENCE, status.wait_for(|status| status.link != LinkStatus::Up)) => {
            down.expect("in time").unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_silently_dead_is_found_by_the_canary() {
    let mut rig = Rig::up().await;
    rig.redis.lock().deaf = true;
    let reason = rig.until_down().await;
    assert!(reason.contains("does not come back"), "{reason}");
    rig.redis.lock().deaf = false;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_publish_unproves_the_link_but_keeps_the_subscriber() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    let noperm = LinkError::Answered("NOPERM publish".to_owned());
    rig.redis.lock().publish_fails = Some(noperm);
    let reason = rig.until_down().await;
    assert_eq!(reason, "cannot probe: PUBLISH failed: Redis answers: NOPERM publish");
    rig.redis.publish("p:a", "still here");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=still here"]);
    rig.redis.lock().publish_fails = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_probe_channel_is_not_ready_with_the_reason_until_it_is_allowed() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:probe".to_owned()]));
    rig.settle().await;
    rig.joined(0, "a").await;
    rig.until(|status| matches!(&status.link, LinkStatus::Down(why) if why.contains("NOPERM")))
        .await;
    rig.redis.lock().forbidden.clear();
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_lost_is_a_gap_of_revocations_that_is_counted_and_may_close_everybody() {
    for (on_revocation_gap, revoked) in
        [(OnRevocationGap::Warn, vec![]), (OnRevocationGap::Close, vec![Revoke::Everyone])]
    {
        let mut rig = Rig::start_with(config::Redis { on_revocation_gap, ..settings() }, |_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 0);
        rig.redis.send(Sent::Ended(LinkError::Lost("reset".to_owned())));
        rig.until_down().await;
        rig.until(|status| status.link == LinkStatus::Up).await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
        assert_eq!(rig.revoked(1), revoked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_message_too_large_to_be_read_is_a_gap_of_revocations() {
    for (on_revocation_gap, revoked) in
        [(OnRevocationGap::Warn, vec![]), (OnRevocationGap::Close, vec![Revoke::Everyone])]
    {
        let mut rig = Rig::start_with(config::Redis { on_revocation_gap, ..settings() }, |_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        rig.redis.send(Sent::Oversized("p:control".to_owned(), 101));
        rig.settle().await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
        assert_eq!(rig.revoked(1), revoked);
        assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_control_channel_is_told_and_asked_for_again() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:control".to_owned()]));
    let status = rig.until(|status| status.link == LinkStatus::Up).await;
    assert!(status.control_refused.is_some());
    rig.joined(0, "a").await;
    rig.redis.lock().forbidden.clear();
    rig.until(|status| status.control_refused.is_none()).await;
    rig.redis.publish("p:control", r#"{"jti":"a"}"#);
    rig.settle().await;
    assert_eq!(rig.revoked(0), [Revoke::Token("a".into())]);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_refuses_us_is_dialled_at_most_ten_times_in_ten_seconds() {
    let loading = LinkError::Answered("LOADING".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(loading));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((4..=10).contains(&rig.redis.lock().dials.len()));
    assert_eq!(rig.until_down().await, "Redis answers: LOADING");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
}

#[tokio::test(start_paused = true)]
async fn the_running_outage_is_counted() {
    let down = LinkError::Unreachable("Connection refused".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(down));
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let counted = rig.metrics.upstream.outage_seconds.get();
    assert!((9.0..=10.6).contains(&counted), "{counted}");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
    let at_end = rig.metrics.upstream.outage_seconds.get();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), at_end);
}

#[tokio::test(start_paused = true)]
async fn joins_without_end_do_not_starve_leaves() {
    let mut rig = Rig::up().await;
    rig.joined(0, "gone").await;
    rig.leave(0, "gone").await;
    for n in 0..2_000 {
        rig.join(1, &n.to_string()).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!rig.redis.lock().subscribed.contains("p:gone"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_sleeps_between_its_probes() {
    let rig = Rig::up().await;
    rig.settle().await;
    let before = rig.redis.lock().commands.len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let commands = rig.redis.lock().commands.len() - before;
    // A PING and a ROLE each.
    assert!((22..=26).contains(&commands), "{commands} commands in a minute");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_every_shard_has_gone() {
    let (end, shards) = queues_for_tests(1);
    let metrics = Arc::new(Metrics::new(1, &[]));
    let (actor, _status) = Actor::new(Fake::default(), settings(), end, metrics);
    let actor = tokio::spawn(actor.run());
    drop(shards);
    timeout(PATIENCE, actor).await.expect("in time").unwrap();
}

// ---- pipelining and refusals ----

#[tokio::test(start_paused = true)]
async fn batches_are_in_flight_together() {
    let mut rig = Rig::up().await;
    rig.redis.lock().latency = Duration::from_millis(100);
    let began = Instant::now();
    let joins = (0..10_000).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins.collect()).await;
    rig.until(|status| status.subscribed == 10_000).await;
    assert!(began.elapsed() < Duration::from_millis(110), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_halves_of_a_refused_batch_are_asked_side_by_side() {
    let bad = ["p:3", "p:500", "p:900"].map(str::to_owned);
    let mut rig = Rig::start(|server| server.forbidden.extend(bad));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.redis.lock().latency = Duration::from_millis(100);
    let began = Instant::now();
    let joins = (0..1_000).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins.collect()).await;
    rig.until(|status| status.subscribed == 997).await;
    // Ten halvings of a thousand, and the batch itself.
    assert!(began.elapsed() < Duration::from_millis(1_150), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_refused_again_and_again_delays_nobody() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:bad".to_owned()]));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.join(0, "bad").await;
    rig.subscription_events(0).await;
    for round in 0..5 {
        rig.leave(0, "bad").await;
        // Long enough for the refusal to be forgotten.
        tokio::time::sleep(Duration::from_secs(21)).await;
        let others = (0..50).map(|n| Request::Subscribe(name(&format!("{round}-{n}"))));
        let all = [Request::Subscribe(name("bad"))].into_iter().chain(others);
        let before = rig.redis.subscribes().len();
        rig.request(0, all.collect()).await;
        rig.settle().await;
        let asked = rig.redis.subscribes().split_off(before);
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [50, 1], "round {round}");
        while rig.shards[0].subscription_events.try_recv().is_ok() {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_refused_after_an_outage_is_never_told_as_a_gap_since_its_sessions_are_closed() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().forbidden.extend(["p:a".to_owned()]);
    rig.redis.drop_link();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.ring(0), ["lost a"]);
    rig.redis.lock().forbidden.clear();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(rig.ring(0).is_empty());
}

// ---- the server's own troubles, and its role ----

#[tokio::test(start_paused = true)]
async fn a_complaint_in_the_answer_to_ping_proves_the_connection_all_the_same() {
    let misconf = LinkError::Answered("MISCONF Redis is configured to save …".to_owned());
    let mut rig = Rig::start(|server| server.warning = Some(misconf));
    rig.until(|status| status.link == LinkStatus::Up).await;
    let verified = rig.status.borrow().verified;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert!(rig.status.borrow().verified > verified);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

fn replica() -> Role {
    Role::Replica { host: "10.0.0.2".to_owned(), port: 6380 }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_primary_is_left_for_the_one_it_names_by_both_connections_and_a_gap_is_told() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().role = replica();
    let reason = rig.until_down().await;
    assert!(reason.contains("no longer the primary; it names 10.0.0.2:6380"), "{reason}");
    rig.redis.lock().role = Role::Primary;
    rig.until(|status| status.link == LinkStatus::Up).await;
    let named = Target::Named { host: "10.0.0.2".to_owned(), port: 6380 };
    assert_eq!(rig.redis.lock().targets, [Target::Configured, named.clone()]);
    assert_eq!(rig.redis.lock().publisher_targets, [Target::Configured, named]);
    rig.settle().await;
    assert_eq!(rig.ring(0), ["lost a", "gap a redis_moved"]);
}

#[tokio::test(start_paused = true)]
async fn the_configured_server_is_dialled_again_when_the_named_one_is_lost() {
    let mut rig = Rig::up().await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    rig.redis.lock().role = Role::Primary;
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.redis.drop_link();
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().targets.last(), Some(&Target::Configured));
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_name_each_other_are_not_dialled_without_end() {
    let mut rig = Rig::up().await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    let before = rig.redis.lock().dials.len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let dials = rig.redis.lock().dials.len() - before;
    assert!((3..=10).contains(&dials), "{dials} dials");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_told_is_not_asked_again_and_harms_nothing() {
    let mut rig = Rig::start(|server| server.role = Role::Unknown);
    rig.until(|status| status.link == LinkStatus::Up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.redis.count(&Command::Role), 1);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_replica_from_the_start_is_wanted_so() {
    let mut rig = Rig::start(|server| server.role = replica());
    rig.until(|status| status.link == LinkStatus::Up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

// ---- the connection that publishes ----

#[tokio::test(start_paused = true)]
async fn a_publisher_closed_for_idleness_is_dialled_when_needed_and_nobody_is_told() {
    let rig = Rig::up().await;
    let mut status = rig.status.clone();
    let outage = rig.metrics.upstream.outage_seconds.get();
    for _ in 0..5 {
        rig.redis.close_publisher();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let link = status.borrow_and_update().link.clone();
        assert_eq!(link, LinkStatus::Up);
    }
    assert!(rig.redis.lock().publisher_targets.len() >= 5);
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_meets_a_closed_connection_is_tried_on_a_fresh_one_in_the_same_round() {
    let mut rig = Rig::up().await;
    rig.redis.lock().publish_fails_once = Some(LinkError::Lost("closed".to_owned()));
    let (verified, outage) =
        (rig.status.borrow().verified, rig.metrics.upstream.outage_seconds.get());
    let up = rig.until(|status| status.verified != verified).await;
    assert_eq!(up.link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().publisher_targets.len(), 2);
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}

// ---- back-pressure ----

/// Publishes so many numbered messages at once.
fn flood(rig: &Rig, count: usize) {
    (0..count).for_each(|n| rig.redis.publish("p:a", &n.to_string()));
}

#[tokio::test(start_paused = true)]
async fn while_a_shard_stands_still_for_a_moment_nothing_more_is_read_and_nothing_is_lost() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    flood(&rig, 150_000);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut next = 0;
    while next < 150_000 {
        for word in rig.ring(0) {
            assert_eq!(word, format!("a={next}"));
            next += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(rig.metrics.upstream.read_pauses.get() >= 1);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_stands_still_for_long_loses_the_oldest_and_the_link_stays() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    for _ in 0..60 {
        flood(&rig, 2_500);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let words = rig.ring(0);
    assert!(words[0].ends_with(" events were dropped"), "{}", words[0]);
    assert!(words[1..].iter().all(|word| word.starts_with("a=")));
    assert_eq!(words.len(), 1 + 16_384);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}
