//! What is known of one node, from one connection to the next.
//!
//! Requests of shards, answers of Redis and the loss of a link all change it here, and what they mean
//! for the shards is queued. It sends nothing to Redis.

use super::{
    probe::Probe,
    router::{Router, Sinks},
    table::{Answered, Joined, NodeId, ONLY_NODE, Table},
};
use crate::{
    bus::{RejectedBy, Request, RequestBatch, ShardId, SubscriptionEvent},
    channel::ChannelName,
    config,
    log_throttle::LogThrottle,
    reason::GapReason,
    upstream::{link::LinkError, primary::Primary, shard_queues::ShardQueues},
};
use tokio::time::Instant;
use tracing::warn;

/// One Redis server, as its task knows it.
pub(super) struct Node {
    id: NodeId,
    pub(super) table: Table,
    pub(super) queues: ShardQueues,
    pub(super) router: Router,
    pub(super) probe: Probe,
    pub(super) primary: Primary,
    /// Of the log record on refused channels.
    refusals: LogThrottle,
    /// … and on SUBSCRIBEs that are put off.
    put_off: LogThrottle,
    /// Why Redis did not let go of channels, the last time that it was asked to.
    not_released: Option<LinkError>,
}

impl Node {
    pub(super) fn new(settings: &config::Redis, queues: ShardQueues, now: Instant) -> Self {
        Self {
            id: ONLY_NODE,
            table: Table::new(settings.linger, settings.max_patterns.get(), now),
            queues,
            router: Router::new(settings),
            probe: Probe::new(settings.probe_interval, settings.probe_timeout, now),
            primary: Primary::new(&settings.address),
            refusals: LogThrottle::default(),
            put_off: LogThrottle::default(),
            not_released: None,
        }
    }

    // ---- what shards want ----

    pub(super) fn request(&mut self, batch: &RequestBatch, now: Instant) {
        for request in &batch.requests {
            match request {
                Request::Subscribe(channel) => self.join(batch.shard, channel),
                Request::Unsubscribe(channel) => self.table.leave(batch.shard, channel, now),
            }
        }
        self.queues.read(batch.shard, batch.sequence);
    }

    fn join(&mut self, shard: ShardId, channel: &ChannelName) {
        let rejected = |by| SubscriptionEvent::Rejected(channel.clone(), by);
        let event = match self.table.join(shard, channel) {
            Joined::Pending => return,
            Joined::Subscribed => SubscriptionEvent::Confirmed(channel.clone()),
            Joined::Refused => rejected(RejectedBy::Redis),
            Joined::NoLink => rejected(RejectedBy::LinkDown),
            Joined::PatternLimit => rejected(RejectedBy::PatternLimit),
        };
        self.queues.tell(1 << shard, &event);
    }

    // ---- what Redis says; channels are named as Redis knows them ----

    pub(super) fn message(&mut self, channel: &[u8], payload: &[u8]) {
        let (router, mut sinks) = self.routing();
        router.message(channel, payload, &mut sinks);
    }

    /// A message that a pattern matched: it is for the pattern's subscribers alone.
    pub(super) fn matched(&mut self, pattern: &[u8], channel: &[u8], payload: &[u8]) {
        let (router, mut sinks) = self.routing();
        router.matched(pattern, channel, payload, &mut sinks);
    }

    pub(super) fn oversized_match(&mut self, pattern: &[u8], channel: &[u8], bytes: u64) {
        let (router, mut sinks) = self.routing();
        if !router.is_own(channel) {
            router.oversized(pattern, bytes, &mut sinks);
        }
    }

    pub(super) fn oversized(&mut self, channel: &[u8], bytes: u64) {
        let (router, mut sinks) = self.routing();
        router.oversized(channel, bytes, &mut sinks);
    }

    fn routing(&mut self) -> (&mut Router, Sinks<'_>) {
        let Self { id, table, queues, router, probe, .. } = self;
        (router, Sinks { node: *id, table, queues, probe })
    }

    pub(super) fn confirmed(&mut self, channel: &[u8], now: Instant) {
        let Some(name) = self.router.own_name(channel) else { return };
        let Some(answered) = self.table.confirm(name, now) else { return };
        self.tell_gap(&answered);
        let event = SubscriptionEvent::Confirmed(answered.channel);
        self.queues.tell(answered.shards, &event);
    }

    pub(super) fn refused(&mut self, channel: &str, reason: &str, now: Instant) {
        let Some(name) = self.router.own_name(channel.as_bytes()) else { return };
        let Some(answered) = self.table.refuse(name) else { return };
        if let Some(before) = self.refusals.to_log(now.into_std()) {
            warn!(channel, reason, before, "Redis refuses a channel");
        }
        let event = SubscriptionEvent::Rejected(answered.channel, RejectedBy::Redis);
        self.queues.tell(answered.shards, &event);
    }

    /// Marks the gap of a channel in the rings, if it has one.
    fn tell_gap(&mut self, answered: &Answered) {
        if let Some(reason) = answered.gap {
            self.queues.gap(answered.shards, answered.channel.clone(), reason);
        }
    }

    /// A SUBSCRIBE failed for a reason that passes.
    pub(super) fn put_off(&mut self, reason: &LinkError, now: Instant) {
        if let Some(before) = self.put_off.to_log(now.into_std()) {
            warn!(%reason, before, "Redis takes no SUBSCRIBE now; it is asked again");
        }
    }

    /// Whether a channel that is put off is still wanted.
    pub(super) fn is_still_asked(&mut self, channel: &str) -> bool {
        let Some(name) = self.router.own_name(channel.as_bytes()) else { return false };
        self.table.is_still_asked(name)
    }

    /// An UNSUBSCRIBE failed.
    pub(super) fn not_released(&mut self, channels: &[Box<str>], reason: LinkError) {
        for channel in channels {
            let Some(name) = self.router.own_name(channel.as_bytes()) else { continue };
            let Some(answered) = self.table.keep(name) else { continue };
            let event = SubscriptionEvent::Confirmed(answered.channel);
            self.queues.tell(answered.shards, &event);
        }
        if self.not_released.as_ref() != Some(&reason) {
            warn!(%reason, "Redis takes no UNSUBSCRIBE; what nobody wants stays subscribed for now");
            self.not_released = Some(reason);
        }
    }

    pub(super) fn released(&mut self, channel: &[u8]) {
        self.not_released = None;
        let Some(name) = self.router.own_name(channel) else { return };
        if let Some(lost) = self.table.released(name) {
            self.queues.lost(vec![lost]);
        }
    }

    /// The link is lost: tells shards which channels are not confirmed any more, and refuses those
    /// that were not answered.
    pub(super) fn link_lost(&mut self, reason: GapReason) {
        let lost = self.table.link_lost(reason);
        for (channel, shards) in lost.unanswered {
            self.queues.tell(shards, &SubscriptionEvent::Rejected(channel, RejectedBy::LinkDown));
        }
        self.queues.lost(lost.confirmed);
    }
}
