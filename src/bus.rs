//! What crosses between upstream and the shards. Neither knows the other; both speak these types.
//!
//! Four queues a shard: its *ring* (messages and gaps, in Redis's order, never waited for: a shard
//! that falls behind loses the oldest and is told how many), its *subscription events* (answers to what it
//! asked for, never lost), its *revocations* (never lost, and behind no message), and the one queue of
//! *requests* that all shards share. What is *published* goes through one more, which anybody may use.

mod presence;
mod publish;
mod ring;
mod streams;

pub use presence::{
    Change, PresenceEvent, PresenceRequest, PresenceRules, PresenceShardEnd, PresenceUpstreamEnd,
    Roster,
};
pub use publish::{
    Answers, Destination, NotPublished, Publication, PublishAnswer, PublishBatch, PublishBatches,
    PublishHandle, Published, StreamWrite, publishing,
};
pub use ring::{
    Beyond, Fill, RingError, RingEvent, RingLimits, RingPosition, RingReceiver, RingSender, ring,
};
pub use streams::{
    Page, PageAsk, PageEntry, PageError, PageFacts, PageRequest, StreamEvent, StreamFacts,
    StreamRequest, StreamRequests, StreamShardEnd, StreamUpstreamEnd,
};

use crate::{
    channel::ChannelName,
    message::Message,
    reason::{GapReason, Refusal},
};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::sync::mpsc;

/// Number of a shard, from 0. There are at most [`MAX_SHARDS`], so that a set of shards, and of presence, which
/// subscribes as a shard does, is one `u64`.
pub type ShardId = usize;

/// How many shards one process can have. The last bit of a set is for presence, whose announcements
/// upstream subscribes to itself.
pub const MAX_SHARDS: usize = 63;

/// What goes through a shard's ring.
#[derive(Debug, Clone)]
pub enum Event {
    Message(Arc<Message>),
    /// From here on these channels may miss messages. Each that comes back is told by its
    /// [`Event::Gap`]; the others stay lost.
    Lost(Arc<[ChannelName]>),
    /// Messages of this channel may have been missed just here.
    Gap(ChannelName, GapReason),
}

/// Whose sessions must end now, as `redis.control_channel` said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoke {
    /// All of a user's.
    User(Arc<str>),
    /// Those that live by the token of this name (`jti`).
    Token(Arc<str>),
    /// Those of everybody who has an identity: revocations may have been missed.
    Everyone,
}

/// About what a message costs beside its payload.
const MESSAGE_BYTES: usize = 128;

impl RingEvent for Event {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => MESSAGE_BYTES + message.payload().len(),
            // Their names are the hub's, too.
            Self::Lost(_) | Self::Gap(..) => size_of::<Self>(),
        }
    }
}

/// What shards ask of upstream.
#[derive(Debug)]
pub struct RequestBatch {
    pub shard: ShardId,
    /// The number of this batch of the shard, from 1. Upstream says with every event how far it has read.
    pub sequence: u64,
    /// In this order.
    pub requests: Vec<Request>,
}

/// What a shard asks for: its first session of a channel came, or its last one left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Subscribe(ChannelName),
    Unsubscribe(ChannelName),
}

/// What upstream tells one shard.
#[derive(Debug, Clone)]
pub struct SubscriptionEvents {
    /// The last batch of this shard that these events know of. An event on a channel that was
    /// left and joined again since then speaks of the past and must be ignored.
    pub read_up_to: u64,
    pub events: Vec<SubscriptionEvent>,
}

/// Upstream's word on one channel, or on those that a lost link carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionEvent {
    /// Redis has confirmed the subscription: every message from here on reaches the ring. Where a
    /// gap is to be told, it stands in the ring already.
    Confirmed(ChannelName),
    /// Redis refuses this channel, or the link is down and nothing can be confirmed now. The
    /// channel stays wanted until the shard says `Unsubscribe`.
    Rejected(ChannelName, RejectedBy),
    /// These channels are not confirmed any more, some of them perhaps of no concern to this
    /// shard. Each that comes back is `Confirmed` again.
    Lost(Arc<[ChannelName]>),
}

/// Why a channel cannot be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedBy {
    /// Redis answered this channel with an error, NOPERM for example.
    Redis,
    /// There is no link to ask.
    LinkDown,
    /// The instance has as many streams as `redis.max_streams` allows.
    StreamLimit,
    /// The instance has as many patterns as `redis.max_patterns` allows.
    PatternLimit,
    /// Redis does not say which keys change (CLIENT TRACKING), so no stream can be followed.
    TrackingRefused,
}

impl From<RejectedBy> for Refusal {
    fn from(by: RejectedBy) -> Self {
        match by {
            RejectedBy::Redis => Self::ChannelRefused,
            RejectedBy::LinkDown => Self::RedisUnavailable,
            RejectedBy::StreamLimit => Self::StreamLimit,
            RejectedBy::PatternLimit => Self::PatternLimit,
            RejectedBy::TrackingRefused => Self::TrackingRefused,
        }
    }
}

/// Upstream's ends of the queues.
#[derive(Debug)]
pub struct UpstreamEnd {
    /// One ring a shard, by shard number; then the one of presence.
    pub rings: Vec<RingSender<Event>>,
    /// As many queues. The length of each is bounded by the channels that the shard wants.
    pub subscription_events: Vec<mpsc::UnboundedSender<SubscriptionEvents>>,
    /// One queue a shard. Its length is bounded by what is revoked while the shard does one thing: nothing
    /// that a session is told waits for a session.
    pub revocations: Vec<mpsc::UnboundedSender<Revoke>>,
    pub requests: mpsc::Receiver<RequestBatch>,
    pub streams: StreamUpstreamEnd,
    pub publishes: PublishBatches,
    pub presence: PresenceUpstreamEnd,
    /// With it presence subscribes, as a shard does.
    pub news: NewsEnd,
}

/// What subscribes like a shard and is none: the announcements of presence go to upstream itself.
#[derive(Debug)]
pub struct NewsEnd {
    /// Behind the last shard's.
    pub id: ShardId,
    pub ring: RingReceiver<Event>,
    pub subscription_events: mpsc::UnboundedReceiver<SubscriptionEvents>,
    pub requests: mpsc::Sender<RequestBatch>,
}

impl NewsEnd {
    /// Takes the end; what is left in its place is closed.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let limits = RingLimits {
            events: RING_EVENTS,
            bytes: NonZeroUsize::MIN,
            beyond: Beyond::DropOldest,
        };
        let closed = Self {
            id: self.id,
            ring: ring(limits).1,
            subscription_events: mpsc::unbounded_channel().1,
            requests: mpsc::channel(1).0,
        };
        std::mem::replace(self, closed)
    }
}

/// One shard's ends of the queues.
#[derive(Debug)]
pub struct ShardEnd {
    pub id: ShardId,
    pub ring: RingReceiver<Event>,
    pub subscription_events: mpsc::UnboundedReceiver<SubscriptionEvents>,
    pub revocations: mpsc::UnboundedReceiver<Revoke>,
    pub requests: mpsc::Sender<RequestBatch>,
    pub streams: StreamShardEnd,
    pub publish: PublishHandle,
    pub presence: PresenceShardEnd,
}

/// Events that a shard may fall behind before the oldest are dropped.
const RING_EVENTS: NonZeroUsize = NonZeroUsize::new(16_384).expect("more than zero");

/// Batches waiting for upstream; a shard has at most one under way, so this is never the brake.
const REQUESTS: usize = MAX_SHARDS + 1;

/// Makes queues with the default bounds.
#[cfg(test)]
#[must_use]
pub fn queues_for_tests(shards: usize) -> (UpstreamEnd, Vec<ShardEnd>) {
    queues(shards, const { NonZeroUsize::new(64 << 20).expect("more than zero") })
}

/// Makes the queues between upstream and `shards` shards, each of which may fall `ring_bytes` behind.
///
/// # Panics
/// When `shards` is 0 or more than [`MAX_SHARDS`].
#[must_use]
pub fn queues(shards: usize, ring_bytes: NonZeroUsize) -> (UpstreamEnd, Vec<ShardEnd>) {
    assert!((1..=MAX_SHARDS).contains(&shards), "{shards} shards");
    let limits = RingLimits { events: RING_EVENTS, bytes: ring_bytes, beyond: Beyond::DropOldest };
    let (request, requests) = mpsc::channel(REQUESTS);
    let (streams, stream_ends) = streams::queues(shards, limits);
    let (publish, publishes) = publishing();
    let (presence, presence_ends) = presence::queues(shards, limits);
    let (news_sender, news_ring) = ring(limits);
    let (news_event, news_events) = mpsc::unbounded_channel();
    let news = NewsEnd {
        id: shards,
        ring: news_ring,
        subscription_events: news_events,
        requests: request.clone(),
    };
    let mut upstream = UpstreamEnd {
        streams,
        publishes,
        presence,
        news,
        rings: Vec::new(),
        subscription_events: Vec::new(),
        revocations: Vec::new(),
        requests,
    };
    let ends = (0..)
        .zip(stream_ends)
        .zip(presence_ends)
        .map(|((id, streams), presence)| {
            let (sender, ring) = ring(limits);
            let (subscription_event, subscription_events) = mpsc::unbounded_channel();
            let (revoke, revocations) = mpsc::unbounded_channel();
            upstream.rings.push(sender);
            upstream.revocations.push(revoke);
            upstream.subscription_events.push(subscription_event);
            ShardEnd {
                id,
                ring,
                subscription_events,
                revocations,
                requests: request.clone(),
                streams,
                publish: publish.clone(),
                presence,
            }
        })
        .collect();
    upstream.rings.push(news_sender);
    upstream.subscription_events.push(news_event);
    (upstream, ends)
}
