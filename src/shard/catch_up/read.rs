//! Entries that are read for one client, page by page, within what its endpoint replays.

use super::{Fail, Source, beginning::Beginning, proof::prove};
use crate::{
    bus::{Page, PageAsk, PageEntry, PageFacts},
    channel::ChannelName,
    reason::ReplayResult,
    shard::session::Replayed,
    stream_id::StreamId,
};

/// Entries of the first page, and of the largest. Each next one is twice as large, and no larger than what
/// weighs [`PAGE_BYTES`] if its entries are like those before: while Redis answers with a page it answers
/// nobody else. Entries need not be like those before, so even the largest has not many.
pub(super) const FIRST_PAGE: usize = 32;
const LARGEST_PAGE: usize = 64;
const PAGE_BYTES: usize = 1 << 20;

/// The size of the page behind one of this size, whose first entries, so many, have weighed so much.
pub(super) fn next_page(page: usize, entries: usize, weight: usize) -> usize {
    let light = (entries * PAGE_BYTES).checked_div(weight).unwrap_or(LARGEST_PAGE);
    light.min(2 * page).clamp(1, LARGEST_PAGE)
}

/// What was read of one stream behind a client's position.
pub(in crate::shard) struct Read {
    pub(super) stream: ChannelName,
    /// The client's position.
    pub(super) since: StreamId,
    /// How often the stream had turned before anything was read.
    turns: u32,
    /// The place behind what was read, and whether an entry was found there.
    at: StreamId,
    is_found: bool,
    pub(super) entries: Vec<Replayed>,
    /// Payload bytes of the entries.
    pub(super) bytes: usize,
    /// What they take, if nobody shares them.
    pub(super) memory: usize,
    page: usize,
}

impl Source<'_> {
    /// Reads what came after a position, up to about where the shard is. Nothing is kept from going on
    /// meanwhile, so a fast stream is read until a page is short, and no further.
    pub(super) async fn read_since(
        &self,
        stream: &ChannelName,
        since: StreamId,
    ) -> Result<Read, Fail> {
        if self.limits.messages == 0 {
            return Err(ReplayResult::TooMany.into());
        }
        let (place, turns) = self.streams.progress(stream);
        if since > place {
            // It comes from an instance that is further on, which may have seen what is deleted since.
            self.streams.read_to_end(stream).await?;
        }
        let mut read = Read::new(stream.clone(), since, turns);
        let place = || self.streams.progress(stream).0;
        if since > place() {
            return Err(ReplayResult::Reset.into());
        }
        while self.read_page(&mut read, place()).await? && read.at != place() {}
        Ok(read)
    }

    /// Reads the rest, up to the place from which on the session gets everything that comes, and proves
    /// that it is all of one stream.
    pub(super) async fn read_rest(&self, mut read: Read, joined: StreamId) -> Result<Read, Fail> {
        if joined < read.at {
            return Err(ReplayResult::Reset.into());
        }
        while read.at != joined && self.read_page(&mut read, joined).await? {}
        // The entry at that place is of one stream only, and what was read here ends with it. Where it is
        // gone, a stream that was made anew is told by its tail, perhaps behind what was read here.
        if read.at != joined || !read.is_found {
            self.streams.read_on(&read.stream).await?;
        }
        if self.streams.progress(&read.stream).1 != read.turns {
            return Err(ReplayResult::Reset.into());
        }
        Ok(read)
    }

    /// Reads one page, up to a place. `false`: there is no more.
    async fn read_page(&self, read: &mut Read, until: StreamId) -> Result<bool, Fail> {
        let facts = if read.is_found { PageFacts::Never } else { PageFacts::WhereNotFound };
        // One more than may be replayed is enough to know.
        let count = read.page.min(self.limits.messages + 1 - read.entries.len());
        let ask = PageAsk::After { after: read.at, until: Some(until), count, facts };
        let page = self.streams.page(&read.stream, ask).await?;
        read.check(&page)?;
        let taken = self.take(read, &page, until);
        if read.entries.len() > self.limits.messages || !self.left(&Beginning::default()).has(read)
        {
            return Err(ReplayResult::TooMany.into());
        }
        self.room.check()?;
        Ok(page.is_full && taken > 0)
    }

    /// Takes a page's entries up to a place; how many.
    fn take(&self, read: &mut Read, page: &Page, until: StreamId) -> usize {
        let (before, mut page_weight) = (read.entries.len(), 0);
        for entry in page.entries.iter().take_while(|entry| entry.id() <= until) {
            read.at = entry.id();
            read.is_found = true;
            read.bytes += entry.payload_bytes();
            page_weight += weight(entry);
            let replayed = self.replayed(&read.stream, entry);
            read.memory += replayed.memory();
            read.entries.push(replayed);
        }
        let taken = read.entries.len() - before;
        read.page = next_page(read.page, taken, page_weight);
        taken
    }
}

impl Read {
    fn new(stream: ChannelName, since: StreamId, turns: u32) -> Self {
        Self {
            stream,
            since,
            turns,
            at: since,
            is_found: false,
            entries: Vec::new(),
            bytes: 0,
            memory: 0,
            page: FIRST_PAGE,
        }
    }

    /// Whether the page follows what was read before: it begins with the entry where that ended, or what
    /// Redis says proves that nothing is missing.
    fn check(&mut self, page: &Page) -> Result<(), ReplayResult> {
        if page.found {
            self.is_found = true;
            return Ok(());
        }
        if self.is_found {
            return Err(ReplayResult::Trimmed);
        }
        // As behind a gap, whose id is the place before the entry that comes next.
        let is_next = page.entries.first().is_some_and(|first| self.at.is_just_before(first.id()));
        if is_next { Ok(()) } else { prove(self.at, &page.facts.unwrap_or_default()) }
    }
}

/// How heavy an entry is for Redis. One that is too large was sent all the same.
pub(super) fn weight(entry: &PageEntry) -> usize {
    match entry {
        PageEntry::Message(_) => entry.payload_bytes(),
        PageEntry::TooLarge(_) => PAGE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_they_are_light_and_one_too_large_entry_is_heavy() {
        let sizes = |each: usize| {
            let next = move |&size: &usize| Some(next_page(size, size, size * each));
            std::iter::successors(Some(FIRST_PAGE), next).take(5).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0), [32, 64, 64, 64, 64]);
        assert_eq!(sizes(100), [32, 64, 64, 64, 64]);
        assert_eq!(sizes(PAGE_BYTES / 50), [32, 50, 50, 50, 50]);
        assert_eq!(sizes(PAGE_BYTES / 2), [32, 2, 2, 2, 2]);
        assert_eq!(sizes(2 * PAGE_BYTES), [32, 1, 1, 1, 1]);
        assert_eq!(next_page(64, 1, weight(&PageEntry::TooLarge(StreamId::ZERO))), 1);
    }
}
