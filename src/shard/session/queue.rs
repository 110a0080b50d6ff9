//! What a session has still to be sent, in order, and what happens when it is too much.
//!
//! Messages are shared with every other session; only their place in line is this session's own.
//! Whatever is taken out of line leaves a gap notice exactly where it stood.

use super::inline_deque::InlineDeque;
use crate::{
    channel::ChannelName,
    endpoint::{Endpoint, Format},
    message::{Message, Opcode, frame},
    reason::GapReason,
};
use bytes::Bytes;
use serde::Serialize;
use std::{array, collections::HashSet, io::IoSlice, mem, sync::Arc};

/// How many items one write takes at the most.
pub(super) const MAX_SLICES: usize = 64;

/// One session's queue.
#[derive(Debug, Default)]
pub(super) struct OutQueue {
    items: InlineDeque<Item>,
    /// How much of the first item is already in the socket. It must then stay where it is.
    written: usize,
    messages: usize,
    /// Bytes of the queued messages' frames.
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Message(Arc<Message>),
    Gap(Box<Gap>),
    /// A whole frame of this session alone: ping, pong, close, ready.
    Frame(Box<Bytes>),
}

/// Messages that this session will not get. Encoded only when its turn comes, so that further
/// losses at the same place can still be added.
#[derive(Debug, PartialEq, Eq)]
struct Gap {
    channel: ChannelName,
    reason: GapReason,
    missed: Option<u64>,
}

impl OutQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one more message stays within the endpoint's bounds. An empty queue takes any one.
    pub(super) fn fits(&self, message: &Message, endpoint: &Endpoint) -> bool {
        let len = encoded(message, endpoint.format).len();
        self.messages == 0
            || (self.messages < endpoint.queue_messages.get()
                && self.bytes + len <= endpoint.queue_bytes.get())
    }

    pub(super) fn push_message(&mut self, message: Arc<Message>, format: Format) {
        self.messages += 1;
        self.bytes += encoded(&message, format).len();
        self.items.push(Item::Message(message));
    }

    pub(super) fn push_frame(&mut self, frame: Bytes) {
        self.items.push(Item::Frame(Box::new(frame)));
    }

    /// Marks that messages may have been missed upstream just here.
    pub(super) fn push_gap(&mut self, channel: &ChannelName, reason: GapReason, format: Format) {
        let end = self.items.len();
        if self.gap_before(end, channel, reason, format).is_none() {
            let gap = Gap { channel: channel.clone(), reason, missed: None };
            self.items.push(Item::Gap(Box::new(gap)));
        }
    }

    /// Takes the oldest message that is not yet partly written out of line. `false`: there is none.
    pub(super) fn skip_oldest(&mut self, format: Format) -> bool {
        let oldest = self.movable().find(|&at| matches!(self.items[at], Item::Message(_)));
        oldest.map(|at| self.drop_message(at, format)).is_some()
    }

    /// Takes every message out of line that a newer one of its channel follows, `incoming` being
    /// the newest of its own. Returns how many.
    pub(super) fn keep_latest(&mut self, incoming: &ChannelName, format: Format) -> usize {
        let mut newer = HashSet::from([incoming.clone()]);
        let replaced: Vec<usize> = self
            .movable()
            .rev()
            .filter(|&at| match &self.items[at] {
                Item::Message(message) => !newer.insert(message.channel.clone()),
                Item::Gap(_) | Item::Frame(_) => false,
            })
            .collect();
        // From the front, so that neighbours share one gap; each that did moved the rest up by one.
        let mut moved = 0;
        for at in replaced.iter().rev() {
            if self.drop_message(at - moved, format) {
                moved += 1;
            }
        }
        replaced.len()
    }

    /// Drops all that is not yet partly written. Returns how many messages that were.
    pub(super) fn clear(&mut self, format: Format) -> usize {
        let mut cleared =
            if self.written > 0 { self.items.take_rest() } else { mem::take(&mut self.items) };
        let mut dropped = 0;
        while let Some(item) = cleared.pop() {
            if let Item::Message(message) = item {
                dropped += 1;
                self.bytes -= encoded(&message, format).len();
            }
        }
        self.messages -= dropped;
        dropped
    }

    /// Drops everything, what is partly written as well: it will not be whole any more.
    pub(super) fn abandon(&mut self, format: Format) -> usize {
        self.written = 0;
        self.clear(format)
    }

    /// Hands the next frames to `write` as one vectored write; returns what `write` returned.
    pub(super) fn write_with<R>(
        &mut self,
        endpoint: &Endpoint,
        write: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        for item in self.items.iter_mut().take(MAX_SLICES) {
            if let Item::Gap(gap) = item {
                *item = Item::Frame(Box::new(gap.encode(endpoint)));
            }
        }
        let frames = self.items.iter().map_while(|item| item.frame(endpoint.format));
        // Most of the time there is one frame, and 64 slices are worth not being set up for it.
        if self.items.len() == 1 {
            let only: [IoSlice<'_>; 1] = slices(frames, self.written);
            write(&only)
        } else {
            let all: [IoSlice<'_>; MAX_SLICES] = slices(frames, self.written);
            write(&all[..self.items.len().min(MAX_SLICES)])
        }
    }

    /// Takes out what a write of `written` bytes finished, each whole message through `delivered`
    /// with the length of its frame.
    pub(super) fn advance(
        &mut self,
        written: usize,
        format: Format,
        mut delivered: impl FnMut(&Message, usize),
    ) {
        let mut written = self.written + written;
        // A gap that has not been encoded was in no write; it stays for the next.
        while let Some(len) =
            self.items.front().and_then(|item| item.frame(format)).map(<[u8]>::len)
            && len <= written
        {
            written -= len;
            if let Some(Item::Message(message)) = self.items.pop() {
                self.messages -= 1;
                self.bytes -= len;
                delivered(&message, len);
            }
        }
        self.written = written;
    }

    /// Places whose items may still be moved: all but a partly written first.
    fn movable(&self) -> std::ops::Range<usize> {
        usize::from(self.written > 0)..self.items.len()
    }

    /// Puts a gap in a message's place, or adds it to the gap before. `true`: the latter, so that
    /// the place is gone.
    fn drop_message(&mut self, at: usize, format: Format) -> bool {
        let Item::Message(message) = &self.items[at] else { return false };
        let channel = message.channel.clone();
        self.messages -= 1;
        self.bytes -= encoded(message, format).len();
        match self.gap_before(at, &channel, GapReason::SlowConsumer, format) {
            Some(gap) => {
                gap.missed = gap.missed.map(|missed| missed + 1);
                self.items.remove(at);
                true
            }
            None => {
                let gap = Gap { channel, reason: GapReason::SlowConsumer, missed: Some(1) };
                self.items[at] = Item::Gap(Box::new(gap));
                false
            }
        }
    }

    /// A gap that stands directly before `at` and says what a new one there would say. Raw notices
    /// say nothing of channel or reason, so any one will do.
    fn gap_before(
        &mut self,
        at: usize,
        channel: &ChannelName,
        reason: GapReason,
        format: Format,
    ) -> Option<&mut Gap> {
        let same =
            |gap: &Gap| format == Format::Raw || (gap.reason == reason && gap.channel == *channel);
        let found = (0..at)
            .rev()
            .map_while(|at| match &self.items[at] {
                Item::Gap(gap) => Some((at, same(gap))),
                Item::Message(_) | Item::Frame(_) => None,
            })
            .find_map(|(at, same)| same.then_some(at))?;
        match &mut self.items[found] {
            Item::Gap(gap) => Some(gap),
            Item::Message(_) | Item::Frame(_) => None,
        }
    }
}

/// Slices over the first `N` frames, or fewer, without the `written` bytes of the very first.
fn slices<'a, const N: usize>(
    mut frames: impl Iterator<Item = &'a [u8]>,
    written: usize,
) -> [IoSlice<'a>; N] {
    let mut skip = written;
    array::from_fn(|_| {
        let frame = frames.next().unwrap_or_default();
        IoSlice::new(&frame[mem::take(&mut skip)..])
    })
}

fn encoded(message: &Message, format: Format) -> &Bytes {
    match format {
        Format::Raw => message.raw_frame(),
        Format::Json => message.json_frame(),
    }
}

impl Item {
    /// The frame; a gap has none before [`OutQueue::write_with`] encodes it.
    fn frame(&self, format: Format) -> Option<&[u8]> {
        match self {
            Self::Message(message) => Some(encoded(message, format)),
            Self::Frame(frame) => Some(frame),
            Self::Gap(_) => None,
        }
    }
}

impl Gap {
    fn encode(&self, endpoint: &Endpoint) -> Bytes {
        #[derive(Serialize)]
        struct Notice<'a> {
            r#type: &'static str,
            channel: &'a str,
            reason: &'static str,
            missed: Option<u64>,
        }
        if endpoint.format == Format::Raw {
            return endpoint.gap_notice.clone();
        }
        let notice = Notice {
            r#type: "gap",
            channel: &self.channel,
            reason: self.reason.label(),
            missed: self.missed,
        };
        let json = serde_json::to_vec(&notice).expect("strings and numbers always serialise");
        frame(Opcode::Text, &json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::fixture::{endpoint, message};
    use std::num::NonZeroUsize;

    fn json() -> Endpoint {
        Endpoint { format: Format::Json, ..endpoint() }
    }

    fn queue_of(messages: &[(&str, &str)], format: Format) -> OutQueue {
        let mut queue = OutQueue::default();
        for (channel, payload) in messages {
            queue.push_message(message(channel, payload), format);
        }
        queue
    }

    /// Takes everything out as one write would, and shows the payloads of the text frames.
    fn drain(queue: &mut OutQueue, endpoint: &Endpoint) -> Vec<String> {
        let mut frames = Vec::new();
        while !queue.is_empty() {
            let written = queue.write_with(endpoint, |slices| {
                frames.extend(slices.iter().map(|slice| slice.to_vec()));
                slices.iter().map(|slice| slice.len()).sum()
            });
            queue.advance(written, endpoint.format, |_, _| {});
        }
        frames.iter().map(|frame| String::from_utf8_lossy(&frame[2..]).into_owned()).collect()
    }

    #[test]
    fn a_queue_is_bounded_by_messages_and_by_bytes_but_an_empty_one_takes_any_message() {
        let by_messages = Endpoint { queue_messages: NonZeroUsize::new(2).unwrap(), ..endpoint() };
        let by_bytes = Endpoint { queue_bytes: NonZeroUsize::new(10).unwrap(), ..endpoint() };
        let large = message("a", "larger than ten bytes");
        assert!(OutQueue::default().fits(&large, &by_bytes));
        let queue = queue_of(&[("a", "1"), ("a", "2")], Format::Raw);
        assert!(!queue.fits(&message("a", "3"), &by_messages));
        assert!(queue.fits(&message("a", "3"), &by_bytes), "three frames of three bytes");
        assert!(!queue.fits(&message("a", "33333"), &by_bytes));
    }

    #[test]
    fn a_partial_write_goes_on_where_it_stopped_and_counts_whole_messages_only() {
        let endpoint = endpoint();
        let mut queue = queue_of(&[("a", "one"), ("a", "two")], Format::Raw);
        let mut delivered = Vec::new();
        let mut seen = Vec::new();
        for take in [1, 3, 2, 4] {
            queue.write_with(&endpoint, |slices| {
                seen.extend_from_slice(&slices.concat_bytes()[..take]);
            });
            queue.advance(take, Format::Raw, |message, len| {
                delivered.push((message.payload().to_vec(), len));
            });
        }
        assert_eq!(seen, b"\x81\x03one\x81\x03two");
        assert_eq!(delivered, [(b"one".to_vec(), 5), (b"two".to_vec(), 5)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_skipped_leaves_one_notice_in_its_place() {
        let endpoint = endpoint();
        let mut queue = queue_of(&[("a", "1"), ("b", "2"), ("a", "3")], Format::Raw);
        assert!(queue.skip_oldest(Format::Raw) && queue.skip_oldest(Format::Raw));
        assert_eq!(drain(&mut queue, &endpoint), [r#"{"type":"gap"}"#, "3"]);
        assert!(!queue.skip_oldest(Format::Raw), "an empty queue has nothing to skip");
    }

    #[test]
    fn a_json_notice_names_each_channel_once_and_how_many_it_missed() {
        let endpoint = json();
        let mut queue = queue_of(&[("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")], Format::Json);
        (0..3).for_each(|_| assert!(queue.skip_oldest(Format::Json)));
        assert_eq!(
            drain(&mut queue, &endpoint),
            [
                r#"{"type":"gap","channel":"a","reason":"slow_consumer","missed":2}"#,
                r#"{"type":"gap","channel":"b","reason":"slow_consumer","missed":1}"#,
                r#"{"type":"message","channel":"b","data":4}"#,
            ]
        );
    }

    #[test]
    fn a_partly_written_message_is_never_skipped_or_cleared() {
        let endpoint = endpoint();
        let mut queue = queue_of(&[("a", "first"), ("a", "second")], Format::Raw);
        queue.write_with(&endpoint, |_| ());
        queue.advance(3, Format::Raw, |_, _| {});
        assert!(queue.skip_oldest(Format::Raw));
        assert!(!queue.skip_oldest(Format::Raw));
        queue.push_message(message("a", "third"), Format::Raw);
        assert_eq!(queue.clear(Format::Raw), 1);
        let rest = queue.write_with(&endpoint, |slices| slices.concat_bytes());
        assert_eq!(rest, b"irst");
        assert_eq!(queue.abandon(Format::Raw), 1, "nobody will get the rest of it");
        assert!(queue.is_empty());
    }

    #[test]
    fn latest_keeps_the_newest_of_each_channel_and_their_order() {
        let messages = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")];
        let mut queue = queue_of(&messages, Format::Raw);
        assert_eq!(queue.keep_latest(&ChannelName::new("c"), Format::Raw), 3);
        let notice = r#"{"type":"gap"}"#;
        assert_eq!(drain(&mut queue, &endpoint()), [notice, "3", notice, "5"]);
    }

    #[test]
    fn gaps_at_the_same_place_are_one_notice_and_a_message_between_keeps_them_apart() {
        let orders = ChannelName::new("orders");
        let mut queue = OutQueue::default();
        queue.push_gap(&orders, GapReason::RedisReconnected, Format::Raw);
        queue.push_gap(&ChannelName::new("news"), GapReason::RedisReconnected, Format::Raw);
        queue.push_message(message("orders", "1"), Format::Raw);
        queue.push_gap(&orders, GapReason::RedisReconnected, Format::Raw);
        let notice = r#"{"type":"gap"}"#;
        assert_eq!(drain(&mut queue, &endpoint()), [notice, "1", notice]);
    }

    #[test]
    fn more_items_than_one_write_takes_all_go_out_in_order() {
        let payloads: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let messages: Vec<_> = payloads.iter().map(|payload| ("a", payload.as_str())).collect();
        let mut queue = queue_of(&messages, Format::Raw);
        assert_eq!(drain(&mut queue, &endpoint()), payloads);
    }

    #[test]
    fn a_notice_behind_as_much_as_one_write_takes_is_told_by_the_next() {
        let payloads: Vec<String> = (0..=MAX_SLICES).map(|n| n.to_string()).collect();
        let messages: Vec<_> = payloads.iter().map(|payload| ("a", payload.as_str())).collect();
        let mut queue = queue_of(&messages[..MAX_SLICES], Format::Raw);
        queue.push_gap(&ChannelName::new("a"), GapReason::RedisReconnected, Format::Raw);
        queue.push_message(message("a", &payloads[MAX_SLICES]), Format::Raw);
        let drained = drain(&mut queue, &endpoint());
        assert_eq!(drained[MAX_SLICES..], [r#"{"type":"gap"}"#, "64"]);
    }

    #[test]
    fn a_queue_that_was_written_is_empty_again() {
        let mut queue = queue_of(&[("a", "1"), ("a", "2")], Format::Raw);
        drain(&mut queue, &endpoint());
        assert!(queue.is_empty());
        assert_eq!((queue.bytes, queue.messages), (0, 0));
    }

    trait ConcatBytes {
        fn concat_bytes(&self) -> Vec<u8>;
    }

    impl ConcatBytes for [IoSlice<'_>] {
        fn concat_bytes(&self) -> Vec<u8> {
            self.iter().flat_map(|slice| slice.to_vec()).collect()
        }
    }
}
