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
    /// What happens with the entries that were read.
    pub(super) page: PageUse,
}

/// Entries that were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) reason: GapReason,
    /// Exactly how many, where that is known.
    pub(super) missed: Option<u64>,
}

/// What happens with the entries of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageUse {
    /// Those behind the place are new.
    New,
    /// None is new, and the place is this one.
    None(Place),
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

    /// What it means that the entry at this place is not there, or that it is: `is_there`. `is_new_run`:
    /// the server was another one, or has been started anew, since the entry was last there.
    pub(super) fn judge(&self, is_there: bool, is_new_run: bool, facts: &StreamFacts) -> Finding {
        let is_start = self.last == StreamId::ZERO;
        let is_other = is_new_run && !is_start;
        if !facts.exists {
            let lost = is_other.then_some(Lost::RESET);
            let page = PageUse::None(Self::newest(facts));
            return Finding { is_turn: !is_start, lost, page };
        }
        if facts.last < self.last {
            let page = PageUse::None(Self::newest(facts));
            return Finding { is_turn: true, lost: Some(Lost::RESET), page };
        }
        let lost = if is_there { None } else { self.lost(is_other, facts) };
        let is_turn = lost == Some(Lost::RESET);
        Finding { is_turn, lost, page: PageUse::New }
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

    /// The place behind a page of `entries`, the last of which is `self.last` already, when the server
    /// has said `facts` in the same step. `before`: the place at which the page begins.
    pub(super) fn behind_page(
        &mut self,
        before: &Self,
        is_there: bool,
        entries: u64,
        facts: &StreamFacts,
    ) {
        if is_there {
            (self.added, self.counted) =
                (before.added.map(|added| added + entries), before.counted);
            return;
        }
        let is_first = facts.first.is_some_and(|first| first > before.last);
        let added = facts.added.filter(|_| is_first);
        self.added = added.and_then(|added| (added + entries).checked_sub(facts.length));
        self.counted = before.last;
    }
}

impl Lost {
    const RESET: Self = Self { reason: GapReason::StreamReset, missed: None };

    fn trimmed(missed: Option<u64>) -> Self {
        Self { reason: GapReason::StreamTrimmed, missed }
    }
}

/// The place just before this entry.
pub(super) fn just_before(id: StreamId) -> StreamId {
    match id.sequence.checked_sub(1) {
        Some(sequence) => StreamId { sequence, ..id },
        None => StreamId {
            milliseconds: id.milliseconds.saturating_sub(1),
            sequence: if id.milliseconds == 0 { 0 } else { u64::MAX },
        },
    }
}

#[cfg(test)]
mod tests;
