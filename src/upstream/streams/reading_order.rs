//! Which streams are read next.
//!
//! Readings for changes that Redis has told are paced where they find nothing: a server whose tracking
//! table is full tells a change of one key for every other that is read, in a circle. Streams of a shard
//! that has fallen behind wait until it has not. Pure: it reads no clock.

use super::table::{Source, Stream, StreamNumber, Table};
use crate::upstream::shard_queues::Shards;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Readings that find nothing, in one [`WINDOW`].
const FRUITLESS: usize = 1_000;

const WINDOW: Duration = Duration::from_secs(1);

/// How often a shard's progress is looked at while streams wait for it.
const STEP: Duration = Duration::from_millis(2);

/// How long a command is not repeated after an error that passes.
const PAUSE: Duration = Duration::from_millis(250);

/// The streams to read, each at most once in one of the queues.
#[derive(Debug)]
pub(super) struct ReadingOrder {
    /// For changes that Redis has told.
    pushed: VecDeque<StreamNumber>,
    /// For any other cause.
    others: VecDeque<StreamNumber>,
    /// Those of shards that are behind.
    held: Vec<StreamNumber>,
    /// … which are these, as of the last look.
    behind: Shards,
    /// Those that wait for an error to pass.
    put_off: Vec<StreamNumber>,
    put_off_until: Option<Instant>,
    fruitless: Fruitless,
}

/// Readings of the running window that found nothing.
#[derive(Debug)]
struct Fruitless {
    began: Instant,
    count: usize,
    /// Readings for changes told that are not answered.
    asked: usize,
}

impl ReadingOrder {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pushed: VecDeque::new(),
            others: VecDeque::new(),
            held: Vec::new(),
            behind: 0,
            put_off: Vec::new(),
            put_off_until: None,
            fruitless: Fruitless { began: now, count: 0, asked: 0 },
        }
    }

    /// The link is lost: nothing is read.
    pub(super) fn clear(&mut self, now: Instant) {
        *self = Self { behind: self.behind, ..Self::new(now) };
    }

    /// A stream is to be read.
    pub(super) fn add(&mut self, number: StreamNumber, stream: &mut Stream, source: Source) {
        // What Redis has told stays the cause: if it finds something, that was no accident.
        let source = match stream.dirty {
            Some(Source::Push) if source == Source::Poll => Source::Push,
            _ => source,
        };
        stream.dirty = Some(source);
        if stream.is_asked || std::mem::replace(&mut stream.is_queued, true) {
            return;
        }
        match source {
            Source::Push => self.pushed.push_back(number),
            Source::Poll | Source::Other => self.others.push_back(number),
        }
    }

    /// A stream could not be read, for a reason that passes.
    pub(super) fn put_off(&mut self, number: StreamNumber, stream: &mut Stream, now: Instant) {
        if !std::mem::replace(&mut stream.is_queued, true) {
            self.put_off.push(number);
        }
        self.put_off_until.get_or_insert(now + PAUSE);
    }

    /// Takes the next stream that may be read. It is not queued any more.
    pub(super) fn take(&mut self, table: &mut Table, now: Instant) -> Option<StreamNumber> {
        if self.put_off_until.is_some() {
            return None;
        }
        loop {
            let may_push = self.fruitless.may_ask(now);
            let pushed = if may_push { self.pushed.pop_front() } else { None };
            let number = pushed.or_else(|| self.others.pop_front())?;
            let Some(stream) = table.get_mut(number) else { continue };
            if stream.wanted & self.behind != 0 {
                self.held.push(number);
                continue;
            }
            stream.is_queued = false;
            if stream.dirty.is_some() && !stream.is_asked {
                self.fruitless.asked += usize::from(stream.dirty == Some(Source::Push));
                return Some(number);
            }
        }
    }

    /// A reading of this source is over. Returns whether it was one more that found nothing.
    pub(super) fn answered(&mut self, source: Source, is_fruitless: bool) -> bool {
        if source != Source::Push {
            return false;
        }
        self.fruitless.asked -= 1;
        self.fruitless.count += usize::from(is_fruitless);
        is_fruitless
    }

    /// Takes in which shards are behind, and what time it is.
    pub(super) fn update(&mut self, behind: Shards, table: &mut Table, now: Instant) {
        if behind != self.behind {
            self.behind = behind;
            self.requeue(|order| std::mem::take(&mut order.held), table);
        }
        if self.put_off_until.is_some_and(|until| until <= now) {
            self.put_off_until = None;
            self.requeue(|order| std::mem::take(&mut order.put_off), table);
        }
    }

    fn requeue(&mut self, numbers: impl FnOnce(&mut Self) -> Vec<StreamNumber>, table: &mut Table) {
        for number in numbers(self) {
            let Some(stream) = table.get_mut(number) else { continue };
            stream.is_queued = false;
            let source = stream.dirty.unwrap_or(Source::Other);
            self.add(number, stream, source);
        }
    }

    /// The shards that were behind as of the last look.
    pub(super) fn behind(&self) -> Shards {
        self.behind
    }

    /// When [`ReadingOrder::take`] or [`ReadingOrder::update`] may have something by the passing of
    /// time alone.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let held = (!self.held.is_empty()).then_some(now + STEP);
        let paced = (!self.pushed.is_empty()
            && self.put_off_until.is_none()
            && self.fruitless.count >= FRUITLESS)
            .then_some(self.fruitless.began + WINDOW);
        [held, paced, self.put_off_until].into_iter().flatten().min()
    }

    /// Whether nothing waits to be read.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.pushed.is_empty() && self.others.is_empty() && self.held.is_empty()
    }
}

impl Fruitless {
    /// Whether one more may be asked: if all that are under way find nothing, it is not one too many.
    fn may_ask(&mut self, now: Instant) -> bool {
        if now - self.began >= WINDOW {
            (self.began, self.count) = (now, 0);
        }
        self.count + self.asked < FRUITLESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelName;

    fn table(streams: usize) -> Table {
        let mut table = Table::new(streams, Duration::ZERO);
        for n in 0..streams {
            table.join(n % 2, &ChannelName::new(format!("s{n}"))).unwrap();
        }
        table
    }

    fn add(order: &mut ReadingOrder, table: &mut Table, number: StreamNumber, source: Source) {
        order.add(number, table.get_mut(number).unwrap(), source);
    }

    fn take_all(order: &mut ReadingOrder, table: &mut Table, now: Instant) -> Vec<StreamNumber> {
        std::iter::from_fn(|| order.take(table, now)).collect()
    }

    #[test]
    fn a_stream_is_queued_once_and_changes_that_were_told_come_first() {
        let (mut table, now) = (table(4), Instant::now());
        let mut order = ReadingOrder::new(now);
        add(&mut order, &mut table, 3, Source::Poll);
        add(&mut order, &mut table, 1, Source::Push);
        add(&mut order, &mut table, 1, Source::Poll);
        assert_eq!(table.get(1).unwrap().dirty, Some(Source::Push));
        assert_eq!(take_all(&mut order, &mut table, now), [1, 3]);
        assert!(order.is_empty());
    }

    #[test]
    fn a_thousand_readings_in_a_second_may_find_nothing_and_other_causes_do_not_wait() {
        let (mut table, now) = (table(3_000), Instant::now());
        let mut order = ReadingOrder::new(now);
        (0..2_500).for_each(|n| add(&mut order, &mut table, n, Source::Push));
        assert_eq!(take_all(&mut order, &mut table, now).len(), FRUITLESS, "all under way");
        for _ in 0..FRUITLESS - 1 {
            assert!(order.answered(Source::Push, true));
        }
        assert!(!order.answered(Source::Push, false), "it found something");
        assert_eq!(take_all(&mut order, &mut table, now).len(), 1);
        order.answered(Source::Push, true);
        assert_eq!(take_all(&mut order, &mut table, now).len(), 0);
        add(&mut order, &mut table, 2_999, Source::Poll);
        assert_eq!(take_all(&mut order, &mut table, now), [2_999]);
        assert_eq!(order.deadline(now), Some(now + WINDOW));
        assert_eq!(take_all(&mut order, &mut table, now + WINDOW).len(), FRUITLESS);
    }

    #[test]
    fn streams_of_a_shard_that_is_behind_wait_for_it() {
        let (mut table, now) = (table(4), Instant::now());
        let mut order = ReadingOrder::new(now);
        order.update(0b10, &mut table, now);
        (0..4).for_each(|n| add(&mut order, &mut table, n, Source::Push));
        assert_eq!(take_all(&mut order, &mut table, now), [0, 2]);
        assert_eq!(order.deadline(now), Some(now + STEP));
        order.update(0, &mut table, now);
        assert_eq!(take_all(&mut order, &mut table, now), [1, 3]);
        assert_eq!(order.deadline(now), None);
    }

    #[test]
    fn after_an_error_that_passes_nothing_is_read_for_a_moment() {
        let (mut table, now) = (table(4), Instant::now());
        let mut order = ReadingOrder::new(now);
        add(&mut order, &mut table, 0, Source::Push);
        assert_eq!(order.take(&mut table, now), Some(0));
        order.answered(Source::Push, false);
        order.put_off(0, table.get_mut(0).unwrap(), now);
        add(&mut order, &mut table, 1, Source::Push);
        assert_eq!(order.take(&mut table, now), None);
        assert_eq!(order.deadline(now), Some(now + PAUSE));
        order.update(0, &mut table, now + PAUSE);
        assert_eq!(take_all(&mut order, &mut table, now + PAUSE), [1, 0]);
    }
}
