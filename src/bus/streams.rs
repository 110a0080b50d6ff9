//! What crosses between the stream side of upstream and the shards.
//!
//! A shard has one queue of stream events more, its *stream ring*, from which nothing is ever dropped:
//! upstream does not read a stream on while a shard that wants it is behind. What is not read stays in
//! Redis.

use super::{
    MESSAGE_BYTES, REQUESTS, RejectedBy, ShardId,
    ring::{Beyond, RingEvent, RingLimits, RingReceiver, RingSender, ring},
};
use crate::{channel::ChannelName, message::Message, reason::GapReason, stream_id::StreamId};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What goes through a shard's stream ring, in this order for each stream.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// The stream's tail is read from this place on: every entry behind it reaches the ring. It answers a
    /// `Subscribe`, and comes again only after another one.
    Subscribed { stream: ChannelName, place: StreamId, read_up_to: u64 },
    /// The stream cannot be had, or not any more. It stays wanted until the shard says `Unsubscribe`.
    Rejected { stream: ChannelName, by: RejectedBy, read_up_to: u64 },
    /// A new entry, which has an id: the shard's place moves there.
    Entry(Arc<Message>),
    /// An entry larger than `redis.max_payload` stood at this place.
    TooLarge { stream: ChannelName, place: StreamId },
    /// The place moves without an entry.
    Place { stream: ChannelName, place: StreamId },
    /// From here on the stream is, or may be, another one. Its `Gap`, where one is told, comes next.
    Turn { stream: ChannelName },
    /// Entries before this place are lost; `missed` is their exact number, where it is known.
    Gap { stream: ChannelName, reason: GapReason, missed: Option<u64>, place: StreamId },
    /// The tail was read once more, by a reading that began after the shard's `Mark` of this number, and
    /// everything that it found stands before this.
    Marker(u64),
    /// The reading that the `Mark` of this number asks for cannot be done, for this reason.
    NoMarker(u64, RejectedBy),
}

impl RingEvent for StreamEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Entry(message) => MESSAGE_BYTES + message.payload().len(),
            // Its name is the hub's, too.
            _ => size_of::<Self>(),
        }
    }
}

/// What shards ask of the stream side.
#[derive(Debug)]
pub struct StreamRequests {
    pub shard: ShardId,
    /// The number of this batch of the shard, from 1.
    pub sequence: u64,
    /// In this order.
    pub requests: Vec<StreamRequest>,
}

/// What a shard asks of the stream side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRequest {
    Subscribe(ChannelName),
    Unsubscribe(ChannelName),
    /// Read the tail of this stream, which the shard wants, once more, and say so by
    /// [`StreamEvent::Marker`].
    Mark {
        stream: ChannelName,
        number: u64,
        /// Also go on to where the stream ends, if its newest entries were deleted: this takes XINFO.
        to_end: bool,
    },
}

/// Asks for entries that are in a stream already.
#[derive(Debug)]
pub struct PageRequest {
    pub stream: ChannelName,
    pub ask: PageAsk,
    pub answer: oneshot::Sender<Result<Page, PageError>>,
}

/// Which entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageAsk {
    /// Those behind `after`, the oldest first, at most `count`, and none behind `until`.
    After { after: StreamId, until: Option<StreamId>, count: usize, facts: PageFacts },
    /// The newest up to `until`, at most `count`, the oldest first; always with facts.
    Newest { until: StreamId, count: usize },
}

/// When a page is read together with what XINFO says, in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageFacts {
    Never,
    /// Where the entry `after` is not there.
    WhereNotFound,
    Always,
}

/// Entries of a stream, in order.
#[derive(Debug, Clone)]
pub struct Page {
    pub entries: Vec<PageEntry>,
    /// Whether the entry `after` itself is in the stream.
    pub found: bool,
    /// Whether there may be more behind it.
    pub is_full: bool,
    pub facts: Option<StreamFacts>,
}

/// One entry of a page.
#[derive(Debug, Clone)]
pub enum PageEntry {
    /// It has an id.
    Message(Arc<Message>),
    /// It is larger than `redis.max_payload`.
    TooLarge(StreamId),
}

impl PageEntry {
    /// Its place in the stream.
    #[must_use]
    pub fn id(&self) -> StreamId {
        match self {
            Self::Message(message) => message.id.unwrap_or_default(),
            Self::TooLarge(id) => *id,
        }
    }

    /// Bytes of its payload, which one that is too large does not have here.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.payload().len(),
            Self::TooLarge(_) => 0,
        }
    }
}

/// What XINFO STREAM says; [`StreamFacts::default`] is what it says of a key that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamFacts {
    pub exists: bool,
    /// `last-generated-id`.
    pub last: StreamId,
    /// `entries-added`; `None` before Redis 7.
    pub added: Option<u64>,
    pub length: u64,
    /// The id of the first entry, if there is one.
    pub first: Option<StreamId>,
    /// `max-deleted-entry-id`: only XDEL sets it. `None` before Redis 7.
    pub max_deleted: Option<StreamId>,
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Redis refuses it: WRONGTYPE, NOPERM.
    #[error("Redis refuses the stream")]
    Refused,
    #[error("there is no link")]
    LinkDown,
}

/// Upstream's ends of the queues for streams.
#[derive(Debug)]
pub struct StreamUpstreamEnd {
    /// One stream ring a shard, by shard number.
    pub rings: Vec<RingSender<StreamEvent>>,
    pub requests: mpsc::Receiver<StreamRequests>,
    /// Its length is bounded by the handshakes that are under way.
    pub pages: mpsc::UnboundedReceiver<PageRequest>,
}

impl StreamUpstreamEnd {
    /// Takes the ends; what is left in their place is closed.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let closed = Self {
            rings: Vec::new(),
            requests: mpsc::channel(1).1,
            pages: mpsc::unbounded_channel().1,
        };
        std::mem::replace(self, closed)
    }
}

/// One shard's ends of the queues for streams.
#[derive(Debug)]
pub struct StreamShardEnd {
    pub ring: RingReceiver<StreamEvent>,
    pub requests: mpsc::Sender<StreamRequests>,
    pub pages: mpsc::UnboundedSender<PageRequest>,
}

/// Makes the queues for streams. A shard may fall as far behind in them as in its other ring.
pub(super) fn queues(
    shards: usize,
    limits: RingLimits,
) -> (StreamUpstreamEnd, Vec<StreamShardEnd>) {
    let (request, requests) = mpsc::channel(REQUESTS);
    let (ask, pages) = mpsc::unbounded_channel();
    let (rings, ends) = (0..shards)
        .map(|_| {
            let (sender, ring) = ring(RingLimits { beyond: Beyond::KeepAll, ..limits });
            (sender, StreamShardEnd { ring, requests: request.clone(), pages: ask.clone() })
        })
        .unzip();
    (StreamUpstreamEnd { rings, requests, pages }, ends)
}
