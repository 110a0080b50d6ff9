//! The newest entries of a stream, for a client without a position, or whose position does not recover.
//!
//! They are read backwards, page by page: while Redis answers with a page it answers nobody else.

use super::{
    Source,
    read::{FIRST_PAGE, next_page, weight},
};
use crate::{
    bus::{Page, PageAsk, StreamFacts},
    channel::ChannelName,
    reason::Refusal,
    shard::{holding::Joining, session::Replayed},
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

/// The newest entries while they are read, from the newest on.
struct Backwards {
    room: Room,
    entries: Vec<Replayed>,
    /// The oldest entry that was seen.
    at: Option<StreamId>,
    /// The newest entry that is not given.
    left_out: Option<StreamId>,
    page: usize,
    /// What Redis has said together with the first page.
    facts: StreamFacts,
}

/// How much may still be given.
#[derive(Debug, Clone, Copy)]
struct Room {
    entries: usize,
    bytes: usize,
}

impl Source<'_> {
    /// Reads the newest entries, this many bytes of them at the most, and lets what comes after them go to
    /// the session: nothing that came to it before.
    pub(super) async fn read_newest(
        &self,
        session: &dyn Joining,
        stream: &ChannelName,
        bytes: usize,
    ) -> Result<Newest, Refusal> {
        for _ in 0..ATTEMPTS {
            let (joined, turns) = self.join(session, stream);
            let newest = self.read_backwards(stream, joined, bytes).await?;
            self.streams.read_on(stream).await?;
            if self.streams.progress(stream).1 == turns {
                return Ok(newest);
            }
        }
        let id = Some(self.join(session, stream).0);
        Ok(Newest { id, ..Newest::default() })
    }

    /// From here on what comes of a stream goes to the session, and nothing that came to it before. Returns
    /// the place, and how often the stream has turned.
    pub(super) fn join(&self, session: &dyn Joining, stream: &ChannelName) -> (StreamId, u32) {
        session.forget(stream);
        self.streams.progress(stream)
    }

    /// Reads from a place back until there is no room for one more, or no more.
    async fn read_backwards(
        &self,
        stream: &ChannelName,
        joined: StreamId,
        bytes: usize,
    ) -> Result<Newest, Refusal> {
        let mut read = Backwards::new(Room { entries: self.last, bytes });
        loop {
            let page = self.streams.page(stream, read.ask(joined)).await?;
            let facts = page.facts.unwrap_or_default();
            if read.at.is_none() {
                read.facts = facts;
            }
            self.take_backwards(&mut read, stream, &page);
            if read.left_out.is_some() || !page.is_full {
                return Ok(read.end(joined, bytes, &facts));
            }
        }
    }

    /// Takes what there is room for.
    fn take_backwards(&self, read: &mut Backwards, stream: &ChannelName, page: &Page) {
        let (mut seen, mut page_weight) = (0, 0);
        for entry in page.entries.iter().rev() {
            seen += 1;
            page_weight += weight(entry);
            read.at = Some(entry.id());
            if !read.room.take(entry.payload_bytes()) {
                read.left_out = read.at;
                break;
            }
            read.entries.push(self.replayed(stream, entry));
        }
        read.page = next_page(read.page, seen, page_weight);
    }
}

impl Room {
    /// Whether one more of this size fits; then it is taken.
    fn take(&mut self, size: usize) -> bool {
        let fits = self.entries > 0 && size <= self.bytes;
        if fits {
            (self.entries, self.bytes) = (self.entries - 1, self.bytes - size);
        }
        fits
    }
}

impl Backwards {
    fn new(room: Room) -> Self {
        Self {
            room,
            entries: Vec::new(),
            at: None,
            left_out: None,
            page: FIRST_PAGE,
            facts: StreamFacts::default(),
        }
    }

    /// The next page, and never more than to know the entry before those that are given.
    fn ask(&self, joined: StreamId) -> PageAsk {
        let until = self.at.map_or(joined, below);
        PageAsk::Newest { until, count: self.page.min(self.room.entries + 1) }
    }

    /// `last` is what Redis has said together with the last page.
    fn end(mut self, joined: StreamId, bytes: usize, last: &StreamFacts) -> Newest {
        let is_whole = last.added == Some(last.length);
        let id = match self.left_out {
            _ if self.entries.is_empty() => Some(joined),
            Some(left_out) => Some(left_out),
            None => is_whole.then_some(StreamId::ZERO),
        };
        let facts = self.facts;
        let is_countable = facts.last == joined && facts.max_deleted == Some(StreamId::ZERO);
        let before = facts.added.filter(|_| is_countable);
        self.entries.reverse();
        Newest {
            id,
            before: before.map(|added| added.saturating_sub(self.entries.len() as u64)),
            bytes: bytes - self.room.bytes,
            entries: self.entries,
        }
    }
}

/// The greatest id below that of an entry.
fn below(id: StreamId) -> StreamId {
    match id.sequence.checked_sub(1) {
        Some(sequence) => StreamId { sequence, ..id },
        None => StreamId { milliseconds: id.milliseconds.saturating_sub(1), sequence: u64::MAX },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_as_many_as_fit_by_number_and_by_bytes() {
        for (entries, bytes, expected) in
            [(0, 100, 0), (2, 100, 2), (9, 100, 3), (9, 60, 3), (9, 59, 2), (9, 9, 0)]
        {
            let mut room = Room { entries, bytes };
            let taken = [10, 20, 30].into_iter().take_while(|&size| room.take(size)).count();
            assert_eq!(taken, expected);
        }
    }
}
