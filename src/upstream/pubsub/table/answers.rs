//! What Redis answers about channels: confirmed, refused, released.

use super::{ChannelState, Entry, Table};
use crate::{channel::ChannelName, reason::GapReason, upstream::shard_queues::Shards};
use tokio::time::Instant;

/// What an answer of Redis means for the shards.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream::pubsub) struct Answered {
    pub(in crate::upstream::pubsub) channel: ChannelName,
    /// Who is to be told.
    pub(in crate::upstream::pubsub) shards: Shards,
    /// Why messages may have been missed until now.
    pub(in crate::upstream::pubsub) gap: Option<GapReason>,
}

impl Table {
    /// Redis has confirmed a channel. `None`: it was not asked for.
    pub(in crate::upstream::pubsub) fn confirm(
        &mut self,
        channel: &str,
        now: Instant,
    ) -> Option<Answered> {
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

    /// Redis has refused a channel. `None`: it was not asked for. Its sessions are closed,
    /// so that no gap is told of it, neither now nor when it is back.
    pub(in crate::upstream::pubsub) fn refuse(&mut self, channel: &str) -> Option<Answered> {
        let (channel, entry) = self.asked(channel)?;
        entry.state = ChannelState::Refused;
        entry.missed = None;
        let shards = entry.wanted;
        self.refused += 1;
        self.queues.suspect(&channel);
        Some(Answered { channel, shards, gap: None })
    }

    /// Whether a channel that was asked for, and is not answered yet, is still wanted. If not, it is
    /// forgotten.
    pub(in crate::upstream::pubsub) fn is_still_asked(&mut self, channel: &str) -> bool {
        match self.entries.get(channel) {
            Some(entry) if entry.state == ChannelState::Asked && entry.wanted == 0 => {
                self.entries.remove(channel);
                false
            }
            Some(entry) => entry.state == ChannelState::Asked,
            None => false,
        }
    }

    fn asked(&mut self, channel: &str) -> Option<(ChannelName, &mut Entry)> {
        let (name, _) = self.entries.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.entries.get_mut(channel)?;
        (entry.state == ChannelState::Asked).then_some((name, entry))
    }

    /// Whether any refusal is remembered.
    pub(in crate::upstream::pubsub) fn has_refused(&self) -> bool {
        self.refused != 0
    }

    /// Queues the refused channels that somebody wants once more, and lets the others go.
    pub(in crate::upstream::pubsub) fn retry_refused(&mut self) {
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

    /// Redis has let go of a channel. A shard that joined meanwhile was not told anything yet, so
    /// for it this is a first subscription, without a gap. Returns the channel where nobody had
    /// asked for that: it is lost, and will be asked for again.
    pub(in crate::upstream::pubsub) fn released(&mut self, channel: &str) -> Option<ChannelName> {
        let (name, _) = self.entries.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.entries.get_mut(channel)?;
        let unasked = matches!(entry.state, ChannelState::Subscribed { .. });
        let is_leaving = entry.state == (ChannelState::Subscribed { leaving: true });
        if !unasked && entry.state != ChannelState::Releasing {
            return None;
        }
        self.subscribed -= usize::from(unasked);
        let is_wanted = entry.wanted != 0;
        if is_wanted {
            entry.state = ChannelState::Queued;
            entry.missed = unasked.then_some(GapReason::RedisMoved);
            self.queues.subscribe(name.clone());
        } else {
            self.entries.remove(&name);
        }
        if is_leaving {
            self.end_linger(&name);
        }
        (unasked && is_wanted).then_some(name)
    }
}
