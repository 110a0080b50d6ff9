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
    wire::{Codec, Gap, GapNotice, Loss},
};
use bytes::Bytes;
use std::{array, collections::HashSet, io::IoSlice, mem, rc::Rc};

/// How many items one write takes at the most.
pub(super) const MAX_SLICES: usize = 64;

/// What a message takes beside its frame, in bytes: its place in the queue, and itself.
const OVERHEAD: usize = size_of::<Item>() + size_of::<Message>();

/// About what a frame or a gap of this session alone takes.
const PRIVATE: usize = 256;

/// More than any session begins with.
const NOT_BEGUN: u32 = u32::MAX;

/// One session's queue. There is one for every connection, so its size is tested.
#[derive(Debug)]
pub(super) struct OutQueue {
    codec: Codec,
    items: InlineDeque<Item>,
    /// How much of the first item is already in the socket. It must then stay where it is. No frame is
    /// as large as four bytes can say.
    written: u32,
    /// Whether the transport has taken the first item's next byte without reporting it.
    owed: bool,
    /// Items at the front that the session begins with: they stay, and no bound of the queue counts them.
    /// [`NOT_BEGUN`] until they are known.
    ahead: u32,
    /// Queued messages. The configuration allows a million.
    messages: u32,
    /// Queued replies of ours.
    replies: u8,
    /// Bytes of the queued messages' frames, and [`OVERHEAD`] for each.
    bytes: usize,
}

/// What a write has finished.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// Whether a frame was among it that a page can see.
    pub(super) seen: bool,
    /// Messages of a replay.
    pub(super) replayed: u64,
}

/// What a session begins with.
#[derive(Debug)]
pub(super) enum Ahead {
    /// A whole frame of this session alone.
    Frame(Bytes),
    Replayed(Replayed),
}

/// A part of a replay.
#[derive(Debug)]
pub(in crate::shard) enum Replayed {
    Message(Rc<Queued>),
    /// In the place of an entry that is too large.
    Gap(ChannelName, Loss),
}

#[derive(Debug)]
enum Item {
    Message(Rc<Queued>),
    /// A message from before the session.
    Replayed(Rc<Queued>),
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
    fn gap(channel: ChannelName, loss: Loss) -> Self {
        Self::Gap(Box::new(PendingGap { gap: Gap { channel, loss }, frame: None }))
    }
}

impl From<Ahead> for Item {
    fn from(ahead: Ahead) -> Self {
        match ahead {
            Ahead::Frame(frame) => Self::Frame(Box::new(frame)),
            Ahead::Replayed(Replayed::Message(message)) => Self::Replayed(message),
            Ahead::Replayed(Replayed::Gap(stream, loss)) => Self::gap(stream, loss),
        }
    }
}

impl OutQueue {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            items: InlineDeque::default(),
            written: 0,
            owed: false,
            ahead: NOT_BEGUN,
            messages: 0,
            replies: 0,
            bytes: 0,
        }
    }

    /// How the session's messages look.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes of the queued messages, with their overhead, and of the replay before them.
    pub(super) fn all_bytes(&self) -> usize {
        let replayed = self.items.iter().take(self.ahead()).map(|item| match item {
            Item::Replayed(message) => self.weight(message),
            Item::Message(_) | Item::Gap(_) | Item::Frame(_) => 0,
        });
        self.bytes + replayed.sum::<usize>()
    }

    /// The memory of this queue alone: its places, and what is not shared with other sessions.
    pub(super) fn private_bytes(&self) -> usize {
        let private = self.items.len() - self.messages as usize - self.ahead();
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

    /// … that answers something of the client's.
    pub(super) fn push_reply(&mut self, frame: Bytes) {
        self.replies += 1;
        self.push_frame(frame);
    }

    pub(super) fn replies(&self) -> u8 {
        self.replies
    }

    /// Whether what it begins with is there.
    pub(super) fn has_begun(&self) -> bool {
        self.ahead != NOT_BEGUN
    }

    /// Items at the front that the session begins with.
    fn ahead(&self) -> usize {
        if self.has_begun() { self.ahead as usize } else { 0 }
    }

    /// Puts these before everything else, once.
    pub(super) fn put_ahead(&mut self, ahead: Vec<Ahead>) {
        debug_assert!(!self.has_begun(), "a session begins once");
        let mut waiting = mem::take(&mut self.items);
        self.ahead = u32::try_from(ahead.len()).expect("the configuration allows a million");
        ahead.into_iter().for_each(|item| self.items.push(item.into()));
        while let Some(item) = waiting.pop() {
            self.items.push(item);
        }
    }

    /// Takes out everything of a channel, as if it had never come.
    pub(super) fn forget(&mut self, channel: &ChannelName) {
        let mut all = mem::take(&mut self.items);
        while let Some(item) = all.pop() {
            match item {
                Item::Message(message) if message.channel == *channel => {
                    self.messages -= 1;
                    self.bytes -= self.weight(&message);
                }
                Item::Gap(pending) if pending.gap.channel == *channel => {}
                kept => self.items.push(kept),
            }
        }
    }

    /// Marks that messages may have been missed upstream just here. Losses at one place are one notice
    /// until it is written.
    pub(super) fn push_gap(&mut self, channel: &ChannelName, loss: Loss) {
        let end = self.items.len();
        match self.gap_before(end, channel, loss.reason) {
            Some(gap) => gap.loss.add(loss),
            None => self.items.push(Item::gap(channel.clone(), loss)),
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
                Item::Replayed(_) | Item::Gap(_) | Item::Frame(_) => false,
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
        if self.has_begun() {
            self.ahead = self.ahead.min(u32::from(!self.items.is_empty()));
        }
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
            let only: [IoSlice<'_>; 1] = slices(frames, self.written as usize);
            write(&only)
        } else {
            let all: [IoSlice<'_>; MAX_SLICES] = slices(frames, self.written as usize);
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
        let mut written = self.written as usize + written;
        let mut finished = Finished::default();
        // A gap that has not been encoded was in no write; it stays for the next.
        while let Some(len) =
            self.items.front().and_then(|item| item.frame(self.codec)).map(<[u8]>::len)
            && len <= written
        {
            written -= len;
            if self.has_begun() {
                self.ahead = self.ahead.saturating_sub(1);
            }
            match self.items.pop() {
                Some(Item::Message(message)) => {
                    self.messages -= 1;
                    self.bytes -= len + OVERHEAD;
                    finished.seen = true;
                    delivered(&message, len);
                }
                Some(Item::Replayed(_)) => {
                    finished.seen = true;
                    finished.replayed += 1;
                }
                Some(Item::Frame(frame)) => {
                    finished.seen |= self.codec.is_seen(&frame);
                    let pongs = u8::from(self.codec.is_pong(&frame));
                    self.replies = self.replies.saturating_sub(pongs);
                }
                Some(Item::Gap(pending)) => {
                    let frame = pending.frame.as_deref();
                    finished.seen |= frame.is_some_and(|frame| self.codec.is_seen(frame));
                }
                None => {}
            }
        }
        self.written = u32::try_from(written).expect("a frame is smaller");
        finished
    }

    /// Places whose items may still be moved: all but a partly written first, and what the session begins
    /// with.
    fn movable(&self) -> std::ops::Range<usize> {
        usize::from(self.is_begun()).max(self.ahead())..self.items.len()
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
        let loss = Loss { id: message.id, ..GapReason::SlowConsumer.into() };
        self.messages -= 1;
        self.bytes -= self.weight(message);
        match self.gap_before(at, &channel, loss.reason) {
            Some(gap) => {
                gap.loss.add(loss);
                self.items.remove(at);
                true
            }
            None => {
                self.items[at] = Item::gap(channel, loss);
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
                Item::Message(_) | Item::Replayed(_) | Item::Frame(_) => None,
            })
            .find_map(|(at, included)| included.then_some(at))?;
        match &mut self.items[found] {
            Item::Gap(pending) => {
                pending.frame = None;
                Some(&mut pending.gap)
            }
            Item::Message(_) | Item::Replayed(_) | Item::Frame(_) => None,
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
            Self::Message(message) | Self::Replayed(message) => Some(codec.message(message)),
            Self::Frame(frame) => Some(frame),
            Self::Gap(pending) => pending.frame.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
