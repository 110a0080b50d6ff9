//! The table of channels: who wants what, what Redis has confirmed, what is to be asked next.
//!
//! Pure: it sends nothing and reads no clock. An entry costs 16 bytes beside its name; a name
//! appears at most once in each of the queues, so these are bounded by the table.
//!
//! The life of a channel: *queued* by the first join, *asked* when a SUBSCRIBE takes it, then
//! *subscribed* or *refused*. The last leave of a subscribed channel starts its linger; after that it
//! is *releasing* until the UNSUBSCRIBE is acknowledged, and gone. A channel lives on one node, and
//! only what that node's link says of it counts.

use crate::{bus::ShardId, channel::ChannelName, reason::GapReason, upstream::router::Shards};
use hashbrown::{HashMap, HashSet};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Number of a Redis server, from 0.
pub(in crate::upstream) type Node = u16;

/// The node of every channel: there is one server.
pub(in crate::upstream) const ONLY_NODE: Node = 0;

/// Names that are remembered as refused. Beyond it they are all forgotten.
const SUSPECTS: usize = 10_000;

/// Everything upstream knows of channels.
#[derive(Debug)]
pub(in crate::upstream) struct Table {
    entries: HashMap<ChannelName, Entry, foldhash::fast::RandomState>,
    queues: Queues,
    linger: Duration,
    /// `Entry::left` counts from here.
    epoch: Instant,
    /// Channels whose last leave may have been `linger` ago at the instant given.
    lingering: VecDeque<(Instant, ChannelName)>,
    wanted: usize,
    subscribed: usize,
    refused: usize,
}

/// What a node is to be asked.
#[derive(Debug, Default)]
struct Queues {
    linked: bool,
    to_subscribe: VecDeque<ChannelName>,
    /// Those to subscribe that were refused before: each in a command of its own.
    alone: VecDeque<ChannelName>,
    to_unsubscribe: VecDeque<ChannelName>,
    /// Refused once, and not confirmed since.
    suspects: HashSet<ChannelName, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Entry {
    wanted: Shards,
    /// Milliseconds from `Table::epoch` to the last leave; wraps after seven weeks, which at worst
    /// ends one linger early.
    left: u32,
    node: Node,
    state: ChannelState,
    /// Was subscribed on a link that is lost: messages may have been missed since.
    missed: Option<GapReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    Queued,
    Asked,
    /// `leaving`: it stands in `lingering` or `to_unsubscribe`.
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
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Route<'a> {
    /// To these shards, perhaps none. With the channel's own name.
    To(&'a ChannelName, Shards),
    /// Nowhere: its channel is not confirmed on the node that it comes from.
    Stale,
    /// It is no session's channel.
    Unknown,
}

/// What an answer of Redis means for the shards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) channel: ChannelName,
    /// Who is to be told.
    pub(super) shards: Shards,
    /// Why messages may have been missed until now.
    pub(super) gap: Option<GapReason>,
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
    pub(super) fn new(linger: Duration, now: Instant) -> Self {
        Self {
            entries: HashMap::default(),
            queues: Queues::default(),
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

    /// Where a message goes that came from `node`. The path of every message.
    pub(in crate::upstream) fn route(&self, node: Node, channel: &str) -> Route<'_> {
        match self.entries.get_key_value(channel) {
            None => Route::Unknown,
            Some((_, entry)) if entry.node != node => Route::Stale,
            Some((name, entry)) => match entry.state {
                ChannelState::Subscribed { .. } => Route::To(name, entry.wanted),
                // Who joined since the UNSUBSCRIBE was sent has been told of nothing yet.
                ChannelState::Releasing => Route::To(name, 0),
                ChannelState::Queued | ChannelState::Asked | ChannelState::Refused => Route::Stale,
            },
        }
    }

    pub(super) fn join(&mut self, shard: ShardId, channel: &ChannelName) -> Joined {
        let Some(entry) = self.entries.get_mut(channel) else {
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

    fn start_linger(&mut self, channel: &ChannelName, now: Instant) {
        let left = self.millis(now);
        let Some(entry) = self.entries.get_mut(channel) else { return };
        entry.left = left;
        if entry.state != (ChannelState::Subscribed { leaving: true }) {
            entry.state = ChannelState::Subscribed { leaving: true };
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
                self.queues.to_unsubscribe.push_back(channel);
            }
        }
    }

    /// Whether nobody wants the channel any more and its linger is over. If not, it goes back to
    /// where it belongs.
    fn is_over(&mut self, channel: &ChannelName, now: Instant) -> bool {
        let millis = self.millis(now);
        let Some(entry) = self.entries.get_mut(channel) else { return false };
        if !matches!(entry.state, ChannelState::Subscribed { .. }) {
            return false; // Redis has let go of it unasked.
        }
        if entry.wanted != 0 {
            entry.state = ChannelState::Subscribed { leaving: false };
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
        !self.queues.to_subscribe.is_empty() || !self.queues.alone.is_empty()
    }

    /// Whether there is anything to unsubscribe.
    pub(super) fn unsubscribes(&self) -> bool {
        !self.queues.to_unsubscribe.is_empty()
    }

    /// Takes up to `limit` channels for one SUBSCRIBE. Each must come back by [`Table::confirm`]
    /// or [`Table::refuse`], unless the link is lost.
    pub(super) fn take_subscribes(&mut self, limit: usize) -> Vec<ChannelName> {
        take(&mut self.queues.to_subscribe, &mut self.entries, limit)
    }

    /// Takes up to `limit` channels that were refused before, for a SUBSCRIBE each: one that is
    /// refused again then delays nobody else's.
    pub(super) fn take_alone(&mut self, limit: usize) -> Vec<ChannelName> {
        take(&mut self.queues.alone, &mut self.entries, limit)
    }

    /// Redis has confirmed a channel. `None`: it was not asked for.
    pub(super) fn confirm(&mut self, channel: &str, now: Instant) -> Option<Answered> {
        let (channel, entry) = self.asked(channel)?;
        entry.state = ChannelState::Subscribed { leaving: false };
        let answered = Answered { channel, shards: entry.wanted, gap: entry.missed.take() };
        self.subscribed += 1;
        self.queues.suspects.remove(&answered.channel);
        if answered.shards == 0 {
            self.start_linger(&answered.channel, now);
        }
        Some(answered)
    }

    /// Redis has refused a channel. `None`: it was not asked for. Its sessions are closed, so that no
    /// gap is told of it, neither now nor when it is back.
    pub(super) fn refuse(&mut self, channel: &str) -> Option<Answered> {
        let (channel, entry) = self.asked(channel)?;
        entry.state = ChannelState::Refused;
        entry.missed = None;
        let shards = entry.wanted;
        self.refused += 1;
        self.queues.suspect(&channel);
        Some(Answered { channel, shards, gap: None })
    }

    fn asked(&mut self, channel: &str) -> Option<(ChannelName, &mut Entry)> {
        let (name, _) = self.entries.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.entries.get_mut(channel)?;
        (entry.state == ChannelState::Asked).then_some((name, entry))
    }

    /// Whether any refusal is remembered.
    pub(super) fn has_refused(&self) -> bool {
        self.refused != 0
    }

    /// Queues the refused channels that somebody wants once more, and lets the others go.
    pub(super) fn retry_refused(&mut self) {
        if std::mem::take(&mut self.refused) == 0 {
            return;
        }
        let queues = &mut self.queues;
        self.entries.retain(|channel, entry| {
            if entry.state != ChannelState::Refused {
                return true;
            }
            if entry.wanted != 0 {
                entry.state = ChannelState::Queued;
                queues.subscribe(channel.clone());
            }
            entry.wanted != 0
        });
    }

    /// Takes up to `limit` channels for an UNSUBSCRIBE. Each must come back by
    /// [`Table::released`], unless the link is lost.
    pub(super) fn take_unsubscribes(&mut self, limit: usize, now: Instant) -> Vec<ChannelName> {
        let mut batch = Vec::with_capacity(limit.min(self.queues.to_unsubscribe.len()));
        while batch.len() < limit {
            let Some(channel) = self.queues.to_unsubscribe.pop_front() else { break };
            // Somebody may have come, or come and gone, since it was put here.
            if !self.is_over(&channel, now) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(&channel) else { continue };
            entry.state = ChannelState::Releasing;
            self.subscribed -= 1;
            batch.push(channel);
        }
        batch
    }

    /// Redis has let go of a channel. Whoever joined meanwhile was not told anything yet, so for
    /// him it is a first subscription, without a gap. Returns the channel where nobody had asked
    /// for that: it is lost, and will be asked for again.
    pub(super) fn released(&mut self, channel: &str) -> Option<ChannelName> {
        let (name, _) = self.entries.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.entries.get_mut(channel)?;
        let unasked = matches!(entry.state, ChannelState::Subscribed { .. });
        if !unasked && entry.state != ChannelState::Releasing {
            return None;
        }
        self.subscribed -= usize::from(unasked);
        if entry.wanted == 0 {
            self.entries.remove(&name);
            return None;
        }
        entry.state = ChannelState::Queued;
        entry.missed = unasked.then_some(GapReason::RedisMoved);
        self.queues.subscribe(name.clone());
        unasked.then_some(name)
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

impl Queues {
    fn subscribe(&mut self, channel: ChannelName) {
        if self.suspects.contains(&channel) {
            self.alone.push_back(channel);
        } else {
            self.to_subscribe.push_back(channel);
        }
    }

    /// Remembers a refusal.
    fn suspect(&mut self, channel: &ChannelName) {
        if self.suspects.len() >= SUSPECTS {
            self.suspects.clear();
        }
        self.suspects.insert(channel.clone());
    }

    fn clear(&mut self) {
        self.linked = false;
        self.to_subscribe.clear();
        self.alone.clear();
        self.to_unsubscribe.clear();
    }
}

type Entries = HashMap<ChannelName, Entry, foldhash::fast::RandomState>;

/// Takes channels that somebody still wants out of a queue, to be asked for.
fn take(
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

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
