//! The newest entries of a stream, for a client without a position, or whose position does not recover.

use super::{
    Source,
    read::{id, payload},
};
use crate::{
    bus::{Page, PageAsk},
    channel::ChannelName,
    reason::Refusal,
    shard::session::{Replayed, Session},
    stream_id::StreamId,
};

/// How often the newest are read of a stream that is made anew all the while.
const ATTEMPTS: usize = 3;

/// What a session gets of a stream when it gets the newest.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The place just before them; `None` where nobody can know.
    pub(super) id: Option<StreamId>,
    pub(super) entries: Vec<Replayed>,
    /// Payload bytes of the entries.
    pub(super) bytes: usize,
    /// How many entries came before them, where that is known.
    pub(super) before: Option<u64>,
}

impl Newest {
    /// The memory that the entries take, if nobody shares them.
    pub(super) fn memory(&self) -> usize {
        self.entries.iter().map(Replayed::memory).sum()
    }

    /// Without the oldest ones that would take more memory than this.
    pub(super) fn cut_to(mut self, memory: usize) -> Self {
        let mut sum = 0;
        let fits = |entry: &&Replayed| {
            sum += entry.memory();
            sum <= memory
        };
        let left_out = self.entries.len() - self.entries.iter().rev().take_while(fits).count();
        for entry in self.entries.drain(..left_out) {
            self.id = entry.id();
            self.bytes -= entry.payload();
            self.before = self.before.map(|before| before + 1);
        }
        self
    }
}

impl Source<'_> {
    /// Reads the newest entries, this many bytes of them at the most, and lets what comes after them go to
    /// the session: nothing that came to it before.
    pub(super) async fn read_newest(
        &self,
        session: &Session,
        stream: &ChannelName,
        bytes: usize,
    ) -> Result<Newest, Refusal> {
        for _ in 0..ATTEMPTS {
            let (joined, turns) = self.join(session, stream);
            let ask = PageAsk::Newest { until: joined, count: self.last + 1 };
            let page = self.streams.page(stream, ask).await?;
            self.streams.read_on(stream).await?;
            if self.streams.progress(stream).1 == turns {
                return Ok(self.cut(stream, &page, joined, bytes));
            }
        }
        let id = Some(self.join(session, stream).0);
        Ok(Newest { id, ..Newest::default() })
    }

    /// From here on what comes of a stream goes to the session, and nothing that came to it before. Returns
    /// the place, and how often the stream has turned.
    pub(super) fn join(&self, session: &Session, stream: &ChannelName) -> (StreamId, u32) {
        session.forget(stream);
        self.streams.progress(stream)
    }

    fn cut(&self, stream: &ChannelName, page: &Page, joined: StreamId, bytes: usize) -> Newest {
        let entries = &page.entries;
        let (from, bytes) = newest(entries.iter().map(payload).rev(), self.last, bytes);
        let from = entries.len() - from;
        let facts = page.facts.unwrap_or_default();
        let id = if from == entries.len() {
            Some(joined)
        } else if from > 0 {
            Some(id(&entries[from - 1]))
        } else {
            (facts.added == Some(facts.length)).then_some(StreamId::ZERO)
        };
        let is_countable = facts.last == joined && facts.max_deleted == Some(StreamId::ZERO);
        let replayed = entries.len() - from;
        let before = facts.added.filter(|_| is_countable);
        Newest {
            id,
            entries: entries[from..].iter().map(|it| self.replayed(stream, it)).collect(),
            bytes,
            before: before.map(|added| added.saturating_sub(replayed as u64)),
        }
    }
}

/// How many of these sizes, and how much they are together, stay within both bounds.
fn newest(sizes: impl Iterator<Item = usize>, most: usize, bytes: usize) -> (usize, usize) {
    let sums = sizes.take(most).scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    sums.take_while(|&sum| sum <= bytes)
        .enumerate()
        .last()
        .map_or((0, 0), |(at, sum)| (at + 1, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_as_many_as_fit_by_number_and_by_bytes() {
        let sizes = || [10, 20, 30].into_iter();
        for (most, bytes, expected) in [
            (0, 100, (0, 0)),
            (2, 100, (2, 30)),
            (9, 100, (3, 60)),
            (9, 60, (3, 60)),
            (9, 59, (2, 30)),
            (9, 9, (0, 0)),
        ] {
            assert_eq!(newest(sizes(), most, bytes), expected);
        }
    }
}
