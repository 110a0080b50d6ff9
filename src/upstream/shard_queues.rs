//! The queues to the shards: rings of messages and gaps, subscription events, revocations.
//!
//! Never waits. What a burst brings is staged, and goes into each ring under one lock.

use crate::{
    bus::{
        Event, Fill, RequestBatch, Revoke, RingEvent as _, RingSender, ShardId, SubscriptionEvent,
        SubscriptionEvents, UpstreamEnd,
    },
    channel::ChannelName,
    reason::GapReason,
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A set of shards: bit `n` is shard `n`.
pub(super) type Shards = u64;

/// The numbers of these shards.
pub(super) fn members(shards: Shards) -> impl Iterator<Item = ShardId> {
    let mut left = shards;
    std::iter::from_fn(move || {
        let shard = (left != 0).then(|| left.trailing_zeros() as ShardId)?;
        left &= left - 1;
        Some(shard)
    })
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
    ring: RingSender<Event>,
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
        members(shards).for_each(|shard| self.replies[shard].events.push(event.clone()));
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
