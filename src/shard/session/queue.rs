//! Bounded outbound queue of a session.
//!
//! Messages are shared with every other session; only the queue of references to them is this
//! session's own. A message that is dropped leaves a gap notice exactly where it was.

mod item;
mod losses;
#[cfg(test)]
mod tests;
mod writing;

pub(super) use item::Ahead;
pub(in crate::shard) use item::Replayed;

use super::inline_deque::InlineDeque;
use crate::{
    channel::ChannelName, endpoint::Endpoint, message::Message, shard::memory::Queued, wire::Codec,
};
use bytes::Bytes;
use item::Item;
use std::{mem, rc::Rc};

/// What a message takes beside its frame, in bytes: its place in the queue, and itself.
const OVERHEAD: usize = size_of::<Item>() + size_of::<Message>();

/// About what a frame or a gap of this session alone takes beside the bytes of a frame.
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
    /// Items of replays: they stay, and no bound of the queue counts them. [`NOT_BEGUN`] until what the session
    /// begins with is known.
    replays: u32,
    /// Queued messages. The configuration allows a million.
    messages: u32,
    /// Queued replies of ours.
    replies: u8,
    /// Bytes of the queued messages' frames, and [`OVERHEAD`] for each.
    bytes: usize,
}

impl OutQueue {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            items: InlineDeque::default(),
            written: 0,
            owed: false,
            replays: NOT_BEGUN,
            messages: 0,
            replies: 0,
            bytes: 0,
        }
    }

    /// How the session's messages look.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes of the queued messages, with their overhead, and of frames. A replay is not counted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.frame_bytes()
    }

    /// The memory of this queue alone: its places, and what is not shared with other sessions.
    pub(super) fn private_bytes(&self) -> usize {
        self.items.memory() + self.frame_bytes()
    }

    /// About what those items take that are not shared with other sessions.
    fn frame_bytes(&self) -> usize {
        match self.items.len() - self.messages as usize - self.replays() {
            0 => 0,
            _ => self.items.iter().map(Item::private_bytes).sum(),
        }
    }

    /// What waits beside messages.
    pub(super) fn frames(&self) -> usize {
        self.items.len() - self.messages as usize
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

    pub(super) fn push_frame(&mut self, frame: impl Into<Rc<Bytes>>) {
        self.items.push(Item::Frame(frame.into()));
    }

    /// Queues a frame that answers the client.
    pub(super) fn push_reply(&mut self, frame: Bytes) {
        self.replies += 1;
        self.items.push(Item::Reply(Rc::new(frame)));
    }

    pub(super) fn replies(&self) -> u8 {
        self.replies
    }

    /// Whether what it begins with is there.
    pub(super) fn has_begun(&self) -> bool {
        self.replays != NOT_BEGUN
    }

    /// Items of replays.
    fn replays(&self) -> usize {
        if self.has_begun() { self.replays as usize } else { 0 }
    }

    /// Queues a replay behind everything that is in line.
    pub(super) fn push_replay(&mut self, replay: Vec<Replayed>) {
        debug_assert!(self.has_begun(), "what it begins with comes first");
        for item in replay.into_iter().map(|it| Item::from(Ahead::Replayed(it))) {
            self.replays += u32::from(matches!(item, Item::Replayed(_)));
            self.items.push(item);
        }
    }

    /// Puts these before everything else, once.
    pub(super) fn put_ahead(&mut self, ahead: Vec<Ahead>) {
        debug_assert!(!self.has_begun(), "a session begins once");
        let mut waiting = mem::take(&mut self.items);
        let replays = ahead.iter().filter(|it| matches!(it, Ahead::Replayed(Replayed::Message(_))));
        self.replays = u32::try_from(replays.count()).expect("the configuration allows a million");
        self.items.reserve(ahead.len() + waiting.len());
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
        self.replies = u8::from(matches!(self.items.front(), Some(Item::Reply(_))));
        if self.has_begun() {
            self.replays = u32::from(matches!(self.items.front(), Some(Item::Replayed(_))));
        }
        dropped
    }

    /// Drops everything, what is partly written as well: it will not be whole any more.
    pub(super) fn abandon(&mut self) -> u32 {
        self.written = 0;
        self.owed = false;
        self.clear()
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
}
