//! Channels that nobody wants any more: they stay subscribed for a while, then are given back.

use super::{Answered, ChannelState, Table};
use crate::channel::ChannelName;
use std::time::Duration;
use tokio::time::Instant;

impl Table {
    pub(super) fn start_linger(&mut self, channel: &ChannelName, now: Instant) {
        let left = self.millis(now);
        let Some(entry) = self.entries.get_mut(channel) else { return };
        entry.left = left;
        if entry.state != (ChannelState::Subscribed { leaving: true }) {
            entry.state = ChannelState::Subscribed { leaving: true };
            self.lingering.push_back((now + self.linger, channel.clone()));
        }
    }

    /// Takes a channel out of the queues that lead to its UNSUBSCRIBE. Looks through them whole: only
    /// a server that lets go of channels by itself is the cause.
    pub(super) fn end_linger(&mut self, channel: &ChannelName) {
        self.lingering.retain(|(_, lingering)| lingering != channel);
        self.queues.to_unsubscribe.retain(|queued| queued != channel);
        self.queues.kept.retain(|kept| kept != channel);
    }

    fn millis(&self, now: Instant) -> u32 {
        (now - self.epoch).as_millis() as u32
    }

    /// When [`Table::expire`] has something to do next.
    pub(in crate::upstream::pubsub) fn next_expiry(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }

    /// Moves the channels whose linger is over to those to unsubscribe. A channel that was wanted
    /// again in between starts its linger anew, so it may linger up to twice as long.
    pub(in crate::upstream::pubsub) fn expire(&mut self, now: Instant) {
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

    /// Takes up to `limit` channels for an UNSUBSCRIBE. Each must come back by
    /// [`Table::released`] or [`Table::keep`], unless the link is lost.
    pub(in crate::upstream::pubsub) fn take_unsubscribes(
        &mut self,
        limit: usize,
        now: Instant,
    ) -> Vec<ChannelName> {
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

    /// Redis has not let go of a channel: it is subscribed as before. If nobody wants it, it is given
    /// back at [`Table::retry_kept`]. Returns who has joined it meanwhile and was told nothing yet.
    pub(in crate::upstream::pubsub) fn keep(&mut self, channel: &str) -> Option<Answered> {
        let (name, _) = self.entries.get_key_value(channel)?;
        let name = name.clone();
        let entry = self.entries.get_mut(channel)?;
        if entry.state != ChannelState::Releasing {
            return None;
        }
        self.subscribed += 1;
        entry.state = ChannelState::Subscribed { leaving: entry.wanted == 0 };
        if entry.wanted == 0 {
            self.queues.kept.push(name);
            return None;
        }
        Some(Answered { channel: name, shards: entry.wanted, gap: None })
    }

    /// Whether there is anything that Redis did not let go of.
    pub(in crate::upstream::pubsub) fn has_kept(&self) -> bool {
        !self.queues.kept.is_empty()
    }

    /// Gives back once more what Redis did not let go of.
    pub(in crate::upstream::pubsub) fn retry_kept(&mut self, now: Instant) {
        for channel in std::mem::take(&mut self.queues.kept) {
            if self.is_over(&channel, now) {
                self.queues.to_unsubscribe.push_back(channel);
            }
        }
    }
}
