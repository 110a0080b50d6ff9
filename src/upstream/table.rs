//! The table of channels: who wants what, what Redis has confirmed, what is to be asked next.
//!
//! Pure: it sends nothing and reads no clock. An entry costs 16 bytes beside its name; a name
//! appears at most once in each of the queues, so these are bounded by the table.
//!
//! The life of a channel: *queued* by the first join, *asked* when a SUBSCRIBE takes it, then
//! *held* or *refused*. The last leave of a held channel starts its linger; after that it is
//! *releasing* until the UNSUBSCRIBE is acknowledged, and gone.

use super::shard_queues::Shards;
use crate::{bus::ShardId, channel::ChannelName};
use hashbrown::HashMap;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Everything upstream knows of channels.
#[derive(Debug)]
pub(super) struct Table {
    entries: HashMap<ChannelName, Entry, foldhash::fast::RandomState>,
    linked: bool,
    linger: Duration,
    /// `Entry::left` counts from here.
    epoch: Instant,
    to_subscribe: VecDeque<ChannelName>,
    to_unsubscribe: VecDeque<ChannelName>,
    /// Channels whose last leave may have been `linger` ago at the instant given.
    lingering: VecDeque<(Instant, ChannelName)>,
    wanted: usize,
    held: usize,
    refused: usize,
}

#[derive(Debug)]
struct Entry {
    wanted: Shards,
    /// Milliseconds from `Table::epoch` to the last leave; wraps after seven weeks, which at worst
    /// ends one linger early.
    left: u32,
    state: State,
    /// Was held on a link that is lost: messages may have been missed since.
    missed: bool,
    /// Stands in `lingering` or `to_unsubscribe`.
    leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Asked,
    Held,
    Refused,
    Releasing,
}

/// What is known of a channel at its join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// It is held: messages flow from this moment on.
    Held,
    /// Redis refused it a moment ago.
    Refused,
    /// Redis will be asked.
    Pending,
    /// There is no link; it will be asked for when there is one.
    NoLink,
}

/// A channel to subscribe.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) channel: ChannelName,
    /// Shards that must be told of a gap before the SUBSCRIBE is written; 0 = none.
    pub(super) gap: Shards,
}

impl Table {
    pub(super) fn new(linger: Duration, now: Instant) -> Self {
        Self {
            entries: HashMap::default(),
            linked: false,
            linger,
            epoch: now,
            to_subscribe: VecDeque::new(),
            to_unsubscribe: VecDeque::new(),
            lingering: VecDeque::new(),
            wanted: 0,
            held: 0,
            refused: 0,
        }
    }

    /// Channels that some shard wants.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Channels that Redis has confirmed, those that linger included.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The channel's own name and the shards that want it. The path of every message.
    pub(super) fn route(&self, channel: &str) -> Option<(&ChannelName, Shards)> {
        self.entries.get_key_value(channel).map(|(name, entry)| (name, entry.wanted))
    }

    pub(super) fn join(&mut self, shard: ShardId, channel: &ChannelName) -> Joined {
        let Some(entry) = self.entries.get_mut(channel) else {
            self.insert(shard, channel.clone());
            return if self.linked { Joined::Pending } else { Joined::NoLink };
        };
        self.wanted += usize::from(entry.wanted == 0);
        entry.wanted |= 1 << shard;
        match entry.state {
            State::Held => Joined::Held,
            State::Refused => Joined::Refused,
            State::Queued | State::Asked | State::Releasing if self.linked => Joined::Pending,
            State::Queued | State::Asked | State::Releasing => Joined::NoLink,
        }
    }

    fn insert(&mut self, shard: ShardId, channel: ChannelName) {
        self.wanted += 1;
        if self.linked {
            self.to_subscribe.push_back(channel.clone());
        }
        let entry = Entry {
            wanted: 1 << shard,
            left: 0,
            state: State::Queued,
            missed: false,
            leaving: false,
        };
        self.entries.insert(channel, entry);
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
        // Whoever joins from now on was not there and misses nothing.
        entry.missed = false;
        match entry.state {
            State::Held => self.start_linger(channel, now),
            // Without a link nothing stands in a queue, so nothing has to look at the entry again.
            _ if !self.linked => drop(self.entries.remove(channel)),
            // Queued, asked and releasing entries end where their command does. A refusal is
            // remembered for a while, so that joining again and again does not ask again and again.
            State::Queued | State::Asked | State::Refused | State::Releasing => {}
        }
    }

    fn start_linger(&mut self, channel: &ChannelName, now: Instant) {
        let left = self.millis(now);
        let Some(entry) = self.entries.get_mut(channel) else { return };
        entry.left = left;
        if !entry.leaving {
            entry.leaving = true;
            self.lingering.push_back((now + self.linger, channel.clone()));
        }
    }

    fn millis(&self, now: Instant) -> u32 {
        (now - self.epoch).as_millis() as u32
    }

    /// When [`Table::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }

    /// Moves the channels whose linger is over to those to unsubscribe. A channel that was wanted
    /// again in between starts its linger anew, so it may linger up to twice as long.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, channel)) = self.lingering.pop_front() else { return };
            if self.is_over(&channel, now) {
                self.to_unsubscribe.push_back(channel);
            }
        }
    }

    /// Whether nobody wants the channel any more and its linger is over. If not, it goes back to
    /// where it belongs.
    fn is_over(&mut self, channel: &ChannelName, now: Instant) -> bool {
        let millis = self.millis(now);
        let Some(entry) = self.entries.get_mut(channel) else { return false };
        if entry.wanted != 0 {
            entry.leaving = false;
            return false;
        }
        let age = Duration::from_millis(millis.wrapping_sub(entry.left).into());
        if age < self.linger {
            self.lingering.push_back((now + (self.linger - age), channel.clone()));
            return false;
        }
        true
    }

    /// Whether there is anything to subscribe.
    pub(super) fn subscribes(&self) -> bool {
        !self.to_subscribe.is_empty()
    }

    /// Whether there is anything to unsubscribe.
    pub(super) fn unsubscribes(&self) -> bool {
        !self.to_unsubscribe.is_empty()
    }

    /// Takes up to `limit` channels for a SUBSCRIBE. Each must come back by [`Table::confirm`] or
    /// [`Table::refuse`], unless the link is lost.
    pub(super) fn take_subscribes(&mut self, limit: usize) -> Vec<Ask> {
        let mut batch = Vec::with_capacity(limit.min(self.to_subscribe.len()));
        while batch.len() < limit {
            let Some(channel) = self.to_subscribe.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&channel) else { continue };
            if entry.wanted == 0 {
                self.entries.remove(&channel);
                continue;
            }
            entry.state = State::Asked;
            batch.push(Ask { gap: if entry.missed { entry.wanted } else { 0 }, channel });
        }
        batch
    }

    /// Redis has confirmed a channel. Returns the shards to tell.
    pub(super) fn confirm(&mut self, channel: &ChannelName, now: Instant) -> Shards {
        let Some(entry) = self.entries.get_mut(channel) else { return 0 };
        entry.state = State::Held;
        entry.missed = false;
        self.held += 1;
        let wanted = entry.wanted;
        if wanted == 0 {
            self.start_linger(channel, now);
        }
        wanted
    }

    /// Redis has refused a channel. Returns the shards to tell.
    pub(super) fn refuse(&mut self, channel: &ChannelName) -> Shards {
        let Some(entry) = self.entries.get_mut(channel) else { return 0 };
        entry.state = State::Refused;
        self.refused += 1;
        entry.wanted
    }

    /// Whether any refusal is remembered.
    pub(super) fn has_refused(&self) -> bool {
        self.refused != 0
    }

    /// Queues the refused channels that somebody wants once more, and forgets the others.
    pub(super) fn retry_refused(&mut self) {
        if std::mem::take(&mut self.refused) == 0 {
            return;
        }
        let queue = &mut self.to_subscribe;
        self.entries.retain(|channel, entry| {
            if entry.state != State::Refused {
                return true;
            }
            if entry.wanted != 0 {
                entry.state = State::Queued;
                queue.push_back(channel.clone());
            }
            entry.wanted != 0
        });
    }

    /// Takes up to `limit` channels for an UNSUBSCRIBE. Each must come back by
    /// [`Table::released`], unless the link is lost.
    pub(super) fn take_unsubscribes(&mut self, limit: usize, now: Instant) -> Vec<ChannelName> {
        let mut batch = Vec::with_capacity(limit.min(self.to_unsubscribe.len()));
        while batch.len() < limit {
            let Some(channel) = self.to_unsubscribe.pop_front() else { break };
            // Somebody may have come, or come and gone, since it was put here.
            if !self.is_over(&channel, now) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(&channel) else { continue };
            entry.leaving = false;
            entry.state = State::Releasing;
            self.held -= 1;
            batch.push(channel);
        }
        batch
    }

    /// Redis has let go of a channel. Whoever joined meanwhile was not told anything yet, so for
    /// him it is a first subscription, without a gap.
    pub(super) fn released(&mut self, channel: &ChannelName) {
        let Some(entry) = self.entries.get_mut(channel) else { return };
        if entry.wanted == 0 {
            self.entries.remove(channel);
        } else {
            entry.state = State::Queued;
            self.to_subscribe.push_back(channel.clone());
        }
    }

    /// There is a link: everything wanted is to be subscribed.
    pub(super) fn link_up(&mut self) {
        self.linked = true;
        self.to_subscribe = self.entries.keys().cloned().collect();
    }

    /// The link is lost: nothing is held any more, what nobody wants is forgotten. Returns what
    /// was asked for and not yet answered, with the shards that wait for it.
    pub(super) fn link_lost(&mut self) -> Vec<(ChannelName, Shards)> {
        self.linked = false;
        self.to_subscribe.clear();
        self.to_unsubscribe.clear();
        self.lingering.clear();
        (self.held, self.refused) = (0, 0);
        let mut unanswered = Vec::new();
        self.entries.retain(|channel, entry| {
            match entry.state {
                State::Held => entry.missed = true,
                State::Refused => {}
                State::Queued | State::Asked | State::Releasing if entry.wanted == 0 => {}
                State::Queued | State::Asked | State::Releasing => {
                    unanswered.push((channel.clone(), entry.wanted));
                }
            }
            entry.state = State::Queued;
            entry.leaving = false;
            entry.wanted != 0
        });
        unanswered
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
