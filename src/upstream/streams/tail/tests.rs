//! What readings come to in a shard's ring that has little room.

use super::*;
use crate::{
    bus::{
        Beyond, RingEvent, RingLimits, RingReceiver, StreamFacts, StreamRequest, StreamRequests,
        ring,
    },
    stream_id::{StreamId, id},
    upstream::{
        streams::reading::{Reading, ReadingKind},
        test_server::configured,
    },
    wire,
};

/// Bytes of a ring.
const RING: usize = 10_000;

/// Bytes of a payload: the ring has room for four.
const PAYLOAD: [u8; 2_500] = [b'x'; 2_500];

fn facts(first: u64, last: u64, added: u64) -> StreamFacts {
    StreamFacts {
        exists: true,
        last: id(last),
        added: Some(added),
        length: last - first + 1,
        first: Some(id(first)),
        max_deleted: Some(StreamId::ZERO),
    }
}

/// A tail that follows `s`, in which the entry 1-0 is, for one shard.
fn tail(now: Instant) -> (Tail, RingReceiver<StreamEvent>) {
    let bytes = RING.try_into().unwrap();
    let events = 1_000.try_into().unwrap();
    let (sender, ring) = ring(RingLimits { events, bytes, beyond: Beyond::KeepAll });
    let directory = tempfile::tempdir().unwrap();
    let settings = configured(directory.path(), "url = \"redis://localhost\"");
    let mut tail = Tail::new(&settings, vec![sender], Arc::new(Metrics::new(1, &[])), now);
    let requests = vec![StreamRequest::Subscribe(ChannelName::new("s"))];
    tail.request(&StreamRequests { shard: 0, sequence: 1, requests }, now);
    tail.linked(now);
    let mut reading = begin(&mut tail, now).unwrap();
    assert_eq!(reading.kind, ReadingKind::Place);
    reading.facts = Some(facts(1, 1, 1));
    tail.read(reading);
    tail.queues.flush();
    (tail, ring)
}

/// The next reading, if one may begin.
fn begin(tail: &mut Tail, now: Instant) -> Option<Reading> {
    tail.queues.flush();
    let behind = tail.queues.behind();
    tail.order.update(behind, &mut tail.table, now);
    let number = tail.order.take(&mut tail.table, now)?;
    let reading = Reading::of(number, tail.table.get_mut(number).unwrap());
    tail.marks.begin(number);
    Some(reading)
}

fn ask(tail: &mut Tail, request: StreamRequest) {
    let requests = vec![request];
    tail.request(&StreamRequests { shard: 0, sequence: 2, requests }, Instant::now());
}

fn mark(number: u64) -> StreamRequest {
    StreamRequest::Mark { stream: ChannelName::new("s"), number, to_end: false }
}

fn answer(tail: &mut Tail, mut reading: Reading, entries: impl Iterator<Item = u64>) {
    entries.for_each(|n| tail.entry(&mut reading, id(n), Some(&PAYLOAD)));
    tail.read(reading);
    tail.queues.flush();
}

/// Takes what is in the ring, which is never more than its bytes and one entry, or two behind a loss.
fn taken(ring: &mut RingReceiver<StreamEvent>) -> Vec<String> {
    let events: Vec<_> = std::iter::from_fn(|| ring.try_recv()).map(Result::unwrap).collect();
    let bytes: usize = events.iter().map(RingEvent::bytes).sum();
    assert!(bytes <= RING + 2 * (PAYLOAD.len() + 500), "{bytes}");
    let words = |event: &StreamEvent| match event {
        StreamEvent::Subscribed { place, .. } => format!("subscribed {place}"),
        StreamEvent::Entry(message) => message.id.unwrap().to_string(),
        StreamEvent::Gap { missed, .. } => format!("gap {missed:?}"),
        StreamEvent::Place { place, .. } => format!("place {place}"),
        StreamEvent::Turn { .. } => "turn".to_owned(),
        StreamEvent::Rejected { by, .. } => format!("rejected {by:?}"),
        other => format!("{other:?}"),
    };
    events.iter().map(words).collect()
}

#[test]
fn what_does_not_fit_into_the_ring_is_read_again_once_the_shard_has_taken_what_was_there() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    tail.changed(Some(b"s"));
    let reading = begin(&mut tail, now).unwrap();
    answer(&mut tail, reading, 1..=9);
    assert!(begin(&mut tail, now).is_none(), "the shard is behind");
    assert_eq!(taken(&mut ring), ["subscribed 1-0", "2-0", "3-0", "4-0", "5-0"]);
    let reading = begin(&mut tail, now).unwrap();
    assert_eq!(reading.before.last, id(5));
    assert_eq!(reading.before.added, Some(5));
    answer(&mut tail, reading, 5..=9);
    assert_eq!(taken(&mut ring), ["6-0", "7-0", "8-0", "9-0"]);
    assert!(begin(&mut tail, now).is_none(), "everything is read");
    assert_eq!(tail.metrics.upstream.stream_wakes.fruitless.get(), 0);
}

#[test]
fn a_loss_is_told_once_and_counted_right_whatever_fits_behind_it() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    tail.table.get_mut(0).unwrap().with_facts = true;
    tail.changed(Some(b"s"));
    let mut reading = begin(&mut tail, now).unwrap();
    assert_eq!(reading.kind, ReadingKind::Both);
    // Meanwhile another stream has filled the ring.
    let received = std::time::Instant::now();
    let other = wire::entry(ChannelName::new("t"), id(99), &PAYLOAD, received);
    let other = StreamEvent::Entry(Arc::new(other));
    (0..4).for_each(|_| tail.queues.send(1, &other));
    tail.queues.flush();
    reading.facts = Some(facts(7, 12, 12));
    answer(&mut tail, reading, 7..=12);
    let told = ["subscribed 1-0", "99-0", "99-0", "99-0", "99-0", "gap Some(5)", "7-0"];
    assert_eq!(taken(&mut ring), told);
    let mut reading = begin(&mut tail, now).unwrap();
    assert_eq!((reading.before.last, reading.before.added), (id(7), Some(7)));
    reading.facts = Some(facts(7, 12, 12));
    answer(&mut tail, reading, 7..=12);
    assert_eq!(taken(&mut ring), ["8-0", "9-0", "10-0", "11-0"]);
}

#[test]
fn a_mark_is_answered_behind_everything_that_did_not_fit() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    ask(&mut tail, mark(7));
    let reading = begin(&mut tail, now).unwrap();
    answer(&mut tail, reading, 1..=7);
    assert_eq!(taken(&mut ring), ["subscribed 1-0", "2-0", "3-0", "4-0", "5-0"]);
    let reading = begin(&mut tail, now).unwrap();
    answer(&mut tail, reading, 5..=7);
    assert_eq!(taken(&mut ring), ["6-0", "7-0", "Marker(7)"]);
}

#[test]
fn a_mark_is_answered_only_by_a_reading_that_began_behind_it() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    ask(&mut tail, mark(1));
    let first = begin(&mut tail, now).unwrap();
    ask(&mut tail, mark(2));
    answer(&mut tail, first, 1..=1);
    assert_eq!(taken(&mut ring), ["Marker(1)"]);
    let second = begin(&mut tail, now).unwrap();
    answer(&mut tail, second, 1..=1);
    assert_eq!(taken(&mut ring), ["Marker(2)"]);
}

#[test]
fn without_a_link_no_mark_is_answered_by_a_reading() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    ask(&mut tail, mark(1));
    tail.link_lost(RejectedBy::LinkDown, now);
    ask(&mut tail, mark(2));
    ask(&mut tail, StreamRequest::Subscribe(ChannelName::new("t")));
    tail.queues.flush();
    assert_eq!(
        taken(&mut ring),
        ["NoMarker(1, LinkDown)", "NoMarker(2, LinkDown)", "rejected LinkDown"]
    );
    ask(&mut tail, StreamRequest::Unsubscribe(ChannelName::new("t")));
    tail.linked(now);
    let reading = begin(&mut tail, now).unwrap();
    answer(&mut tail, reading, 1..=1);
    assert_eq!(taken(&mut ring), [""; 0]);
}

#[test]
fn where_the_newest_entries_were_deleted_the_place_moves_behind_them() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    ask(&mut tail, StreamRequest::Mark { stream: ChannelName::new("s"), number: 1, to_end: true });
    let mut reading = begin(&mut tail, now).unwrap();
    reading.facts = Some(StreamFacts { max_deleted: Some(id(9)), last: id(9), ..facts(1, 3, 9) });
    answer(&mut tail, reading, 1..=3);
    assert_eq!(taken(&mut ring), ["2-0", "3-0", "place 9-0", "Marker(1)"]);
}

#[test]
fn the_end_is_found_behind_however_many_pages() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    ask(&mut tail, StreamRequest::Mark { stream: ChannelName::new("s"), number: 1, to_end: true });
    let deleted = StreamFacts { max_deleted: Some(id(9)), last: id(9), ..facts(1, 4, 9) };
    let mut first = begin(&mut tail, now).unwrap();
    (first.asked, first.facts) = (2, Some(deleted));
    answer(&mut tail, first, 1..=2);
    let mut second = begin(&mut tail, now).unwrap();
    assert_eq!(second.kind, ReadingKind::Both);
    second.facts = Some(deleted);
    answer(&mut tail, second, 2..=4);
    assert_eq!(taken(&mut ring), ["2-0", "3-0", "4-0", "place 9-0", "Marker(1)"]);
}

#[test]
fn a_null_invalidation_means_that_every_stream_is_read() {
    let now = Instant::now();
    let (mut tail, _ring) = tail(now);
    assert!(begin(&mut tail, now).is_none());
    tail.changed(None);
    assert_eq!(begin(&mut tail, now).unwrap().source, Source::Other, "it is not paced");
}

#[test]
fn who_has_left_is_told_of_no_mark() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    ask(&mut tail, mark(1));
    let reading = begin(&mut tail, now).unwrap();
    ask(&mut tail, StreamRequest::Unsubscribe(ChannelName::new("s")));
    answer(&mut tail, reading, 1..=1);
    assert_eq!(taken(&mut ring), [""; 0]);
}

#[test]
fn a_stream_that_is_refused_is_asked_for_again_also_where_nobody_waits_for_that() {
    let now = Instant::now();
    let (mut tail, mut ring) = tail(now);
    taken(&mut ring);
    let refused = LinkError::Answered("NOPERM no".to_owned());
    ask(&mut tail, mark(1));
    let reading = begin(&mut tail, now).unwrap();
    tail.not_read(&reading, &refused, now);
    tail.queues.flush();
    assert_eq!(taken(&mut ring), ["rejected Redis", "NoMarker(1, Redis)"]);
    ask(&mut tail, StreamRequest::Unsubscribe(ChannelName::new("s")));
    ask(&mut tail, StreamRequest::Subscribe(ChannelName::new("s")));
    assert!(begin(&mut tail, now).is_none(), "it is not asked at every turn");
    assert_eq!(taken(&mut ring), ["rejected Redis"]);
    // Those who come stay away for a moment, just when it is due.
    ask(&mut tail, StreamRequest::Unsubscribe(ChannelName::new("s")));
    tail.retry_refused();
    assert!(begin(&mut tail, now).is_none(), "nobody wants it");
    ask(&mut tail, StreamRequest::Subscribe(ChannelName::new("s")));
    let reading = begin(&mut tail, now).unwrap();
    tail.not_read(&reading, &refused, now);
    tail.retry_refused();
    let reading = begin(&mut tail, now).expect("somebody wants it");
    assert_eq!(reading.kind, ReadingKind::Place, "from where it is then");
}

/// The place's own entry is gone, and so are three more: the answer to both readings.
fn trim(tail: &mut Tail, now: Instant) {
    tail.changed(Some(b"s"));
    let reading = begin(tail, now).unwrap();
    assert_eq!(reading.kind, ReadingKind::Entries);
    answer(tail, reading, 5..=5);
    let mut reading = begin(tail, now).unwrap();
    assert_eq!(reading.kind, ReadingKind::Both);
    reading.facts = Some(facts(5, 5, 5));
    answer(tail, reading, 5..=5);
}

#[test]
fn where_the_server_may_be_another_one_a_stream_without_its_entry_is_another_stream() {
    let now = Instant::now();
    for run in [Some("another"), None] {
        let (mut tail, mut ring) = tail(now);
        taken(&mut ring);
        tail.run(run.map(str::to_owned));
        trim(&mut tail, now);
        assert_eq!(taken(&mut ring), ["turn", "gap None", "5-0"], "{run:?}");
        assert_eq!(tail.turned, [ChannelName::new("s")], "its pages are of no use");
    }
}

#[test]
fn a_stream_that_is_found_again_behind_a_restart_is_the_same_from_then_on() {
    let now = Instant::now();
    for with_facts in [false, true] {
        let (mut tail, mut ring) = tail(now);
        taken(&mut ring);
        tail.run(Some("another".to_owned()));
        tail.table.get_mut(0).unwrap().with_facts = with_facts;
        tail.changed(Some(b"s"));
        let mut reading = begin(&mut tail, now).unwrap();
        reading.facts = with_facts.then(|| facts(1, 1, 1));
        answer(&mut tail, reading, 1..=1);
        trim(&mut tail, now);
        assert_eq!(taken(&mut ring), ["gap Some(3)", "5-0"]);
        assert!(tail.turned.is_empty());
    }
}
