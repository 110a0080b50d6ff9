//! What a node is to be asked next, in which order.

use super::{ChannelState, Entries};
use crate::channel::ChannelName;
use hashbrown::HashSet;
use std::collections::VecDeque;

/// Names that are remembered as refused. Beyond it they are all forgotten.
pub(super) const SUSPECTS: usize = 10_000;

/// What a node is to be asked.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) linked: bool,
    pub(super) to_subscribe: VecDeque<ChannelName>,
    /// Those to subscribe that were refused before: each in a command of its own.
    pub(super) alone: VecDeque<ChannelName>,
    pub(super) to_unsubscribe: VecDeque<ChannelName>,
    /// Those that Redis did not let go of, to be given back later.
    pub(super) kept: Vec<ChannelName>,
    /// Refused once, and not confirmed since.
    pub(super) suspects: HashSet<ChannelName, foldhash::fast::RandomState>,
}

impl Queues {
    pub(super) fn subscribe(&mut self, channel: ChannelName) {
        if self.suspects.contains(&channel) {
            self.alone.push_back(channel);
        } else {
            self.to_subscribe.push_back(channel);
        }
    }

    /// Remembers a refusal.
    pub(super) fn suspect(&mut self, channel: &ChannelName) {
        if self.suspects.len() >= SUSPECTS {
            self.suspects.clear();
        }
        self.suspects.insert(channel.clone());
    }

    pub(super) fn clear(&mut self) {
        self.linked = false;
        self.to_subscribe.clear();
        self.alone.clear();
        self.to_unsubscribe.clear();
        self.kept.clear();
    }
}

/// Takes channels that somebody still wants out of a queue, to be asked for.
pub(super) fn take(
    queue: &mut VecDeque<ChannelName>,
    entries: &mut Entries,
    limit: usize,
) -> Vec<ChannelName> {
    let mut batch = Vec::with_capacity(limit.min(queue.len()));
    while batch.len() < limit {
        let Some(channel) = queue.pop_front() else { break };
        let Some(entry) = entries.get_mut(&channel) else { continue };
        if entry.wanted == 0 {
            entries.remove(&channel);
            continue;
        }
        entry.state = ChannelState::Asked;
        batch.push(channel);
    }
    batch
}
