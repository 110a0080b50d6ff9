//! What shards are told, staged until it goes into each ring under one lock.

use crate::{
    bus::{Fill, PresenceEvent, RingSender, ShardId},
    upstream::shard_queues::{Shards, members},
};

/// A shard for which so many events are staged is sent nothing that can wait.
const MOST_STAGED: usize = 32;

pub(super) struct Output {
    rings: Vec<RingSender<PresenceEvent>>,
    staged: Vec<Vec<PresenceEvent>>,
}

impl Output {
    pub(super) fn new(rings: Vec<RingSender<PresenceEvent>>) -> Self {
        let staged = rings.iter().map(|_| Vec::new()).collect();
        Self { rings, staged }
    }

    pub(super) fn send(&mut self, shards: Shards, event: &PresenceEvent) {
        members(shards).for_each(|shard| self.staged[shard].push(event.clone()));
    }

    /// Events that were sent to a shard so far; what is only staged is not.
    pub(super) fn sent(&self, shard: ShardId) -> u64 {
        self.rings[shard].sent()
    }

    /// How many of those the shard has taken, or lost.
    pub(super) fn taken(&self, shard: ShardId) -> u64 {
        self.rings[shard].taken()
    }

    /// Whether a shard has room for what can wait.
    pub(super) fn has_room(&self, shard: ShardId) -> bool {
        self.staged[shard].len() < MOST_STAGED && self.rings[shard].fill() == Fill::Low
    }

    pub(super) fn flush(&mut self) {
        for (ring, staged) in self.rings.iter().zip(&mut self.staged) {
            if !staged.is_empty() {
                ring.append(staged);
            }
        }
    }
}

/// The set of this shard alone.
pub(super) fn only(shard: ShardId) -> Shards {
    1 << shard
}
