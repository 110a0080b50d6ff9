//! What happens to the model's stream, and what of it nobody can miss.

use super::INSTANCES;
use crate::{shard::stream_rig::Stream, stream_id::StreamId};
use fastrand::Rng;
use std::collections::HashSet;

/// Its entries are numbered in the order in which they are added, for ever.
pub(super) struct Backend {
    pub(super) random: Rng,
    added: u64,
    milliseconds: u64,
    /// Entries that nobody can miss: they were deleted, by themselves or with their stream.
    nobodys: HashSet<u64>,
    /// Everything that happened, for who reads of a failure.
    pub(super) history: Vec<String>,
}

impl Backend {
    pub(super) fn new(random: Rng) -> Self {
        Self { random, added: 0, milliseconds: 0, nobodys: HashSet::new(), history: Vec::new() }
    }

    /// Something happens. Nothing is trimmed or deleted alone while an instance has not read the stream since it
    /// was deleted whole: seen in one step, both look like a trim of the stream that was before, which is told
    /// with a wrong number, or not at all where the numbers agree by chance. No gateway can know; it is documented.
    pub(super) fn disturb(&mut self, stream: &mut Stream) {
        let may_remove = stream.readers() == INSTANCES;
        match self.random.u8(..100) {
            0..4 => self.delete(stream),
            4..8 if may_remove => self.delete_entry(stream),
            8..14 if may_remove => self.trim(stream),
            _ => self.add_some(1..6, stream),
        }
    }

    fn delete(&mut self, stream: &mut Stream) {
        self.note("DEL");
        self.nobodys.extend(1..=self.added);
        stream.delete();
        let back = [0, self.milliseconds, self.milliseconds / 2];
        self.milliseconds = back[self.random.usize(..3)];
        self.add_some(0..30, stream);
    }

    /// One of the newest.
    fn delete_entry(&mut self, stream: &mut Stream) {
        let at = self.random.usize(..5);
        let Some(&entry) = stream.entries.iter().rev().nth(at) else { return };
        self.note(format!("XDEL {entry}"));
        self.nobodys.insert(entry.sequence);
        stream.delete_entry(entry);
    }

    fn trim(&mut self, stream: &mut Stream) {
        let left = [0, 2, 5, 20][self.random.usize(..4)];
        self.note(format!("XTRIM {left}"));
        stream.trim_to(left);
    }

    fn add_some(&mut self, many: std::ops::Range<u8>, stream: &mut Stream) {
        let many = self.random.u8(many);
        (0..many).for_each(|_| self.add(stream));
        self.note(format!("XADD {many}, up to {}", stream.last()));
    }

    fn add(&mut self, stream: &mut Stream) {
        self.added += 1;
        self.milliseconds += self.random.u64(1..3);
        stream.add(StreamId { milliseconds: self.milliseconds, sequence: self.added });
    }

    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.history.push(what.into());
    }

    /// Entries between these two that somebody can miss.
    pub(super) fn missable(&self, before: u64, after: u64) -> u64 {
        (before + 1..after).filter(|number| !self.nobodys.contains(number)).count() as u64
    }
}
