//! What is known of a stream, over links that break in the middle of a page and over refusals.

use super::*;
use crate::{
    bus::{self, StreamFacts, StreamShardEnd},
    stream_id::{StreamId, id},
    upstream::{
        streams::reading::{Reading, ReadingKind},
        test_server::configured,
    },
};

/// A stream of which these were added and are there.
fn facts(added: u64, there: std::ops::RangeInclusive<u64>) -> StreamFacts {
    StreamFacts {
        exists: true,
        last: id(*there.end()),
        added: Some(added),
        length: there.end() + 1 - there.start(),
        first: Some(id(*there.start())),
        max_deleted: Some(StreamId::ZERO),
    }
}

struct Rig {
    tail: Tail,
    shard: StreamShardEnd,
    now: Instant,
}

impl Rig {
    /// A shard follows `s`, of which ten entries were added and read.
    fn new() -> Self {
        let settings = configured(std::path::Path::new(""), "url = \"redis://unused\"");
        let (mut upstream, mut shards) = bus::queues_for_tests(1);
        let (metrics, now) = (Arc::new(Metrics::new(1, &[])), Instant::now());
        let tail = Tail::new(&settings, upstream.streams.take().rings, metrics, now);
        let mut rig = Self { tail, shard: shards.remove(0).streams, now };
        rig.tail.linked(now);
        rig.tail.join(0, &ChannelName::new("s"));
        let mut first = rig.next();
        first.facts = Some(facts(10, 1..=10));
        rig.tail.read(first);
        rig
    }

    /// The reading that is sent next.
    fn next(&mut self) -> Reading {
        let number = self.tail.order.take(&mut self.tail.table, self.now).unwrap();
        Reading::of(number, self.tail.table.get_mut(number).unwrap())
    }

    fn changed(&mut self) {
        self.tail.changed(Some(b"s"));
    }

    /// The entry at the place is not there; what is, is read with facts.
    fn next_with(&mut self, facts: StreamFacts) -> Reading {
        let reading = self.next();
        let first = facts.first.unwrap();
        let mut both = match reading.kind {
            ReadingKind::Both => reading,
            _ => {
                let mut reading = reading;
                self.tail.entry(&mut reading, first, Some(b"x"));
                self.tail.read(reading);
                self.next()
            }
        };
        both.facts = Some(facts);
        both
    }

    fn read(&mut self, reading: &mut Reading, entries: std::ops::RangeInclusive<u64>) {
        entries.for_each(|at| self.tail.entry(reading, id(at), Some(b"x")));
    }

    fn link_breaks(&mut self) {
        self.tail.link_lost(RejectedBy::LinkDown, self.now);
        self.tail.linked(self.now);
    }

    /// Losses that were told since the last call.
    fn told(&mut self) -> Vec<String> {
        self.tail.queues.flush();
        let events = std::iter::from_fn(|| self.shard.ring.try_recv());
        let gaps = events.filter_map(|event| match event.unwrap() {
            StreamEvent::Gap { reason, missed, .. } => Some((reason, missed)),
            _ => None,
        });
        gaps.map(|(reason, missed)| format!("{} {missed:?}", reason.label())).collect()
    }
}

#[test]
fn behind_a_link_that_broke_within_the_page_behind_a_gap_the_next_number_is_right() {
    for read in 20..=25 {
        let mut rig = Rig::new();
        rig.changed();
        let mut reading = rig.next_with(facts(30, 21..=30));
        rig.read(&mut reading, 21..=read);
        let expected: &[&str] = if read == 20 { &[] } else { &["stream_trimmed Some(10)"] };
        assert_eq!(rig.told(), expected);
        rig.link_breaks();
        let mut reading = rig.next_with(facts(40, 36..=40));
        rig.read(&mut reading, 36..=40);
        let missed = if read == 20 { 25 } else { 35 - read };
        assert_eq!(rig.told(), [format!("stream_trimmed Some({missed})")]);
    }
}

#[test]
fn behind_a_link_that_broke_within_the_page_behind_a_turn_a_trim_is_a_trim() {
    let mut rig = Rig::new();
    rig.changed();
    let mut reading = rig.next_with(facts(6, 15..=20));
    rig.read(&mut reading, 15..=17);
    assert_eq!(rig.told(), ["stream_reset None"]);
    rig.link_breaks();
    let mut reading = rig.next_with(facts(9, 20..=23));
    rig.read(&mut reading, 20..=23);
    assert_eq!(rig.told(), ["stream_trimmed Some(2)"]);
}

#[test]
fn another_run_is_known_again_by_the_first_entry_that_proves_it() {
    let mut rig = Rig::new();
    rig.tail.run(Some("one".to_owned()));
    rig.link_breaks();
    let mut reading = rig.next();
    rig.read(&mut reading, 10..=12);
    rig.link_breaks();
    rig.tail.run(Some("one".to_owned()));
    let mut reading = rig.next_with(facts(20, 16..=20));
    rig.read(&mut reading, 16..=20);
    assert_eq!(rig.told(), ["stream_trimmed Some(3)"]);
}

#[test]
fn behind_entries_that_are_too_large_the_next_page_is_no_larger() {
    for (payload, asked) in [(Some(&b"x"[..]), 33), (None, 17)] {
        let mut rig = Rig::new();
        rig.changed();
        let mut reading = rig.next();
        (10..=26).for_each(|at| rig.tail.entry(&mut reading, id(at), payload));
        rig.tail.read(reading);
        assert_eq!(rig.next().asked, asked);
    }
}

#[test]
fn a_refused_stream_is_asked_for_again_whether_or_not_somebody_wants_it_at_that_moment() {
    let mut rig = Rig::new();
    rig.changed();
    let reading = rig.next();
    let error = LinkError::Answered("WRONGTYPE no stream".to_owned());
    rig.tail.not_read(&reading, &error, rig.now);
    rig.tail.leave(0, &ChannelName::new("s"), rig.now);
    rig.tail.retry_refused();
    rig.tail.join(0, &ChannelName::new("s"));
    let mut reading = rig.next();
    reading.facts = Some(facts(10, 1..=10));
    rig.tail.read(reading);
    rig.tail.queues.flush();
    let events = std::iter::from_fn(|| rig.shard.ring.try_recv());
    let last = events.last().unwrap().unwrap();
    assert!(matches!(last, StreamEvent::Subscribed { .. }), "{last:?}");
}
