//! Upstream's ends of the shards' rings and verdict queues.
//!
//! Nothing here ever waits. A ring without a receiver swallows its events: that shard has ended.

use crate::{
    channel::ChannelName,
    exchange::{Event, ShardId, UpstreamEnd, Verdict, Verdicts},
    reason::GapReason,
};
use tokio::sync::{broadcast, mpsc};

/// A set of shards: bit `n` is shard `n`.
pub(super) type Shards = u64;

/// The shards' queues, by shard number.
#[derive(Debug)]
pub(super) struct Outlet {
    rings: Vec<broadcast::Sender<Event>>,
    replies: Vec<Replies>,
}

/// The verdicts of one shard that wait for [`Outlet::flush`].
#[derive(Debug)]
struct Replies {
    queue: mpsc::UnboundedSender<Verdicts>,
    /// The sequence of the last demand that was processed.
    read_up_to: u64,
    verdicts: Vec<Verdict>,
}

impl Outlet {
    /// Takes the queues; the demands are handed back.
    pub(super) fn new(end: UpstreamEnd) -> (Self, mpsc::Receiver<crate::exchange::Demand>) {
        let replies = end.verdicts.into_iter();
        let replies = replies.map(|queue| Replies { queue, read_up_to: 0, verdicts: Vec::new() });
        (Self { rings: end.rings, replies: replies.collect() }, end.demands)
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

    /// Notes that a shard's demand was read.
    pub(super) fn read(&mut self, shard: ShardId, sequence: u64) {
        self.replies[shard].read_up_to = sequence;
    }

    /// Queues a verdict for these shards.
    pub(super) fn verdict(&mut self, shards: Shards, verdict: &Verdict) {
        let mut left = shards;
        while left != 0 {
            self.replies[left.trailing_zeros() as usize].verdicts.push(verdict.clone());
            left &= left - 1;
        }
    }

    /// Queues a verdict for every shard.
    pub(super) fn verdict_all(&mut self, verdict: &Verdict) {
        self.replies.iter_mut().for_each(|shard| shard.verdicts.push(verdict.clone()));
    }

    /// Sends what was queued.
    pub(super) fn flush(&mut self) {
        for shard in self.replies.iter_mut().filter(|shard| !shard.verdicts.is_empty()) {
            let verdicts = std::mem::take(&mut shard.verdicts);
            // An error means that the shard has ended.
            let _ = shard.queue.send(Verdicts { read_up_to: shard.read_up_to, verdicts });
        }
    }
}
