//! One reading of a stream, from its command to its answer.

use super::{
    place::Place,
    table::{Source, Stream, StreamNumber},
};
use crate::{
    bus::StreamFacts,
    stream_id::StreamId,
    upstream::link::{Entries, StreamCommand},
};

/// A page that weighs as much is not followed by a larger one.
pub(super) const HEAVY_PAGE: usize = 1 << 20;

/// Entries of the largest page. Its entries may be heavier than those before, and while Redis answers with a
/// page it answers nobody else.
const LARGEST_PAGE: u16 = 64;

/// A reading that is asked for and not answered.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: StreamNumber,
    pub(super) kind: ReadingKind,
    pub(super) source: Source,
    /// The place at which it begins.
    pub(super) before: Place,
    /// Entries that were asked for, that at the place included.
    pub(super) asked: usize,
    /// Whether the place's own entry is there; `None`: nothing has come yet.
    pub(super) is_there: Option<bool>,
    pub(super) facts: Option<StreamFacts>,
    /// New entries, and the bytes of their payloads.
    pub(super) entries: usize,
    pub(super) weight: usize,
    /// Bytes of all payloads that came.
    pub(super) received: usize,
    /// An entry did not fit into a shard's ring: it and those behind it are read again later.
    pub(super) is_cut: bool,
    /// Whether the entries are new, where that had to be judged.
    pub(super) is_page_new: Option<bool>,
    /// Whether anything has changed.
    pub(super) has_found: bool,
}

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadingKind {
    /// For the first time: where it ends.
    Place,
    /// From its place on.
    Entries,
    /// From its place on, with facts, in one step.
    Both,
}

impl Reading {
    /// The next reading of a stream that is dirty.
    pub(super) fn of(number: StreamNumber, stream: &mut Stream) -> Self {
        let kind = match stream.place {
            None => ReadingKind::Place,
            // There is no entry at the start that could prove anything.
            Some(Place { last: StreamId::ZERO, .. }) => ReadingKind::Both,
            Some(_) if stream.with_facts => ReadingKind::Both,
            Some(_) => ReadingKind::Entries,
        };
        if kind == ReadingKind::Both {
            stream.with_facts = false;
        }
        stream.is_asked = true;
        let before = stream.place.unwrap_or_default();
        Self {
            number,
            kind,
            source: stream.dirty.take().unwrap_or(Source::Other),
            before,
            asked: usize::from(stream.page) + usize::from(before.last != StreamId::ZERO),
            is_there: None,
            facts: None,
            entries: 0,
            weight: 0,
            received: 0,
            is_cut: false,
            is_page_new: None,
            has_found: false,
        }
    }

    /// The command, for the stream as Redis knows it.
    pub(super) fn command<'k>(&self, key: &'k str) -> StreamCommand<'k> {
        let entries = Entries::From { key, first: self.before.last, count: self.asked };
        match self.kind {
            ReadingKind::Place => StreamCommand::Facts(key),
            ReadingKind::Entries => StreamCommand::Entries(entries),
            ReadingKind::Both => StreamCommand::Both(entries),
        }
    }

    /// Entries that may still come.
    pub(super) fn cost(&self) -> usize {
        match self.kind {
            ReadingKind::Place => 1,
            ReadingKind::Entries | ReadingKind::Both => self.asked,
        }
    }

    /// Whether there is, or may be, more behind it.
    pub(super) fn has_more(&self) -> bool {
        self.is_cut || self.entries + usize::from(self.is_there == Some(true)) >= self.asked
    }

    /// The size of the page behind this one.
    pub(super) fn next_page(&self, page: u16) -> u16 {
        if self.weight < HEAVY_PAGE && !self.is_cut {
            (page * 2).min(LARGEST_PAGE)
        } else {
            super::table::FIRST_PAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::ChannelName,
        upstream::streams::table::{FIRST_PAGE, Table},
    };
    use std::time::Duration;

    #[test]
    fn pages_grow_up_to_the_largest_and_begin_again_behind_a_heavy_one() {
        let mut table = Table::new(1, Duration::ZERO);
        let number = table.join(0, &ChannelName::new("chat")).unwrap();
        let mut reading = Reading::of(number, table.get_mut(number).unwrap());
        let sizes = |reading: &Reading| {
            let next = |&page: &u16| Some(reading.next_page(page));
            std::iter::successors(Some(FIRST_PAGE), next).take(5).collect::<Vec<_>>()
        };
        reading.weight = HEAVY_PAGE - 1;
        assert_eq!(sizes(&reading), [16, 32, 64, 64, 64]);
        reading.weight = HEAVY_PAGE;
        assert_eq!(reading.next_page(64), FIRST_PAGE);
    }
}
