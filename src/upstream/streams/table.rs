//! The table of streams: who wants what, how far each is read.
//!
//! Pure: it sends nothing and reads no clock. A stream has a number while it is in the table, which is
//! what the queues of the tail hold.

use super::place::Place;
use crate::{bus::ShardId, channel::ChannelName, upstream::shard_queues::Shards};
use hashbrown::HashTable;
use std::{collections::VecDeque, hash::BuildHasher as _, time::Duration};
use tokio::time::Instant;

/// Number of a stream in the table.
pub(super) type StreamNumber = u32;

/// Everything the tail knows of streams.
#[derive(Debug)]
pub(super) struct Table {
    /// By name, which the stream itself has: often there is one for each session.
    numbers: HashTable<StreamNumber>,
    hasher: foldhash::fast::RandomState,
    streams: Vec<Option<Stream>>,
    free: Vec<StreamNumber>,
    most: usize,
    linger: Duration,
    /// Streams whose last leave may have been `linger` ago at the instant given.
    lingering: VecDeque<(Instant, StreamNumber)>,
    pub(super) wanted: usize,
    /// Streams whose changes are told on this link.
    pub(super) armed: usize,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: ChannelName,
    pub(super) wanted: Shards,
    /// Of these, those that were told their first place.
    pub(super) told: Shards,
    /// `None`: it was never read.
    pub(super) place: Option<Place>,
    /// When the last shard left.
    left: Option<Instant>,
    pub(super) state: StreamState,
    /// Why it is to be read; `None`: it is not.
    pub(super) dirty: Option<Source>,
    /// It stands in a queue of streams to read.
    pub(super) is_queued: bool,
    /// A command is asked and not answered.
    pub(super) is_asked: bool,
    /// The next reading is to be one together with facts.
    pub(super) with_facts: bool,
    /// The server may be another one since the entry at the place was last there.
    pub(super) is_new_run: bool,
    is_lingering: bool,
    /// Entries of the next page.
    pub(super) page: u16,
}

/// What Redis says of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamState {
    /// It was not read on this link.
    Unknown,
    /// It was, and its next change is told.
    Armed,
    Refused,
}

/// Why a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Redis has told a change.
    Push,
    /// It may have changed without a word.
    Poll,
    /// It must be read anyway: a new link, a mark, more pages.
    Other,
}

/// Of a page that is read for the first time, or again.
pub(super) const FIRST_PAGE: u16 = 16;

impl Table {
    pub(super) fn new(most: usize, linger: Duration) -> Self {
        Self {
            numbers: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            streams: Vec::new(),
            free: Vec::new(),
            most,
            linger,
            lingering: VecDeque::new(),
            wanted: 0,
            armed: 0,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<StreamNumber> {
        let is_named =
            |&number: &StreamNumber| self.get(number).is_some_and(|it| &*it.name == name);
        self.numbers.find(self.hasher.hash_one(name), is_named).copied()
    }

    pub(super) fn get(&self, number: StreamNumber) -> Option<&Stream> {
        self.streams.get(number as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: StreamNumber) -> Option<&mut Stream> {
        self.streams.get_mut(number as usize)?.as_mut()
    }

    /// Numbers that a stream may have: all are below this.
    pub(super) fn bound(&self) -> StreamNumber {
        self.streams.len() as StreamNumber
    }

    /// Every stream with its number.
    pub(super) fn all(&mut self) -> impl Iterator<Item = (StreamNumber, &mut Stream)> {
        (0..).zip(&mut self.streams).filter_map(|(number, it)| Some((number, it.as_mut()?)))
    }

    /// A shard wants a stream. `None`: there are too many.
    pub(super) fn join(&mut self, shard: ShardId, name: &ChannelName) -> Option<StreamNumber> {
        let number = match self.find(name) {
            Some(number) => number,
            None if self.numbers.len() >= self.most => return None,
            None => self.insert(name.clone()),
        };
        let stream = self.streams[number as usize].as_mut()?;
        self.wanted += usize::from(stream.wanted == 0);
        stream.wanted |= 1 << shard;
        stream.told &= !(1 << shard);
        stream.left = None;
        Some(number)
    }

    fn insert(&mut self, name: ChannelName) -> StreamNumber {
        let stream = Stream {
            name,
            wanted: 0,
            told: 0,
            place: None,
            left: None,
            state: StreamState::Unknown,
            dirty: None,
            is_queued: false,
            is_asked: false,
            with_facts: false,
            is_new_run: false,
            is_lingering: false,
            page: FIRST_PAGE,
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.bound() - 1
        });
        self.streams[number as usize] = Some(stream);
        let Self { numbers, streams, hasher, .. } = self;
        let name = |number: StreamNumber| streams[number as usize].as_ref().map(|it| &*it.name);
        let hash = |&number: &StreamNumber| hasher.hash_one(name(number).unwrap_or_default());
        numbers.insert_unique(hash(&number), number, hash);
        number
    }

    /// A shard does not want a stream any more.
    pub(super) fn leave(&mut self, shard: ShardId, name: &str, now: Instant) {
        let Some(number) = self.find(name) else { return };
        let at = now + self.linger;
        let Some(stream) = self.get_mut(number) else { return };
        if stream.wanted & (1 << shard) == 0 {
            return;
        }
        stream.wanted &= !(1 << shard);
        stream.told &= !(1 << shard);
        if stream.wanted != 0 {
            return;
        }
        stream.left = Some(now);
        if !std::mem::replace(&mut stream.is_lingering, true) {
            self.lingering.push_back((at, number));
        }
        self.wanted -= 1;
    }

    /// When [`Table::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }

    /// Forgets the streams whose linger is over, as soon as nothing holds their number.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, number)) = self.lingering.pop_front() else { return };
            let linger = self.linger;
            let Some(stream) = self.get_mut(number) else { continue };
            match stream.left {
                None => stream.is_lingering = false,
                Some(left) if left + linger > now => {
                    self.lingering.push_back((left + linger, number));
                }
                Some(_) if stream.is_queued || stream.is_asked => {
                    self.lingering.push_back((now + linger.max(SOON), number));
                }
                Some(_) => self.remove(number),
            }
        }
    }

    fn remove(&mut self, number: StreamNumber) {
        let Some(stream) = self.streams[number as usize].take() else { return };
        self.armed -= usize::from(stream.state == StreamState::Armed);
        let hash = self.hasher.hash_one(&*stream.name);
        if let Ok(entry) = self.numbers.find_entry(hash, |&it| it == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    pub(super) fn set_state(&mut self, number: StreamNumber, state: StreamState) {
        let Some(stream) = self.streams[number as usize].as_mut() else { return };
        self.armed -= usize::from(stream.state == StreamState::Armed);
        self.armed += usize::from(state == StreamState::Armed);
        stream.state = state;
    }

    /// The link is lost: nothing is asked, and nothing is told of any change.
    pub(super) fn link_lost(&mut self) {
        self.armed = 0;
        for stream in self.streams.iter_mut().flatten() {
            stream.state = StreamState::Unknown;
            (stream.is_queued, stream.is_asked) = (false, false);
            (stream.dirty, stream.with_facts) = (None, false);
            stream.page = FIRST_PAGE;
        }
    }
}

/// Between two looks at a stream that nobody wants and whose number is still held.
const SOON: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(1);

    fn name(n: usize) -> ChannelName {
        ChannelName::new(format!("s{n}"))
    }

    #[test]
    fn there_are_never_more_streams_than_allowed_and_a_number_is_used_again() {
        let (mut table, now) = (Table::new(2, LINGER), Instant::now());
        let first = table.join(0, &name(1)).unwrap();
        assert!(table.join(0, &name(2)).is_some());
        assert_eq!(table.join(0, &name(3)), None);
        assert_eq!(table.join(5, &name(1)), Some(first), "one that is there is no more");
        table.leave(5, "s1", now);
        table.leave(0, "s1", now);
        assert_eq!(table.wanted, 1);
        table.expire(now + LINGER);
        assert_eq!(table.find("s1"), None);
        assert_eq!(table.join(0, &name(3)), Some(first));
    }

    #[test]
    fn a_stream_lingers_from_its_last_leave_on_and_while_its_number_is_held() {
        let (mut table, now) = (Table::new(9, LINGER), Instant::now());
        let number = table.join(0, &name(1)).unwrap();
        table.leave(0, "s1", now);
        table.join(0, &name(1));
        table.leave(0, "s1", now + LINGER / 2);
        table.expire(now + LINGER);
        assert_eq!(table.find("s1"), Some(number));
        table.get_mut(number).unwrap().is_asked = true;
        table.expire(now + 2 * LINGER);
        assert_eq!(table.find("s1"), Some(number));
        table.get_mut(number).unwrap().is_asked = false;
        table.expire(now + 4 * LINGER);
        assert_eq!((table.find("s1"), table.next_expiry()), (None, None));
    }

    #[test]
    fn who_leaves_what_it_never_wanted_changes_nothing() {
        let (mut table, now) = (Table::new(9, LINGER), Instant::now());
        table.join(0, &name(1));
        table.leave(1, "s1", now);
        table.leave(0, "s2", now);
        assert_eq!((table.wanted, table.next_expiry()), (1, None));
    }
}
