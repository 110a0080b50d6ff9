//! Upstream's ends of the shards' rings and queues of subscription events.
//!
//! Nothing here ever waits. A ring without a receiver swallows its events: that shard has ended.

use crate::{
    bus::{Event, ShardId, SubscriptionEvent, SubscriptionEvents, UpstreamEnd},
    channel::ChannelName,
    reason::GapReason,
};
use tokio::sync::{broadcast, mpsc};

/// A set of shards: bit `n` is shard `n`.
pub(super) type Shards = u64;

/// The shards' queues, by shard number.
#[derive(Debug)]
pub(super) struct ShardQueues {
    rings: Vec<broadcast::Sender<Event>>,
    replies: Vec<Replies>,
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
    pub(super) fn new(end: UpstreamEnd) -> (Self, mpsc::Receiver<crate::bus::RequestBatch>) {
        let replies = end.subscription_events.into_iter();
        let replies = replies.map(|queue| Replies { queue, read_up_to: 0, events: Vec::new() });
        (Self { rings: end.rings, replies: replies.collect() }, end.requests)
    }

    /// Puts one event into the rings of these shards.
    pub(super) fn send(&self, shards: Shards, event: Event) {
        let mut left = shards;
        while left != 0 {
            let shard = left.trailing_zeros() as usize;
            left &= left - 1;
            if left == 0 {
                // The last one takes the event itself: mostly that is the only one.
                self.ring(shard, event);
                return;
            }
            self.ring(shard, event.clone());
        }
    }

    /// Puts one event into every ring.
    pub(super) fn send_all(&self, event: &Event) {
        (0..self.rings.len()).for_each(|shard| self.ring(shard, event.clone()));
    }

    fn ring(&self, shard: ShardId, event: Event) {
        // An error means that nobody listens: the shard has ended, its sessions are gone.
        let _ = self.rings[shard].send(event);
    }

    /// Marks in these shards' rings that messages of a channel may have been missed.
    pub(super) fn gap(&self, shards: Shards, channel: ChannelName, reason: GapReason) {
        self.send(shards, Event::Gap(channel, reason));
    }

    /// Notes that a shard's request was read.
    pub(super) fn read(&mut self, shard: ShardId, sequence: u64) {
        self.replies[shard].read_up_to = sequence;
    }

    /// Queues an event for these shards.
    pub(super) fn tell(&mut self, shards: Shards, event: &SubscriptionEvent) {
        let mut left = shards;
        while left != 0 {
            self.replies[left.trailing_zeros() as usize].events.push(event.clone());
            left &= left - 1;
        }
    }

    /// Queues an event for every shard.
    pub(super) fn tell_all(&mut self, event: &SubscriptionEvent) {
        self.replies.iter_mut().for_each(|shard| shard.events.push(event.clone()));
    }

    /// Sends what was queued.
    pub(super) fn flush(&mut self) {
        for shard in self.replies.iter_mut().filter(|shard| !shard.events.is_empty()) {
            let events = std::mem::take(&mut shard.events);
            // An error means that the shard has ended.
            let _ = shard.queue.send(SubscriptionEvents { read_up_to: shard.read_up_to, events });
        }
    }
}
