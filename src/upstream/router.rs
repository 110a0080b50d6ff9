//! What arrives from Redis, and where it goes: the path of every message, into the shards' rings.
//!
//! Never waits; allocates nothing but the message and its frame. What a burst brings is staged, and
//! goes into each ring under one lock.

use super::{
    control,
    pubsub::{Node, Probe, Route, Table},
};
use crate::{
    bus::{
        Event, Fill, RequestBatch, Revoke, RingSender, ShardId, SubscriptionEvent,
        SubscriptionEvents, UpstreamEnd,
    },
    channel::ChannelName,
    config::{self, OnRevocationGap},
    log_throttle::LogThrottle,
    metrics::UpstreamMetrics,
    reason::GapReason,
    wire,
};
use std::{sync::Arc, time::Instant};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// A set of shards: bit `n` is shard `n`.
pub(super) type Shards = u64;

/// The channels that are not for sessions, and what is counted.
#[derive(Debug)]
pub(super) struct Router {
    prefix: String,
    probe: Option<String>,
    control: Option<String>,
    /// Control messages that are larger than `redis.max_payload`.
    oversized: LogThrottle,
    /// Control messages that mean nothing.
    meaningless: LogThrottle,
    received: Instant,
    /// Since the last [`Router::count`].
    messages: u64,
    bytes: u64,
    stale: u64,
    unread_revocations: u64,
    on_revocation_gap: OnRevocationGap,
}

/// Where the router puts things.
pub(super) struct Sinks<'a> {
    pub(super) node: Node,
    pub(super) table: &'a Table,
    pub(super) queues: &'a mut ShardQueues,
    pub(super) probe: &'a mut Probe,
}

impl Router {
    pub(super) fn new(settings: &config::Redis) -> Self {
        Self {
            prefix: settings.channel_prefix.clone(),
            probe: settings.probe_channel.clone(),
            control: settings.control_channel.clone(),
            oversized: LogThrottle::default(),
            meaningless: LogThrottle::default(),
            received: Instant::now(),
            messages: 0,
            bytes: 0,
            stale: 0,
            unread_revocations: 0,
            on_revocation_gap: settings.on_revocation_gap,
        }
    }

    /// The channel as Redis knows it.
    pub(super) fn redis_name(&self, channel: &str) -> Box<str> {
        [&self.prefix, channel].concat().into()
    }

    /// The channel as sessions know it. `None`: it is not ours.
    pub(super) fn own_name<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// Looks at the clock, once for a whole burst of messages.
    pub(super) fn start_burst(&mut self) {
        self.received = Instant::now();
    }

    /// Adds the burst to the metrics.
    pub(super) fn count(&mut self, metrics: &UpstreamMetrics) {
        metrics.messages.inc_by(std::mem::take(&mut self.messages));
        metrics.message_bytes.inc_by(std::mem::take(&mut self.bytes));
        metrics.stale_messages.inc_by(std::mem::take(&mut self.stale));
        metrics.revocation_gaps.inc_by(std::mem::take(&mut self.unread_revocations));
    }

    /// Routes one message. `channel` is as Redis knows it.
    pub(super) fn message(&mut self, channel: &[u8], payload: &[u8], to: &mut Sinks<'_>) {
        let Some(channel) = self.own_name(channel) else { return };
        match to.table.route(to.node, channel) {
            Route::To(name, shards) => {
                self.arrived(payload.len() as u64);
                // Without shards it lingers; nobody is there to miss anything.
                if shards != 0 {
                    let message = wire::message(name.clone(), payload, self.received);
                    to.queues.send(shards, Event::Message(Arc::new(message)));
                }
            }
            Route::Stale => self.stale += 1,
            Route::Unknown if self.probe.as_deref() == Some(channel) => to.probe.arrived(payload),
            Route::Unknown if self.control.as_deref() == Some(channel) => {
                self.arrived(payload.len() as u64);
                self.control(payload, to.queues);
            }
            Route::Unknown => {}
        }
    }

    /// Takes a message of the control channel.
    fn control(&mut self, payload: &[u8], queues: &ShardQueues) {
        if let Some(revoke) = control::parse(payload) {
            queues.revoke(&revoke);
        } else if let Some(before) = self.meaningless.to_log(self.received) {
            warn!(before, "a message on the control channel means nothing; it was ignored");
        }
    }

    /// Tells of a message that was too large to be received.
    pub(super) fn oversized(&mut self, channel: &[u8], bytes: u64, to: &mut Sinks<'_>) {
        let Some(channel) = self.own_name(channel) else { return };
        match to.table.route(to.node, channel) {
            Route::To(name, shards) => {
                self.arrived(bytes);
                debug!(channel, bytes, "message is larger than redis.max_payload");
                to.queues.gap(shards, name.clone(), GapReason::PayloadTooLarge);
            }
            Route::Stale => self.stale += 1,
            Route::Unknown => {
                if self.control.as_deref() == Some(channel) {
                    self.arrived(bytes);
                    self.unread_revocation(bytes, to.queues);
                }
            }
        }
    }

    /// What a control message said that was too large to be received is not known: it is as if it had been
    /// missed.
    fn unread_revocation(&mut self, bytes: u64, queues: &ShardQueues) {
        self.unread_revocations += 1;
        if let Some(before) = self.oversized.to_log(self.received) {
            warn!(
                bytes,
                before,
                "control message is larger than redis.max_payload: a revocation may have been missed"
            );
        }
        if self.on_revocation_gap == OnRevocationGap::Close {
            queues.revoke(&Revoke::Everyone);
        }
    }

    fn arrived(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

/// Upstream's ends of the shards' rings and queues of subscription events, by shard number.
#[derive(Debug)]
pub(super) struct ShardQueues {
    rings: Vec<StagedRing>,
    replies: Vec<Replies>,
    revocations: Vec<mpsc::UnboundedSender<Revoke>>,
    /// Bytes staged since the last [`ShardQueues::flush`].
    staged: usize,
}

/// A shard's ring, and what goes into it with the next flush.
#[derive(Debug)]
struct StagedRing {
    ring: RingSender,
    staged: Vec<Event>,
}

/// The subscription events of one shard that wait for [`ShardQueues::flush`].
#[derive(Debug)]
struct Replies {
    queue: mpsc::UnboundedSender<SubscriptionEvents>,
    /// The sequence of the last request that was processed.
    read_up_to: u64,
    events: Vec<SubscriptionEvent>,
}

impl ShardQueues {
    /// Takes the queues; the requests are handed back.
    pub(super) fn new(end: UpstreamEnd) -> (Self, mpsc::Receiver<RequestBatch>) {
        let rings = end.rings.into_iter().map(|ring| StagedRing { ring, staged: Vec::new() });
        let replies = end.subscription_events.into_iter();
        let replies = replies.map(|queue| Replies { queue, read_up_to: 0, events: Vec::new() });
        let queues = Self {
            rings: rings.collect(),
            replies: replies.collect(),
            revocations: end.revocations,
            staged: 0,
        };
        (queues, end.requests)
    }

    /// Stages one event for the rings of these shards.
    pub(super) fn send(&mut self, shards: Shards, event: Event) {
        self.staged += event.bytes();
        let mut left = shards;
        while left != 0 {
            let shard = left.trailing_zeros() as usize;
            left &= left - 1;
            if left == 0 {
                // The last one takes the event itself: mostly that is the only one.
                self.rings[shard].staged.push(event);
                return;
            }
            self.rings[shard].staged.push(event.clone());
        }
    }

    /// Stages one event for every ring.
    pub(super) fn send_all(&mut self, event: &Event) {
        self.staged += event.bytes();
        self.rings.iter_mut().for_each(|shard| shard.staged.push(event.clone()));
    }

    /// Tells every shard whose sessions must end, at once: it waits behind no message, and is never lost.
    pub(super) fn revoke(&self, revoke: &Revoke) {
        for shard in &self.revocations {
            // An error means that the shard has ended.
            let _ = shard.send(revoke.clone());
        }
    }

    /// Marks in these shards' rings that messages of a channel may have been missed.
    pub(super) fn gap(&mut self, shards: Shards, channel: ChannelName, reason: GapReason) {
        self.send(shards, Event::Gap(channel, reason));
    }

    /// Bytes that wait for the next flush.
    pub(super) fn staged(&self) -> usize {
        self.staged
    }

    /// How full the fullest ring is, as of the last flush.
    pub(super) fn fill(&self) -> Fill {
        self.rings.iter().map(|shard| shard.ring.fill()).max().unwrap_or(Fill::Low)
    }

    /// Notes that a shard's request was read.
    pub(super) fn read(&mut self, shard: ShardId, sequence: u64) {
        self.replies[shard].read_up_to = sequence;
    }

    /// Queues a subscription event for these shards.
    pub(super) fn tell(&mut self, shards: Shards, event: &SubscriptionEvent) {
        let mut left = shards;
        while left != 0 {
            self.replies[left.trailing_zeros() as usize].events.push(event.clone());
            left &= left - 1;
        }
    }

    /// Tells every shard that these channels are not confirmed any more, in both queues.
    pub(super) fn lost(&mut self, channels: Vec<ChannelName>) {
        if channels.is_empty() {
            return;
        }
        let channels: Arc<[ChannelName]> = channels.into();
        self.send_all(&Event::Lost(Arc::clone(&channels)));
        let event = SubscriptionEvent::Lost(channels);
        self.replies.iter_mut().for_each(|shard| shard.events.push(event.clone()));
    }

    /// Sends what was staged and queued. The rings first: when a confirmation is read, its gap
    /// stands in the ring.
    pub(super) fn flush(&mut self) {
        self.staged = 0;
        for shard in self.rings.iter_mut().filter(|shard| !shard.staged.is_empty()) {
            shard.ring.append(&mut shard.staged);
        }
        for shard in self.replies.iter_mut().filter(|shard| !shard.events.is_empty()) {
            let events = std::mem::take(&mut shard.events);
            // An error means that the shard has ended.
            let _ = shard.queue.send(SubscriptionEvents { read_up_to: shard.read_up_to, events });
        }
    }
}
