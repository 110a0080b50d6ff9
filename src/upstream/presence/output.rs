//! What shards are told, staged until it goes into each ring under one lock.

use crate::{
    bus::{PresenceEvent, RingSender, ShardId},
    upstream::shard_queues::Shards,
};

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
        let mut left = shards;
        while left != 0 {
            self.staged[left.trailing_zeros() as usize].push(event.clone());
            left &= left - 1;
        }
    }

    /// How much was sent to each shard so far.
    pub(super) fn sent(&self) -> Vec<u64> {
        self.rings.iter().map(RingSender::sent).collect()
    }

    /// Whether each shard has taken as much.
    pub(super) fn is_taken(&self, sent: &[u64]) -> bool {
        self.rings.iter().zip(sent).all(|(ring, sent)| ring.taken() >= *sent)
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
