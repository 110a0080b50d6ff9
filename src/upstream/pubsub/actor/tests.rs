//! The actor over a fake Redis, with paused time.

use super::*;
use crate::{
    bus::{
        Event, RejectedBy, Request, Revoke, ShardEnd, ShardId, SubscriptionEvent,
        SubscriptionEvents, queues_for_tests,
    },
    channel::ChannelName,
    upstream::{
        fake_redis::{Fake, Sent, Server},
        link::{Command, Role, Target},
        status::LinkStatus,
    },
};
use tokio::time::timeout;

mod channels;
mod liveness;
mod outages;
mod patterns;
mod pauses;
mod primary;
mod publishing;
mod put_off;
mod refusals;

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
        max_patterns: const { std::num::NonZeroUsize::new(100).unwrap() },
        max_streams: const { std::num::NonZeroUsize::new(200_000).unwrap() },
        stream_poll: None,
        stream_field: "data".to_owned(),
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

    /// Waits until a channel is asked for on a second link.
    async fn until_asked_again(&self, channel: &str) {
        let asked = async {
            while self.redis.subscribes().iter().flatten().filter(|name| *name == channel).count()
                < 2
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, asked).await.expect("in time");
        self.settle().await;
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
async fn it_ends_when_every_shard_has_gone() {
    let (end, shards) = queues_for_tests(1);
    let metrics = Arc::new(Metrics::new(1, &[]));
    let (actor, _status) = Actor::new(Fake::default(), settings(), end, metrics);
    let actor = tokio::spawn(actor.run());
    drop(shards);
    timeout(PATIENCE, actor).await.expect("in time").unwrap();
}
