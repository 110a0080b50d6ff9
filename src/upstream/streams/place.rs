//! The gateway's place in a stream, and what it means that the entry there is gone.
//!
//! A stream is read from its place on, that entry included: if it is there, nothing behind it was
//! trimmed. If it is not, what XINFO says in the same step tells how many entries are lost, or that this
//! is another stream. Pure.

use crate::{bus::StreamFacts, reason::GapReason, stream_id::StreamId};

/// How far a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The id of the last entry that was read, or up to which there was none.
    pub(super) last: StreamId,
    /// How many entries were ever added up to there; `None`: nobody knows.
    pub(super) added: Option<u64>,
    /// The place at which the server itself last said how many.
    pub(super) counted: StreamId,
}

/// What a reading has found where the place's own entry should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finding {
    /// The stream is, or may be, another one.
    pub(super) is_turn: bool,
    pub(super) lost: Option<Lost>,
    /// The place from now on, whatever becomes of the link: with what is told here, none of it is told
    /// again, and the next entry counts from there.
    pub(super) place: Place,
    /// Whether the entries behind the place are new.
    pub(super) is_page_new: bool,
}

/// Entries that were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) reason: GapReason,
    /// Exactly how many, where that is known.
    pub(super) missed: Option<u64>,
}

impl Place {
    /// The place behind everything that is in the stream now.
    pub(super) fn newest(facts: &StreamFacts) -> Self {
        // What does not exist has had no entry.
        let added = if facts.exists { facts.added } else { Some(0) };
        Self { last: facts.last, added, counted: facts.last }
    }

    /// The next entry was read.
    pub(super) fn read(&mut self, id: StreamId) {
        self.last = id;
        self.added = self.added.map(|added| added + 1);
    }

    /// What it means that the stream's first entry from this place on is `first`, which may be that at the
    /// place itself. `is_new_run`: the server was another one, or has been started anew, since the entry
    /// was last there.
    pub(super) fn judge(
        &self,
        first: Option<StreamId>,
        is_new_run: bool,
        facts: &StreamFacts,
    ) -> Finding {
        let is_start = self.last == StreamId::ZERO;
        let is_other = is_new_run && !is_start;
        if !facts.exists || facts.last < self.last {
            let is_reset = facts.exists || is_other;
            return Finding {
                is_turn: !is_start,
                lost: is_reset.then_some(Lost::RESET),
                place: Self::newest(facts),
                is_page_new: false,
            };
        }
        // A place that was told before an entry proves as much as an entry does.
        let is_whole = |first| self.last == first || self.last.is_just_before(first);
        if first.is_some_and(is_whole) {
            return Finding { is_turn: false, lost: None, place: *self, is_page_new: true };
        }
        let lost = self.lost(is_other, facts);
        let is_turn = lost == Some(Lost::RESET);
        Finding { is_turn, lost, place: self.behind(lost, first, facts), is_page_new: true }
    }

    /// The place once this was told, before any of the entries behind it.
    fn behind(&self, lost: Option<Lost>, first: Option<StreamId>, facts: &StreamFacts) -> Self {
        let last = match lost {
            Some(_) => first.map_or(facts.last, StreamId::place_before),
            None => self.last,
        };
        let begins_stream = facts.first.is_none_or(|first| first > self.last);
        if begins_stream {
            // All that is there is still to come.
            let added = facts.added.and_then(|added| added.checked_sub(facts.length));
            return Self { last, added, counted: self.last };
        }
        match lost {
            Some(_) => Self { last, added: None, counted: self.last },
            // The entry here was deleted by itself.
            None => *self,
        }
    }

    /// What is lost where the entry at this place is gone from a stream that has grown past it.
    fn lost(&self, is_other: bool, facts: &StreamFacts) -> Option<Lost> {
        let before = self.added.zip(facts.added);
        if is_other || before.is_some_and(|(added, now)| now < added) {
            return Some(Lost::RESET);
        }
        if facts.first.is_some_and(|first| first <= self.last) {
            // It was deleted by itself; or ids went back, and grew past it.
            let is_deleted = facts.max_deleted.is_none_or(|deleted| deleted >= self.last);
            return (!is_deleted).then_some(Lost::RESET);
        }
        let Some((added, now)) = before else { return Some(Lost::trimmed(None)) };
        match (now - added).checked_sub(facts.length) {
            // There are more than were added.
            None => Some(Lost::RESET),
            // Only what was read was trimmed.
            Some(0) => None,
            // One that was not read was deleted, not trimmed: the number would be wrong.
            Some(_) if facts.max_deleted.is_none_or(|deleted| deleted > self.counted) => {
                Some(Lost::trimmed(None))
            }
            Some(missed) => Some(Lost::trimmed(Some(missed))),
        }
    }
}

impl Lost {
    const RESET: Self = Self { reason: GapReason::StreamReset, missed: None };

    fn trimmed(missed: Option<u64>) -> Self {
        Self { reason: GapReason::StreamTrimmed, missed }
    }
}

#[cfg(test)]
mod tests;
