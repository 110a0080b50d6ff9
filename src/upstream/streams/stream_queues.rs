//! The shards' stream rings, and what goes into them with the next flush.

use super::table::Stream;
use crate::{
    bus::{Fill, RejectedBy, RingEvent as _, RingSender, ShardId, StreamEvent},
    channel::ChannelName,
    upstream::shard_queues::{Shards, members},
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
    /// Bytes that still fit into the ring, what is staged included, as of the last look.
    room: usize,
}

impl StreamQueues {
    pub(super) fn new(rings: Vec<RingSender<StreamEvent>>) -> Self {
        let staged = |ring: RingSender<StreamEvent>| {
            let room = ring.room();
            Staged { ring, events: Vec::new(), read_up_to: 0, room }
        };
        Self { shards: rings.into_iter().map(staged).collect(), bytes: 0 }
    }

    /// Notes that a shard's request was read.
    pub(super) fn read(&mut self, shard: ShardId, sequence: u64) {
        self.shards[shard].read_up_to = sequence;
    }

    /// Stages one event for these shards.
    pub(super) fn send(&mut self, to: Shards, event: &StreamEvent) {
        let bytes = event.bytes();
        self.bytes += bytes;
        for shard in members(to) {
            let shard = &mut self.shards[shard];
            shard.room = shard.room.saturating_sub(bytes);
            shard.events.push(event.clone());
        }
    }

    /// Looks how much fits into each ring. Everything was flushed.
    pub(super) fn look(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.room = shard.ring.room());
    }

    /// Whether one more entry may be sent to all of these shards. One always fits, however large it is, so
    /// that a ring holds at most one entry beyond its bytes; and those that must not wait, behind a loss.
    pub(super) fn has_room(&self, to: Shards) -> bool {
        members(to).all(|shard| self.shards[shard].room > 0)
    }

    /// The least room of a ring, of those that are not behind.
    pub(super) fn least_room(&self, behind: Shards) -> usize {
        let shards = self.shards.iter().enumerate();
        let rooms = shards.filter(|(number, _)| behind & (1 << number) == 0);
        rooms.map(|(_, shard)| shard.room).min().unwrap_or(0)
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
    pub(super) fn rejected(&mut self, to: Shards, stream: &ChannelName, by: RejectedBy) {
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
        self.look();
    }

    /// The shards that have fallen so far behind that nothing more should be read for them.
    pub(super) fn behind(&self) -> Shards {
        let is_behind = |shard: &Staged| shard.ring.fill() == Fill::High;
        let behind = self.shards.iter().enumerate().filter(|(_, shard)| is_behind(shard));
        behind.fold(0, |shards, (number, _)| shards | 1 << number)
    }
}
