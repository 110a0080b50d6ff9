//! What crosses between those who publish and upstream: batches of publications, and what came of each.
//!
//! What is under way is bounded by bytes: publishers wait for room, first come first served. A batch keeps its
//! room until it is answered, even when nobody waits for the answer any more.

use crate::{channel::ChannelName, reason::PublishResult, stream_id::StreamId};
use bytes::Bytes;
use std::{
    future::poll_fn,
    num::NonZeroU64,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

/// Bytes of publications that may be under way at one time, each counted with what it costs beside its
/// payload.
const UNDER_WAY: usize = 8 << 20;

/// How long a publisher waits for room before it is told that Redis is unavailable.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Bytes of publications that are handed over at once. A large batch goes in parts of this size, and others
/// get their turn in between.
const PART: usize = 256 << 10;

/// About what a publication costs beside its payload, its place in queues and its answer included.
const PUBLICATION_BYTES: usize = 256;

/// What is to be published, in this order, over one connection.
#[derive(Debug)]
pub struct PublishBatch {
    pub items: Vec<Publication>,
    /// One answer for each, in the same order.
    pub reply: oneshot::Sender<Vec<PublishAnswer>>,
    /// Gives back its room.
    _room: OwnedSemaphorePermit,
}

/// What came of one publication.
pub type PublishAnswer = Result<Published, NotPublished>;

/// One message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub to: Destination,
    pub payload: Bytes,
}

/// Where it goes. Names are without `redis.channel_prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// By PUBLISH.
    Channel(ChannelName),
    /// By XADD.
    Stream(ChannelName, StreamWrite),
}

/// How an entry is added to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamWrite {
    /// About how many entries the stream keeps; `None`: all of them.
    pub keep_entries: Option<NonZeroU64>,
    /// How long after this entry the whole stream goes; `None`: never.
    pub expire_after: Option<Duration>,
    /// Whether a stream that does not exist is made.
    pub create: bool,
}

/// Redis has taken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// How many connections got it.
    Receivers(u64),
    /// Its entry's id.
    Id(StreamId),
}

/// Why it was not published, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPublished {
    /// It was certainly not: it was not written, or Redis takes nothing now (READONLY, LOADING, …).
    Unavailable,
    /// Redis refuses this one: WRONGTYPE, NOPERM.
    Refused,
    /// The stream does not exist, and was not to be made.
    NotFound,
    /// It was written to a connection, and no answer came: it may have been published.
    Unknown,
}

/// Publishes. Cheap to clone; on any thread.
#[derive(Debug, Clone)]
pub struct PublishHandle {
    /// Bounded by the room.
    batches: mpsc::UnboundedSender<PublishBatch>,
    room: Arc<Semaphore>,
}

/// Upstream's end: batches in the order in which they are to be published.
pub type PublishBatches = mpsc::UnboundedReceiver<PublishBatch>;

/// Makes a handle and upstream's end of it.
#[must_use]
pub fn publishing() -> (PublishHandle, PublishBatches) {
    let (batches, received) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    (PublishHandle { batches, room }, received)
}

/// The answers to publications that were handed over. Dropping it does not take them back.
#[derive(Debug)]
pub struct Answers {
    received: Option<oneshot::Receiver<Vec<PublishAnswer>>>,
    /// The answer to each, if none is received.
    otherwise: PublishAnswer,
    count: usize,
}

impl PublishHandle {
    /// About how much is under way now, in bytes.
    #[must_use]
    pub fn under_way(&self) -> usize {
        UNDER_WAY - self.room.available_permits()
    }

    /// Publishes in this order, and resolves when Redis has answered, with one answer for each. It waits
    /// while too much is under way, but not for long. What is large goes in parts, between which others get
    /// their turn. Dropped while it waits, a part is not published; later, it is.
    pub async fn publish(&self, items: Vec<Publication>) -> Vec<PublishAnswer> {
        let mut parts = Vec::new();
        for part in parts_of(items) {
            let part = match parts.last() {
                // Nothing is published behind what was not.
                Some(Answers { received: None, otherwise, .. }) => {
                    Answers { received: None, otherwise: *otherwise, count: part.len() }
                }
                _ => self.hand_over(part).await,
            };
            parts.push(part);
        }
        let mut answers = Vec::new();
        for part in parts {
            answers.extend(part.all().await);
        }
        answers
    }

    /// Hands over what is to be published in this order, as soon as there is room for it.
    pub async fn hand_over(&self, items: Vec<Publication>) -> Answers {
        let weight = weight(&items);
        let room = Arc::clone(&self.room).acquire_many_owned(weight);
        match timeout(LONGEST_WAIT, room).await {
            Ok(Ok(room)) => self.send(items, room),
            Ok(Err(_)) | Err(_) => Answers::none(items.len()),
        }
    }

    /// Hands over one publication at once.
    ///
    /// # Errors
    /// It comes back: there is no room for it now.
    pub fn try_hand_over(&self, item: Publication) -> Result<Answers, Publication> {
        let weight = weight(std::slice::from_ref(&item));
        match Arc::clone(&self.room).try_acquire_many_owned(weight) {
            Ok(room) => Ok(self.send(vec![item], room)),
            Err(_) => Err(item),
        }
    }

    fn send(&self, items: Vec<Publication>, room: OwnedSemaphorePermit) -> Answers {
        let count = items.len();
        let (reply, received) = oneshot::channel();
        match self.batches.send(PublishBatch { items, reply, _room: room }) {
            Ok(()) => {
                Answers { received: Some(received), otherwise: Err(NotPublished::Unknown), count }
            }
            Err(_) => Answers::none(count),
        }
    }
}

impl Answers {
    /// The answers where nothing was handed over.
    fn none(count: usize) -> Self {
        Self { received: None, otherwise: Err(NotPublished::Unavailable), count }
    }

    /// Waits for them.
    pub async fn all(mut self) -> Vec<PublishAnswer> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Polls for them; not to be polled again once it is ready.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<PublishAnswer>> {
        let answers = match &mut self.received {
            Some(received) => ready!(Pin::new(received).poll(cx)).ok(),
            None => None,
        };
        Poll::Ready(answers.unwrap_or_else(|| vec![self.otherwise; self.count]))
    }
}

/// Publications in the same order, not much more than [`PART`] at a time.
fn parts_of(items: Vec<Publication>) -> Vec<Vec<Publication>> {
    let (mut parts, mut size) = (vec![Vec::new()], 0);
    for item in items {
        if size >= PART {
            parts.push(Vec::new());
            size = 0;
        }
        size += item.weight();
        parts.last_mut().expect("there is one").push(item);
    }
    parts
}

/// The room that these take, at most all that there is.
fn weight(items: &[Publication]) -> u32 {
    let weight = items.iter().map(Publication::weight).sum::<usize>().min(UNDER_WAY);
    u32::try_from(weight).unwrap_or(u32::MAX)
}

impl Publication {
    fn weight(&self) -> usize {
        PUBLICATION_BYTES + self.to.name().len() + self.payload.len()
    }
}

impl Destination {
    /// The channel's name, or the stream's.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        match self {
            Self::Channel(name) | Self::Stream(name, _) => name,
        }
    }
}

impl From<NotPublished> for PublishResult {
    fn from(why: NotPublished) -> Self {
        match why {
            NotPublished::Unavailable => Self::RedisUnavailable,
            NotPublished::Refused => Self::RedisRefused,
            NotPublished::NotFound => Self::ChannelNotFound,
            NotPublished::Unknown => Self::OutcomeUnknown,
        }
    }
}

#[cfg(test)]
mod tests;
