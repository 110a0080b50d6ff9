//! The actor over a fake Redis, with paused time.

use super::*;
use crate::{
    bus::{ShardEnd, ShardId, SubscriptionEvents, queues},
    channel::ChannelName,
    upstream::{
        Link,
        client::Command,
        fake_redis::{Fake, Server},
    },
};
use tokio::{sync::broadcast::error::TryRecvError, time::timeout};

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
        address: config::RedisAddress::Unix("unused".into()),
        database: 0,
        username: None,
        password: None,
        tls: config::RedisTls::default(),
        probe_interval: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(2),
        reconnect_min: Duration::from_millis(100),
        reconnect_max: Duration::from_secs(5),
        probe_channel: Some("probe".to_owned()),
        linger: Duration::from_secs(1),
        control_channel: Some("control".to_owned()),
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
        let (end, shards) = queues(2);
        let metrics = Arc::new(Metrics::new(2, &[]));
        let (actor, status) = Actor::new(redis.clone(), settings, end, Arc::clone(&metrics));
        tokio::spawn(actor.run());
        Self { redis, shards, sequence: 0, status, metrics }
    }

    async fn up() -> Self {
        let mut rig = Self::start(|_| {});
        rig.until(|status| status.link == Link::Up).await;
        rig
    }

    async fn until(&mut self, rule: impl Fn(&Status) -> bool) -> Status {
        let status = timeout(PATIENCE, self.status.wait_for(|status| rule(status))).await;
        status.expect("in time").unwrap().clone()
    }

    async fn until_down(&mut self) -> String {
        match self.until(|status| status.link != Link::Up).await.link {
            Link::Down(reason) => reason,
            Link::Up => unreachable!("waited for the contrary"),
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
                Ok(Event::Message(message)) => {
                    let payload = String::from_utf8_lossy(message.payload());
                    format!("{}={payload}", message.channel)
                }
                Ok(Event::Control(message)) => {
                    format!("control={}", String::from_utf8_lossy(message.payload()))
                }
                Ok(Event::Gap(channel, reason)) => format!("gap {channel} {}", reason.label()),
                Ok(Event::GapAll(reason)) => format!("gap all {}", reason.label()),
                Err(TryRecvError::Empty) => return words,
                Err(error) => panic!("{error}"),
            });
        }
    }

    /// Lets everything that is ready happen.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel)
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
    rig.until(|status| status.link == Link::Up).await;
    assert_eq!(rig.redis.lock().commands, [Command::Ping]);
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
    rig.redis.publish("p:control", "stop");
    rig.redis.publish("p:probe", "somebody else's canary");
    rig.settle().await;
    assert_eq!(
        (rig.ring(0), rig.ring(1)),
        (vec!["control=stop".into()], vec!["control=stop".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_a_gap_and_one_at_the_limit_is_not() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", &"x".repeat(101));
    rig.redis.publish("p:a", &"y".repeat(100));
    rig.settle().await;
    assert_eq!(
        rig.ring(0),
        ["gap a payload_too_large".to_owned(), format!("a={}", "y".repeat(100))]
    );
}

#[tokio::test(start_paused = true)]
async fn messages_lost_between_client_and_actor_are_a_gap_for_all_just_there() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "1");
    rig.redis.lock().subscriber.as_ref().unwrap().send(Arrival::Lagged(7)).unwrap();
    rig.redis.publish("p:a", "9");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=1", "gap all upstream_lagged", "a=9"]);
    assert_eq!(rig.ring(1), ["gap all upstream_lagged"]);
}

#[tokio::test(start_paused = true)]
async fn joins_that_come_together_go_out_together() {
    let mut rig = Rig::up().await;
    let joins = |from: u32| (from..from + 1_500).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins(0).collect()).await;
    rig.request(1, joins(0).collect()).await;
    rig.until(|status| status.held == 1_500).await;
    let sizes: Vec<_> = rig.redis.subscribes().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1_000, 500]);
}

#[tokio::test(start_paused = true)]
async fn verdicts_say_how_far_the_shard_was_read() {
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
    rig.until(|status| status.link == Link::Up).await;
    rig.request(0, (0..1_000).map(|n| Request::Subscribe(name(&n.to_string()))).collect()).await;
    let (mut held, mut refused) = (0, Vec::new());
    while held + refused.len() < 1_000 {
        for subscription_event in rig.subscription_events(0).await.events {
            match subscription_event {
                SubscriptionEvent::Confirmed(_) => held += 1,
                SubscriptionEvent::Rejected(channel, RejectedBy::Redis) => {
                    refused.push(channel.to_string())
                }
                other => panic!("{other:?}"),
            }
        }
    }
    refused.sort();
    assert_eq!(refused, ["500", "77"]);
    assert!(rig.redis.subscribes().len() < 50, "found by halving");
    assert_eq!(rig.status.borrow().link, Link::Up);
}

#[tokio::test(start_paused = true)]
async fn a_refused_channel_is_held_once_redis_allows_it() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:a".to_owned()]));
    rig.until(|status| status.link == Link::Up).await;
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
    assert_eq!(rig.status.borrow().held, 0);
    assert_eq!(rig.metrics.upstream.channels_held.get(), 0);
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
async fn after_an_outage_the_gap_stands_before_the_first_new_message() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "before");
    // Redis sends this one between the SUBSCRIBE and its acknowledgement.
    rig.redis.lock().publish_on_subscribe = Some(("p:a".to_owned(), "early".to_owned()));
    rig.redis.drop_link();
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::LinkLost]);
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    rig.redis.publish("p:a", "after");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=before", "gap a redis_reconnected", "a=early", "a=after"]);
    assert_eq!(rig.ring(1), [] as [&str; 0]);
    assert_eq!(rig.subscription_events(1).await.events, [SubscriptionEvent::LinkLost]);
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
    assert_eq!(rig.subscription_events(0).await.events, [refused, SubscriptionEvent::LinkLost]);
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
    assert_eq!(rig.status.borrow().link, Link::Up);
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
        down = timeout(PATIENCE, status.wait_for(|status| status.link != Link::Up)) => {
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
    rig.until(|status| status.link == Link::Up).await;
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
    rig.until(|status| status.link == Link::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_probe_channel_is_not_ready_with_the_reason_until_it_is_allowed() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:probe".to_owned()]));
    rig.settle().await;
    rig.joined(0, "a").await;
    rig.until(|status| matches!(&status.link, Link::Down(why) if why.contains("NOPERM"))).await;
    rig.redis.lock().forbidden.clear();
    rig.until(|status| status.link == Link::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_control_channel_is_gone_without() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:control".to_owned()]));
    rig.until(|status| status.link == Link::Up).await;
    rig.joined(0, "a").await;
    rig.redis.lock().forbidden.clear();
    tokio::time::sleep(Duration::from_secs(6)).await;
    rig.redis.publish("p:control", "stop");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["control=stop"]);
    assert_eq!(rig.status.borrow().link, Link::Up);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_refuses_us_is_dialled_at_most_ten_times_in_ten_seconds() {
    let loading = LinkError::Answered("LOADING".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(loading));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((4..=10).contains(&rig.redis.lock().dials.len()));
    assert_eq!(rig.until_down().await, "Redis answers: LOADING");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == Link::Up).await;
}

#[tokio::test(start_paused = true)]
async fn the_running_outage_is_counted() {
    let down = LinkError::Unreachable("Connection refused".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(down));
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let counted = rig.metrics.upstream.outage_seconds.get();
    assert!((9.0..=10.6).contains(&counted), "{counted}");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == Link::Up).await;
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
    let pings = rig.redis.lock().commands.len() - before;
    assert!((11..=13).contains(&pings), "{pings} commands in a minute");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_every_shard_has_gone() {
    let (end, shards) = queues(1);
    let metrics = Arc::new(Metrics::new(1, &[]));
    let (actor, _status) = Actor::new(Fake::default(), settings(), end, metrics);
    let actor = tokio::spawn(actor.run());
    drop(shards);
    timeout(PATIENCE, actor).await.expect("in time").unwrap();
}
