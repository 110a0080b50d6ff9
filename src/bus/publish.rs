//! What crosses between those who publish and upstream: batches of publications, and what came of each.
//!
//! What is under way is bounded, by bytes: who publishes waits for room. A batch keeps its room until it is
//! answered, also when nobody waits for the answer any more.

use crate::{channel::ChannelName, reason::PublishResult, stream_id::StreamId};
use bytes::Bytes;
use std::{num::NonZeroU64, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Bytes of publications that may be under way at one time, each counted with what it costs beside its
/// payload.
const UNDER_WAY: usize = 32 << 20;

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

impl PublishHandle {
    /// About how much is under way now, in bytes.
    #[must_use]
    pub fn under_way(&self) -> usize {
        UNDER_WAY - self.room.available_permits()
    }

    /// Publishes in this order, and resolves when Redis has answered, with one answer for each. It waits
    /// while too much is under way. Dropped while it waits, nothing is published; later, all is.
    pub async fn publish(&self, items: Vec<Publication>) -> Vec<PublishAnswer> {
        let count = items.len();
        let all = |why| vec![Err(why); count];
        let weight = items.iter().map(Publication::weight).sum::<usize>().min(UNDER_WAY);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(weight).await else {
            return all(NotPublished::Unavailable);
        };
        let (reply, answers) = oneshot::channel();
        if self.batches.send(PublishBatch { items, reply, _room: room }).is_err() {
            return all(NotPublished::Unavailable);
        }
        answers.await.unwrap_or_else(|_| all(NotPublished::Unknown))
    }
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
mod tests {
    use super::*;
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    fn publication(bytes: usize) -> Publication {
        let to = Destination::Channel(ChannelName::new("c"));
        Publication { to, payload: vec![0; bytes].into() }
    }

    #[test]
    fn a_batch_waits_for_room_and_gives_it_back_when_it_is_answered_also_to_nobody() {
        let (handle, mut batches) = publishing();
        let cx = &mut Context::from_waker(Waker::noop());
        // Larger than all the room there is: it is published alone.
        let mut large = Box::pin(handle.publish(vec![publication(2 * UNDER_WAY)]));
        let mut small = pin!(handle.publish(vec![publication(1)]));
        assert!(large.as_mut().poll(cx).is_pending() && small.as_mut().poll(cx).is_pending());
        let batch = batches.try_recv().unwrap();
        assert!(batches.try_recv().is_err(), "the second waits");
        assert_eq!(handle.under_way(), UNDER_WAY);
        drop(large);
        assert!(small.as_mut().poll(cx).is_pending());
        assert!(batches.try_recv().is_err(), "the first is still under way");
        drop(batch);
        assert!(small.as_mut().poll(cx).is_pending());
        let PublishBatch { reply, .. } = batches.try_recv().unwrap();
        reply.send(vec![Ok(Published::Receivers(3))]).unwrap();
        let std::task::Poll::Ready(answers) = small.as_mut().poll(cx) else {
            panic!("it is answered")
        };
        assert_eq!(answers, [Ok(Published::Receivers(3))]);
        assert_eq!(handle.under_way(), 0);
    }

    #[test]
    fn what_upstream_never_took_is_not_published_and_what_it_took_and_dropped_may_be() {
        let (handle, mut batches) = publishing();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut taken = pin!(handle.publish(vec![publication(1), publication(2)]));
        assert!(taken.as_mut().poll(cx).is_pending());
        drop(batches.try_recv().unwrap());
        let unknown = std::task::Poll::Ready(vec![Err(NotPublished::Unknown); 2]);
        assert_eq!(taken.as_mut().poll(cx), unknown);
        drop(batches);
        let mut late = pin!(handle.publish(vec![publication(1)]));
        let unavailable = std::task::Poll::Ready(vec![Err(NotPublished::Unavailable)]);
        assert_eq!(late.as_mut().poll(cx), unavailable);
    }
}
