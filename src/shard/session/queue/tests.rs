//! Order, bounds, and a gap in the place of what was dropped.

use super::{writing::MAX_SLICES, *};
use crate::{
    metrics::Metrics,
    reason::GapReason,
    shard::{
        memory::QueueMemory,
        rig::{self, endpoint},
    },
    wire::GapNotice,
};
use std::{io::IoSlice, num::NonZeroUsize};

fn message(channel: &str, payload: &str) -> Rc<Queued> {
    let memory = Rc::new(QueueMemory::new(Metrics::new(1, &[]).shard(0), usize::MAX));
    Rc::new(Queued::new(rig::message(channel, payload), memory))
}

const NOTICE: &str = r#"{"type":"gap"}"#;

fn queue_of(messages: &[(&str, &str)], codec: Codec) -> OutQueue {
    let mut queue = OutQueue::new(codec);
    for (channel, payload) in messages {
        queue.push_message(message(channel, payload));
    }
    queue
}

/// Takes everything out as one write would, and shows the payloads of the text frames.
fn drain(queue: &mut OutQueue) -> Vec<String> {
    let notice = GapNotice::new(NOTICE);
    let mut frames = Vec::new();
    while !queue.is_empty() {
        let written = queue.write_with(&notice, |slices| {
            frames.extend(slices.iter().map(|slice| slice.to_vec()));
            slices.iter().map(|slice| slice.len()).sum()
        });
        queue.advance(written, |_, _| {});
    }
    frames.iter().map(|frame| String::from_utf8_lossy(&frame[2..]).into_owned()).collect()
}

#[test]
fn a_queue_is_bounded_by_messages_and_by_bytes_but_an_empty_one_takes_any_message() {
    let by_messages = Endpoint { queue_messages: NonZeroUsize::new(2).unwrap(), ..endpoint() };
    let by_bytes =
        Endpoint { queue_bytes: NonZeroUsize::new(10 + 3 * OVERHEAD).unwrap(), ..endpoint() };
    let tiny = Endpoint { queue_bytes: NonZeroUsize::MIN, ..endpoint() };
    let large = message("a", "larger than ten bytes");
    assert!(OutQueue::new(Codec::WsRaw).fits(&large, &tiny));
    let queue = queue_of(&[("a", "1"), ("a", "2")], Codec::WsRaw);
    assert!(!queue.fits(&message("a", "3"), &by_messages));
    assert!(
        queue.fits(&message("a", "3"), &by_bytes),
        "three frames of three bytes and their overhead"
    );
    assert!(!queue.fits(&message("a", "33333"), &by_bytes));
}

#[test]
fn a_message_that_is_being_written_does_not_count() {
    let tiny = Endpoint { queue_bytes: NonZeroUsize::MIN, ..endpoint() };
    let mut queue = queue_of(&[("a", "being written")], Codec::WsRaw);
    assert!(
        !queue.fits(&message("a", "next"), &tiny),
        "it waits as long as the socket takes nothing"
    );
    queue.advance(1, |_, _| {});
    assert!(queue.fits(&message("a", "next"), &tiny));
    queue.push_message(message("a", "next"));
    assert!(!queue.fits(&message("a", "third"), &tiny));
    assert!(queue.skip_oldest() && queue.fits(&message("a", "third"), &tiny));
}

#[test]
fn a_partial_write_goes_on_where_it_stopped_and_counts_whole_messages_only() {
    let mut queue = queue_of(&[("a", "one"), ("a", "two")], Codec::WsRaw);
    let mut delivered = Vec::new();
    let mut seen = Vec::new();
    for take in [1, 3, 2, 4] {
        queue.write_with(&GapNotice::new(NOTICE), |slices| {
            seen.extend_from_slice(&slices.concat_bytes()[..take]);
        });
        queue.advance(take, |message, len| {
            delivered.push((message.payload().to_vec(), len));
        });
    }
    assert_eq!(seen, b"\x81\x03one\x81\x03two");
    assert_eq!(delivered, [(b"one".to_vec(), 5), (b"two".to_vec(), 5)]);
    assert!(queue.is_empty());
}

#[test]
fn what_is_skipped_leaves_one_notice_in_its_place() {
    let mut queue = queue_of(&[("a", "1"), ("b", "2"), ("a", "3")], Codec::WsRaw);
    assert!(queue.skip_oldest() && queue.skip_oldest());
    assert_eq!(drain(&mut queue), [NOTICE, "3"]);
    assert!(!queue.skip_oldest(), "an empty queue has nothing to skip");
}

#[test]
fn a_json_notice_names_each_channel_once_and_how_many_it_missed() {
    let mut queue = queue_of(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")], Codec::WsJson);
    (0..3).for_each(|_| assert!(queue.skip_oldest()));
    assert_eq!(
        drain(&mut queue),
        [
            r#"{"type":"gap","channel":"a","reason":"slow_consumer","missed":2}"#,
            r#"{"type":"gap","channel":"b","reason":"slow_consumer","missed":1}"#,
            r#"{"type":"message","channel":"b","data":4}"#,
        ]
    );
}

#[test]
fn a_partly_written_message_is_never_skipped_or_cleared() {
    let mut queue = queue_of(&[("a", "first"), ("a", "second")], Codec::WsRaw);
    queue.write_with(&GapNotice::new(NOTICE), |_| ());
    queue.advance(3, |_, _| {});
    assert!(queue.skip_oldest());
    assert!(!queue.skip_oldest());
    queue.push_message(message("a", "third"));
    assert_eq!(queue.clear(), 1);
    let rest = queue.write_with(&GapNotice::new(NOTICE), |slices| slices.concat_bytes());
    assert_eq!(rest, b"irst");
    assert_eq!(queue.abandon(), 1, "nobody will get the rest of it");
    assert!(queue.is_empty());
}

#[test]
fn a_message_of_which_the_transport_owes_a_byte_is_never_skipped_or_cleared() {
    let mut queue = queue_of(&[("a", "first"), ("a", "second"), ("a", "third")], Codec::WsRaw);
    queue.advance("??first".len(), |_, _| {});
    queue.set_owed(true);
    assert!(queue.skip_oldest());
    assert!(!queue.skip_oldest(), "the second stays");
    assert_eq!(queue.clear(), 0);
    queue.set_owed(false);
    assert_eq!(queue.clear(), 1);
}

#[test]
fn latest_keeps_the_newest_of_each_channel_and_their_order() {
    let messages = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")];
    let mut queue = queue_of(&messages, Codec::WsRaw);
    assert_eq!(queue.keep_latest(&ChannelName::new("c")), 3);
    assert_eq!(drain(&mut queue), [NOTICE, "3", NOTICE, "5"]);
}

#[test]
fn gaps_at_the_same_place_are_one_notice_and_a_message_between_keeps_them_apart() {
    let orders = ChannelName::new("orders");
    let mut queue = OutQueue::new(Codec::WsRaw);
    queue.push_gap(&orders, GapReason::RedisReconnected.into());
    queue.push_gap(&ChannelName::new("news"), GapReason::RedisReconnected.into());
    queue.push_message(message("orders", "1"));
    queue.push_gap(&orders, GapReason::RedisReconnected.into());
    assert_eq!(drain(&mut queue), [NOTICE, "1", NOTICE]);
}

#[test]
fn messages_that_were_too_large_are_one_notice_with_their_number_until_it_is_written() {
    let mut queue = OutQueue::new(Codec::WsJson);
    let lose = |queue: &mut OutQueue, times: usize| {
        (0..times).for_each(|_| {
            queue.push_gap(&ChannelName::new("a"), GapReason::PayloadTooLarge.into());
        });
    };
    let notice = |missed: u64| {
        format!(r#"{{"type":"gap","channel":"a","reason":"payload_too_large","missed":{missed}}}"#)
    };
    lose(&mut queue, 3);
    assert_eq!(drain(&mut queue), [notice(3)]);
    lose(&mut queue, 2);
    assert_eq!(drain(&mut queue), [notice(2)]);
}

#[test]
fn a_notice_that_a_blocked_write_was_offered_takes_in_further_losses() {
    let blocked = |queue: &mut OutQueue| queue.write_with(&GapNotice::new(NOTICE), |_| ());
    let mut queue = queue_of(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")], Codec::WsRaw);
    for _ in 0..3 {
        assert!(queue.skip_oldest());
        blocked(&mut queue);
    }
    queue.push_gap(&ChannelName::new("a"), GapReason::RedisReconnected.into());
    blocked(&mut queue);
    queue.push_gap(&ChannelName::new("a"), GapReason::RedisReconnected.into());
    assert_eq!(drain(&mut queue), [NOTICE, "4", NOTICE]);

    let mut queue = queue_of(&[("a", "1"), ("a", "2"), ("a", "3")], Codec::WsJson);
    for _ in 0..2 {
        assert!(queue.skip_oldest());
        blocked(&mut queue);
    }
    let notice = r#"{"type":"gap","channel":"a","reason":"slow_consumer","missed":2}"#;
    assert_eq!(drain(&mut queue)[0], notice);
}

#[test]
fn a_notice_that_is_partly_written_stays_as_it_is() {
    let mut queue = queue_of(&[("a", "1"), ("a", "2"), ("a", "3")], Codec::WsJson);
    assert!(queue.skip_oldest());
    let notice = GapNotice::new(NOTICE);
    let mut told = queue.write_with(&notice, |slices| slices.concat_bytes()[..9].to_vec());
    queue.advance(9, |_, _| {});
    assert!(queue.skip_oldest());
    told.extend(queue.write_with(&notice, |slices| slices.concat_bytes()));
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(told.matches(r#""missed":1}"#).count(), 2, "{told}");
    assert!(told.ends_with(r#""data":3}"#), "{told}");
}

#[test]
fn more_items_than_one_write_takes_all_go_out_in_order() {
    let payloads: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let messages: Vec<_> = payloads.iter().map(|payload| ("a", payload.as_str())).collect();
    let mut queue = queue_of(&messages, Codec::WsRaw);
    assert_eq!(drain(&mut queue), payloads);
}

#[test]
fn a_notice_behind_as_much_as_one_write_takes_is_told_by_the_next() {
    let payloads: Vec<String> = (0..=MAX_SLICES).map(|n| n.to_string()).collect();
    let messages: Vec<_> = payloads.iter().map(|payload| ("a", payload.as_str())).collect();
    let mut queue = queue_of(&messages[..MAX_SLICES], Codec::WsRaw);
    queue.push_gap(&ChannelName::new("a"), GapReason::RedisReconnected.into());
    queue.push_message(message("a", &payloads[MAX_SLICES]));
    let drained = drain(&mut queue);
    assert_eq!(drained[MAX_SLICES..], [NOTICE, "64"]);
}

#[test]
fn a_queue_that_was_written_is_empty_again() {
    let mut queue = queue_of(&[("a", "1"), ("a", "2")], Codec::WsRaw);
    drain(&mut queue);
    assert!(queue.is_empty());
    assert_eq!((queue.bytes, queue.messages), (0, 0));
}

#[test]
fn a_queue_takes_as_little_memory_as_one_that_does_not_know_its_codec() {
    assert_eq!(size_of::<OutQueue>(), 6 * size_of::<usize>());
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [IoSlice<'_>] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|slice| slice.to_vec()).collect()
    }
}
