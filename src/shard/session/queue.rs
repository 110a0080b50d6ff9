//! Bounded outbound queue of a session.
//!
//! Messages are shared with every other session; only the queue of references to them is this
//! session's own. A message that is dropped leaves a gap notice exactly where it was.

use super::inline_deque::InlineDeque;
use crate::{
    channel::ChannelName,
    endpoint::Endpoint,
    message::Message,
    reason::GapReason,
    shard::memory::Queued,
    wire::{Codec, Gap, GapNotice},
};
use bytes::Bytes;
use std::{array, collections::HashSet, io::IoSlice, mem, rc::Rc};

/// How many items one write takes at the most.
pub(super) const MAX_SLICES: usize = 64;

/// What a message takes beside its frame, in bytes: its place in the queue, and itself.
const OVERHEAD: usize = size_of::<Item>() + size_of::<Message>();

/// About what a frame or a gap of this session alone takes.
const PRIVATE: usize = 256;

/// One session's queue. There is one for every connection, so its size is tested.
#[derive(Debug)]
pub(super) struct OutQueue {
    codec: Codec,
    items: InlineDeque<Item>,
    /// How much of the first item is already in the socket. It must then stay where it is.
    written: usize,
    /// Whether the transport has taken the first item's next byte without reporting it.
    owed: bool,
    /// Queued messages. The configuration allows a million.
    messages: u32,
    /// Bytes of the queued messages' frames, and [`OVERHEAD`] for each.
    bytes: usize,
}

/// What a write has finished.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Whether a frame was among it that a page can see.
    pub(super) seen: bool,
    /// Answers to the client's pings.
    pub(super) pongs: u16,
}

#[derive(Debug)]
enum Item {
    Message(Rc<Queued>),
    Gap(Box<PendingGap>),
    /// A whole frame of this session alone: ping, pong, close, ready.
    Frame(Box<Bytes>),
}

/// A gap that has not been told, so that further losses at the same place are still added to it.
#[derive(Debug)]
struct PendingGap {
    gap: Gap,
    /// Made when its turn comes, and again when something was added since.
    frame: Option<Bytes>,
}

impl Item {
    fn gap(channel: ChannelName, reason: GapReason) -> Self {
        let gap = Gap { channel, reason, missed: reason.missed() };
        Self::Gap(Box::new(PendingGap { gap, frame: None }))
    }
}

impl OutQueue {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            items: InlineDeque::default(),
            written: 0,
            owed: false,
            messages: 0,
            bytes: 0,
        }
    }

    /// How the session's messages look.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes of the queued messages, with their overhead.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory of this queue alone: its places, and what is not shared with other sessions.
    pub(super) fn private_bytes(&self) -> usize {
        let private = self.items.len() - self.messages as usize;
        self.items.memory() + private * PRIVATE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether one more message stays within the endpoint's bounds. Where none waits, any one does: the
    /// message that is being written does not wait, since the socket takes it.
    pub(super) fn fits(&self, message: &Message, endpoint: &Endpoint) -> bool {
        let (messages, bytes) = match self.items.front() {
            Some(Item::Message(first)) if self.is_begun() => {
                (self.messages - 1, self.bytes - self.weight(first))
            }
            _ => (self.messages, self.bytes),
        };
        messages == 0
            || ((messages as usize) < endpoint.queue_messages.get()
                && bytes + self.weight(message) <= endpoint.queue_bytes.get())
    }

    /// What `queue_bytes` counts for a message.
    fn weight(&self, message: &Message) -> usize {
        self.codec.message(message).len() + OVERHEAD
    }

    pub(super) fn push_message(&mut self, message: Rc<Queued>) {
        self.messages += 1;
        self.bytes += self.weight(&message);
        message.count();
        self.items.push(Item::Message(message));
    }

    pub(super) fn push_frame(&mut self, frame: Bytes) {
        self.items.push(Item::Frame(Box::new(frame)));
    }

    /// Marks that messages may have been missed upstream just here. Losses at one place are one notice
    /// until it is written.
    pub(super) fn push_gap(&mut self, channel: &ChannelName, reason: GapReason) {
        let end = self.items.len();
        match self.gap_before(end, channel, reason) {
            Some(gap) => gap.add(reason),
            None => self.items.push(Item::gap(channel.clone(), reason)),
        }
    }

    /// Drops the oldest message that is not yet partly written. `false`: there is none.
    pub(super) fn skip_oldest(&mut self) -> bool {
        let oldest = self.movable().find(|&at| matches!(self.items[at], Item::Message(_)));
        oldest.map(|at| self.drop_message(at)).is_some()
    }

    /// Drops every message that a newer one of its channel follows; `incoming` is the channel of one
    /// that is about to be queued. Returns how many.
    pub(super) fn keep_latest(&mut self, incoming: &ChannelName) -> usize {
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
            if self.drop_message(at - moved) {
                moved += 1;
            }
        }
        replaced.len()
    }

    /// Drops all that is not yet partly written. Returns how many messages that were.
    pub(super) fn clear(&mut self) -> u32 {
        let mut cleared =
            if self.is_begun() { self.items.take_rest() } else { mem::take(&mut self.items) };
        let mut dropped = 0;
        while let Some(item) = cleared.pop() {
            if let Item::Message(message) = item {
                dropped += 1;
                self.bytes -= self.weight(&message);
            }
        }
        self.messages -= dropped;
        dropped
    }

    /// Drops everything, what is partly written as well: it will not be whole any more.
    pub(super) fn abandon(&mut self) -> u32 {
        self.written = 0;
        self.owed = false;
        self.clear()
    }

    /// Hands the next frames to `write` as one vectored write; returns what `write` returned. `notice`
    /// is the endpoint's `gap_notice`.
    pub(super) fn write_with<R>(
        &mut self,
        notice: &GapNotice,
        write: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        for item in self.items.iter_mut().take(MAX_SLICES) {
            if let Item::Gap(pending) = item {
                pending.frame.get_or_insert_with(|| self.codec.gap(&pending.gap, notice));
            }
        }
        let frames = self.items.iter().map_while(|item| item.frame(self.codec));
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
        mut delivered: impl FnMut(&Message, usize),
    ) -> Finished {
        let mut written = self.written + written;
        let mut finished = Finished::default();
        // A gap that has not been encoded was in no write; it stays for the next.
        while let Some(len) =
            self.items.front().and_then(|item| item.frame(self.codec)).map(<[u8]>::len)
            && len <= written
        {
            written -= len;
            match self.items.pop() {
                Some(Item::Message(message)) => {
                    self.messages -= 1;
                    self.bytes -= len + OVERHEAD;
                    finished.seen = true;
                    delivered(&message, len);
                }
                Some(Item::Frame(frame)) => {
                    finished.seen |= self.codec.is_seen(&frame);
                    finished.pongs += u16::from(self.codec.is_pong(&frame));
                }
                Some(Item::Gap(pending)) => {
                    let frame = pending.frame.as_deref();
                    finished.seen |= frame.is_some_and(|frame| self.codec.is_seen(frame));
                }
                None => {}
            }
        }
        self.written = written;
        finished
    }

    /// Places whose items may still be moved: all but a partly written first.
    fn movable(&self) -> std::ops::Range<usize> {
        usize::from(self.is_begun())..self.items.len()
    }

    /// Whether a part of the first item is on its way: dropping it now would leave that part behind.
    fn is_begun(&self) -> bool {
        self.written > 0 || self.owed
    }

    /// Notes whether the transport has taken a byte more than it has reported, see
    /// [`Transport::owes`](crate::net::Transport::owes). A frame's border is not a write's border.
    pub(super) fn set_owed(&mut self, owed: bool) {
        self.owed = owed;
    }

    /// Puts a gap in a message's place, or adds it to the gap before. `true`: the latter, so that
    /// the place is gone.
    fn drop_message(&mut self, at: usize) -> bool {
        let Item::Message(message) = &self.items[at] else { return false };
        let channel = message.channel.clone();
        self.messages -= 1;
        self.bytes -= self.weight(message);
        match self.gap_before(at, &channel, GapReason::SlowConsumer) {
            Some(gap) => {
                gap.add(GapReason::SlowConsumer);
                self.items.remove(at);
                true
            }
            None => {
                self.items[at] = Item::gap(channel, GapReason::SlowConsumer);
                false
            }
        }
    }

    /// A gap directly before `at`, with other gaps at most between, that tells what a new one would and
    /// of which nothing is written.
    fn gap_before(
        &mut self,
        at: usize,
        channel: &ChannelName,
        reason: GapReason,
    ) -> Option<&mut Gap> {
        let found = (self.movable().start..at)
            .rev()
            .map_while(|at| match &self.items[at] {
                Item::Gap(it) => Some((at, self.codec.gap_includes(&it.gap, channel, reason))),
                Item::Message(_) | Item::Frame(_) => None,
            })
            .find_map(|(at, included)| included.then_some(at))?;
        match &mut self.items[found] {
            Item::Gap(pending) => {
                pending.frame = None;
                Some(&mut pending.gap)
            }
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

impl Item {
    /// The frame; a gap has none before [`OutQueue::write_with`] encodes it.
    fn frame(&self, codec: Codec) -> Option<&[u8]> {
        match self {
            Self::Message(message) => Some(codec.message(message)),
            Self::Frame(frame) => Some(frame),
            Self::Gap(pending) => pending.frame.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
