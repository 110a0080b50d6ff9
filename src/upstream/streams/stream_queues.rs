//! The shards' stream rings, and what goes into them with the next flush.

use super::table::Stream;
use crate::{
    bus::{Fill, RejectedBy, RingEvent as _, RingSender, ShardId, StreamEvent},
    upstream::shard_queues::Shards,
};

/// Upstream's ends of the stream rings, by shard number.
#[derive(Debug)]
pub(super) struct StreamQueues {
    shards: Vec<Staged>,
    /// Bytes staged since the last [`StreamQueues::flush`].
    bytes: usize,
}

#[derive(Debug)]
struct Staged {
    ring: RingSender<StreamEvent>,
    events: Vec<StreamEvent>,
    /// The sequence of the last request that was processed.
    read_up_to: u64,
}

impl StreamQueues {
    pub(super) fn new(rings: Vec<RingSender<StreamEvent>>) -> Self {
        let staged = |ring| Staged { ring, events: Vec::new(), read_up_to: 0 };
        Self { shards: rings.into_iter().map(staged).collect(), bytes: 0 }
    }

    /// Notes that a shard's request was read.
    pub(super) fn read(&mut self, shard: ShardId, sequence: u64) {
        self.shards[shard].read_up_to = sequence;
    }

    /// Stages one event for these shards.
    pub(super) fn send(&mut self, to: Shards, event: &StreamEvent) {
        self.bytes += event.bytes();
        for shard in members(to) {
            self.shards[shard].events.push(event.clone());
        }
    }

    /// Tells these shards the place from which on they get the stream's entries.
    pub(super) fn subscribed(&mut self, to: Shards, stream: &Stream) {
        let Some(place) = stream.place else { return };
        for shard in members(to) {
            let read_up_to = self.shards[shard].read_up_to;
            let (stream, place) = (stream.name.clone(), place.last);
            let event = StreamEvent::Subscribed { stream, place, read_up_to };
            self.shards[shard].events.push(event);
        }
    }

    /// Tells these shards that the stream cannot be had.
    pub(super) fn rejected(
        &mut self,
        to: Shards,
        stream: &crate::channel::ChannelName,
        by: RejectedBy,
    ) {
        for shard in members(to) {
            let read_up_to = self.shards[shard].read_up_to;
            let event = StreamEvent::Rejected { stream: stream.clone(), by, read_up_to };
            self.shards[shard].events.push(event);
        }
    }

    /// Bytes that wait for the next flush.
    pub(super) fn staged(&self) -> usize {
        self.bytes
    }

    /// Sends what was staged.
    pub(super) fn flush(&mut self) {
        self.bytes = 0;
        for shard in self.shards.iter_mut().filter(|shard| !shard.events.is_empty()) {
            shard.ring.append(&mut shard.events);
        }
    }

    /// The shards that have fallen so far behind that nothing more should be read for them.
    pub(super) fn behind(&self) -> Shards {
        let is_behind = |shard: &Staged| shard.ring.fill() == Fill::High;
        let behind = self.shards.iter().enumerate().filter(|(_, shard)| is_behind(shard));
        behind.fold(0, |shards, (number, _)| shards | 1 << number)
    }
}

/// The numbers of these shards.
fn members(shards: Shards) -> impl Iterator<Item = ShardId> {
    let mut left = shards;
    std::iter::from_fn(move || {
        let shard = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(shard)
    })
}
