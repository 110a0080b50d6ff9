//! The table of channels: who wants what, what Redis has confirmed, what is to be asked next.
//!
//! Pure: it sends nothing and reads no clock. An entry costs 16 bytes beside its name; a name
//! appears at most once in each of the queues, so these are bounded by the table.
//!
//! The life of a channel: *queued* by the first join, *asked* when a SUBSCRIBE takes it, then
//! *subscribed* or *refused*. The last leave of a subscribed channel starts its linger; after that it
//! is *releasing* until the UNSUBSCRIBE is acknowledged, and gone. A channel lives on one node, and
//! only what that node's link says of it counts.

use crate::{
    bus::ShardId, channel::ChannelName, reason::GapReason, upstream::shard_queues::Shards,
};
use hashbrown::HashMap;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

mod answers;
mod linger;
mod patterns;
mod queues;

pub(super) use answers::Answered;
use patterns::Patterns;
use queues::{Queues, take};

/// Number of a Redis server, from 0.
pub(super) type NodeId = u16;

/// The node of every channel: there is one server.
pub(super) const ONLY_NODE: NodeId = 0;

type Entries = HashMap<ChannelName, Entry, foldhash::fast::RandomState>;

/// Everything upstream knows of channels.
#[derive(Debug)]
pub(super) struct Table {
    entries: Entries,
    queues: Queues,
    patterns: Patterns,
    linger: Duration,
    /// `Entry::left` counts from here.
    epoch: Instant,
    /// Channels whose last leave may have been `linger` ago at the instant given.
    lingering: VecDeque<(Instant, ChannelName)>,
    wanted: usize,
    subscribed: usize,
    refused: usize,
}

#[derive(Debug)]
struct Entry {
    wanted: Shards,
    /// Milliseconds from `Table::epoch` to the last leave; wraps after seven weeks, which at worst
    /// ends one linger early.
    left: u32,
    node: NodeId,
    state: ChannelState,
    /// Was subscribed on a link that is lost: messages may have been missed since.
    missed: Option<GapReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    Queued,
    Asked,
    /// `leaving`: it stands in `lingering`, `to_unsubscribe` or `kept`.
    Subscribed {
        leaving: bool,
    },
    Refused,
    Releasing,
}

/// What is known of a channel at its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// Messages flow from this moment on.
    Subscribed,
    /// Redis refused it a moment ago.
    Refused,
    /// Redis will be asked.
    Pending,
    /// There is no link; it will be asked for when there is one.
    NoLink,
    /// It is a pattern too many. It is not kept: nothing more is told of it.
    PatternLimit,
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// To these shards, perhaps none. With the channel's own name.
    To(&'a ChannelName, Shards),
    /// Nowhere: its channel is not confirmed on the node that it comes from.
    Stale,
    /// It is no session's channel.
    Unknown,
}

/// What a lost link leaves behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LostChannels {
    /// They were confirmed, and are not any more.
    pub(super) confirmed: Vec<ChannelName>,
    /// They were asked for, or to be asked for, with the shards that wait for the answer.
    pub(super) unanswered: Vec<(ChannelName, Shards)>,
}

impl Table {
    pub(super) fn new(linger: Duration, max_patterns: usize, now: Instant) -> Self {
        Self {
            entries: HashMap::default(),
            queues: Queues::default(),
            patterns: Patterns::new(max_patterns),
            linger,
            epoch: now,
            lingering: VecDeque::new(),
            wanted: 0,
            subscribed: 0,
            refused: 0,
        }
    }

    /// Channels that some shard wants.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Channels that Redis has confirmed, those that linger included.
    pub(super) fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Patterns that some shard wants or that Redis has: each makes every PUBLISH dearer.
    pub(super) fn patterns(&mut self) -> usize {
        self.patterns.count(&self.entries)
    }

    /// Where a message goes that came from `node`. The path of every message.
    pub(super) fn route(&self, node: NodeId, channel: &str) -> Route<'_> {
        match self.entries.get_key_value(channel) {
            None => Route::Unknown,
            Some((_, entry)) if entry.node != node => Route::Stale,
            Some((name, entry)) => match entry.state {
                ChannelState::Subscribed { .. } => Route::To(name, entry.wanted),
                // A shard that joined since the UNSUBSCRIBE was sent has been told nothing yet.
                ChannelState::Releasing => Route::To(name, 0),
                ChannelState::Queued | ChannelState::Asked | ChannelState::Refused => Route::Stale,
            },
        }
    }

    pub(super) fn join(&mut self, shard: ShardId, channel: &ChannelName) -> Joined {
        let Some(entry) = self.entries.get_mut(channel) else {
            if channel.is_pattern() && !self.patterns.insert(channel, &self.entries) {
                return Joined::PatternLimit;
            }
            self.insert(shard, channel);
            return if self.queues.linked { Joined::Pending } else { Joined::NoLink };
        };
        self.wanted += usize::from(entry.wanted == 0);
        entry.wanted |= 1 << shard;
        match entry.state {
            ChannelState::Subscribed { .. } => Joined::Subscribed,
            ChannelState::Refused => Joined::Refused,
            _ if self.queues.linked => Joined::Pending,
            ChannelState::Queued | ChannelState::Asked | ChannelState::Releasing => Joined::NoLink,
        }
    }

    fn insert(&mut self, shard: ShardId, channel: &ChannelName) {
        self.wanted += 1;
        let entry = Entry {
            wanted: 1 << shard,
            left: 0,
            node: ONLY_NODE,
            state: ChannelState::Queued,
            missed: None,
        };
        self.entries.insert(channel.clone(), entry);
        if self.queues.linked {
            self.queues.subscribe(channel.clone());
        }
    }

    pub(super) fn leave(&mut self, shard: ShardId, channel: &ChannelName, now: Instant) {
        let Some(entry) = self.entries.get_mut(channel) else { return };
        if entry.wanted & (1 << shard) == 0 {
            return;
        }
        entry.wanted &= !(1 << shard);
        if entry.wanted != 0 {
            return;
        }
        self.wanted -= 1;
        // A shard that joins from now on was not there and misses nothing.
        entry.missed = None;
        match entry.state {
            ChannelState::Subscribed { .. } => self.start_linger(channel, now),
            // Without a link nothing stands in a queue, so nothing has to look at the entry again.
            _ if !self.queues.linked => drop(self.entries.remove(channel)),
            // Queued, asked and releasing entries end where their command does. A refusal is
            // remembered for a while, so that joining again and again does not ask again and again.
            ChannelState::Queued
            | ChannelState::Asked
            | ChannelState::Refused
            | ChannelState::Releasing => {}
        }
    }

    /// Whether there is anything to subscribe.
    pub(super) fn subscribes(&self) -> bool {
        !self.queues.to_subscribe.is_empty() || !self.queues.alone.is_empty()
    }

    /// Whether there is anything that may go out together: all but what is asked alone.
    pub(super) fn has_batches(&self) -> bool {
        !self.queues.to_subscribe.is_empty() || !self.queues.to_unsubscribe.is_empty()
    }

    /// Takes up to `limit` channels for one SUBSCRIBE. Each must come back by [`Table::confirm`]
    /// or [`Table::refuse`], or be given up by [`Table::is_still_asked`], unless the link is lost.
    pub(super) fn take_subscribes(&mut self, limit: usize) -> Vec<ChannelName> {
        take(&mut self.queues.to_subscribe, &mut self.entries, limit)
    }

    /// Takes up to `limit` channels that were refused before, for a SUBSCRIBE each: one that is
    /// refused again then delays nobody else's.
    pub(super) fn take_alone(&mut self, limit: usize) -> Vec<ChannelName> {
        take(&mut self.queues.alone, &mut self.entries, limit)
    }

    /// There is a link: everything wanted is to be subscribed.
    pub(super) fn link_up(&mut self) {
        self.queues.linked = true;
        self.entries.keys().for_each(|channel| self.queues.subscribe(channel.clone()));
    }

    /// The link is lost, for this reason: nothing is confirmed any more, what nobody wants is
    /// forgotten.
    pub(super) fn link_lost(&mut self, reason: GapReason) -> LostChannels {
        self.queues.clear();
        self.lingering.clear();
        (self.subscribed, self.refused) = (0, 0);
        let mut lost = LostChannels::default();
        self.entries.retain(|channel, entry| {
            let before = std::mem::replace(&mut entry.state, ChannelState::Queued);
            match before {
                _ if entry.wanted == 0 => return false,
                ChannelState::Subscribed { .. } => {
                    entry.missed = Some(reason);
                    lost.confirmed.push(channel.clone());
                }
                ChannelState::Refused => {}
                ChannelState::Queued | ChannelState::Asked | ChannelState::Releasing => {
                    lost.unanswered.push((channel.clone(), entry.wanted));
                }
            }
            true
        });
        lost
    }
}

#[cfg(test)]
mod tests;
