//! What waits in a session's queue.

use super::PRIVATE;
use crate::{
    channel::ChannelName,
    shard::memory::{PLACE, Queued, ReplayedMessage},
    stream_id::StreamId,
    wire::{Codec, Gap, Loss},
};
use bytes::Bytes;
use std::rc::Rc;

/// What a session begins with.
#[derive(Debug)]
pub(in crate::shard::session) enum Ahead {
    /// A whole frame of this session alone.
    Frame(Bytes),
    Replayed(Replayed),
}

/// A part of a replay.
#[derive(Debug)]
pub(in crate::shard) enum Replayed {
    Message(ReplayedMessage),
    /// In the place of an entry that is too large.
    Gap(ChannelName, Loss),
}

impl Replayed {
    /// Its place in the stream.
    pub(in crate::shard) fn id(&self) -> Option<StreamId> {
        match self {
            Self::Message(message) => message.id,
            Self::Gap(_, loss) => loss.id,
        }
    }

    /// Bytes of payload.
    pub(in crate::shard) fn payload(&self) -> usize {
        match self {
            Self::Message(message) => message.payload().len(),
            Self::Gap(..) => 0,
        }
    }

    /// The memory that it takes, if nobody shares it.
    pub(in crate::shard) fn memory(&self) -> usize {
        match self {
            Self::Message(message) => message.memory(),
            Self::Gap(..) => PRIVATE,
        }
    }
}

/// What waits in a queue.
#[derive(Debug)]
pub(super) enum Item {
    Message(Rc<Queued>),
    /// A message from before the session.
    Replayed(ReplayedMessage),
    Gap(Box<PendingGap>),
    /// A whole frame that is no message: ping, close, ready, news of a room.
    Frame(Rc<Bytes>),
    /// A frame for this session alone that answers the client.
    Reply(Rc<Bytes>),
}

const _: () = assert!(PLACE == 2 * size_of::<Item>(), "what is reserved for a place");

/// A gap that has not been told, so that further losses at the same place are still added to it.
#[derive(Debug)]
pub(super) struct PendingGap {
    pub(super) gap: Gap,
    /// Made when its turn comes, and again when something was added since.
    pub(super) frame: Option<Bytes>,
}

impl Item {
    /// About the memory that it takes beside its place and what its session shares with others.
    pub(super) fn private_bytes(&self) -> usize {
        match self {
            Self::Message(_) | Self::Replayed(_) => 0,
            Self::Gap(_) => PRIVATE,
            Self::Frame(frame) | Self::Reply(frame) => {
                let is_shared = Rc::strong_count(frame) > 1 || !frame.is_unique();
                PRIVATE + if is_shared { 0 } else { frame.len() }
            }
        }
    }

    pub(super) fn gap(channel: ChannelName, loss: Loss) -> Self {
        Self::Gap(Box::new(PendingGap { gap: Gap { channel, loss }, frame: None }))
    }

    /// The frame; a gap has none before [`OutQueue::write_with`](super::OutQueue::write_with) encodes it.
    pub(super) fn frame(&self, codec: Codec) -> Option<&[u8]> {
        match self {
            Self::Message(message) => Some(codec.message(message)),
            Self::Replayed(message) => Some(codec.message(message)),
            Self::Frame(frame) | Self::Reply(frame) => Some(frame),
            Self::Gap(pending) => pending.frame.as_deref(),
        }
    }
}

impl From<Ahead> for Item {
    fn from(ahead: Ahead) -> Self {
        match ahead {
            Ahead::Frame(frame) => Self::Frame(Rc::new(frame)),
            Ahead::Replayed(Replayed::Message(message)) => Self::Replayed(message),
            Ahead::Replayed(Replayed::Gap(stream, loss)) => Self::gap(stream, loss),
        }
    }
}
