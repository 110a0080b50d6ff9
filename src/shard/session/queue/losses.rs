//! What a queue loses, and the gap that tells of it, in its place.

use super::{Item, OutQueue};
use crate::{
    channel::ChannelName,
    reason::GapReason,
    wire::{Gap, Loss},
};
use std::collections::HashSet;

impl OutQueue {
    /// Marks that messages may have been missed upstream just here. Losses at one place are one notice
    /// until it is written.
    pub(in crate::shard::session) fn push_gap(&mut self, channel: &ChannelName, loss: Loss) {
        let end = self.items.len();
        match self.gap_before(end, channel, loss.reason) {
            Some(gap) => gap.loss.add(loss),
            None => self.items.push(Item::gap(channel.clone(), loss)),
        }
    }

    /// Drops the oldest message that is not yet partly written. `false`: there is none.
    pub(in crate::shard::session) fn skip_oldest(&mut self) -> bool {
        let oldest = self.movable().find(|&at| matches!(self.items[at], Item::Message(_)));
        oldest.map(|at| self.drop_message(at)).is_some()
    }

    /// Drops every message that a newer one of its channel follows; `incoming` is the channel of one
    /// that is about to be queued. Returns how many.
    pub(in crate::shard::session) fn keep_latest(&mut self, incoming: &ChannelName) -> usize {
        let mut newer = HashSet::from([incoming.clone()]);
        let replaced: Vec<usize> = self
            .movable()
            .rev()
            .filter(|&at| match &self.items[at] {
                Item::Message(message) => !newer.insert(message.channel.clone()),
                Item::Replayed(_) | Item::Gap(_) | Item::Frame(_) | Item::Reply(_) => false,
            })
            .collect();
        // From the front, so that neighbours share one gap; each that did moved the rest up by one.
        let mut moved = 0;
        for at in replaced.iter().rev() {
            if self.drop_message(at - moved) {
                moved += 1;
            }
        }
        replaced.len()
    }

    /// Puts a gap in a message's place, or adds it to the gap before. `true`: the latter, so that
    /// the place is gone.
    fn drop_message(&mut self, at: usize) -> bool {
        let Item::Message(message) = &self.items[at] else { return false };
        let channel = message.topic().clone();
        let loss = Loss { id: message.id, ..GapReason::SlowConsumer.into() };
        self.messages -= 1;
        self.bytes -= self.weight(message);
        match self.gap_before(at, &channel, loss.reason) {
            Some(gap) => {
                gap.loss.add(loss);
                self.items.remove(at);
                true
            }
            None => {
                self.items[at] = Item::gap(channel, loss);
                false
            }
        }
    }

    /// A gap directly before `at`, with other gaps at most between, that tells what a new one would and
    /// of which nothing is written.
    fn gap_before(
        &mut self,
        at: usize,
        channel: &ChannelName,
        reason: GapReason,
    ) -> Option<&mut Gap> {
        let found = (self.movable().start..at)
            .rev()
            .map_while(|at| match &self.items[at] {
                Item::Gap(it) => Some((at, self.codec.gap_includes(&it.gap, channel, reason))),
                Item::Message(_) | Item::Replayed(_) | Item::Frame(_) | Item::Reply(_) => None,
            })
            .find_map(|(at, included)| included.then_some(at))?;
        match &mut self.items[found] {
            Item::Gap(pending) => {
                pending.frame = None;
                Some(&mut pending.gap)
            }
            Item::Message(_) | Item::Replayed(_) | Item::Frame(_) | Item::Reply(_) => None,
        }
    }
}
