//! What crosses between upstream and the shards. Neither knows the other; both speak these types.
//!
//! Three queues a shard: its *ring* (messages and gaps, in Redis's order, never waited for: a shard
//! that falls behind loses the oldest and is told how many), its *subscription events* (answers to what it
//! asked for, never lost), and the one queue of *requests* that all shards share.

use crate::{channel::ChannelName, message::Message, reason::GapReason};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc};

/// Number of a shard, from 0. At most [`MAX_SHARDS`], so that a set of shards is one `u64`.
pub type ShardId = usize;

/// How many shards one process can have.
pub const MAX_SHARDS: usize = 64;

/// What goes through a shard's ring.
#[derive(Debug, Clone)]
pub enum Event {
    Message(Arc<Message>),
    /// Messages of this channel may have been missed just here.
    Gap(ChannelName, GapReason),
    /// Messages of any channel may have been missed just here.
    GapAll(GapReason),
    /// A message of `redis.control_channel`: its payload, not yet parsed.
    Control(Arc<Message>),
}

/// What shards ask of upstream.
#[derive(Debug)]
pub struct RequestBatch {
    pub shard: ShardId,
    /// Counts a shard's requests from 1. Upstream says with every event how far it has read.
    pub sequence: u64,
    /// In this order.
    pub requests: Vec<Request>,
}

/// A shard's first session of a channel came, or its last one left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Subscribe(ChannelName),
    Unsubscribe(ChannelName),
}

/// What upstream tells one shard.
#[derive(Debug, Clone)]
pub struct SubscriptionEvents {
    /// The last request of this shard that these events know of. A event on a channel that was
    /// left and joined again since then speaks of the past and must be ignored.
    pub read_up_to: u64,
    pub events: Vec<SubscriptionEvent>,
}

/// Upstream's word on one channel, or on the whole link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionEvent {
    /// Redis has confirmed the subscription: every message from here on reaches the ring.
    Confirmed(ChannelName),
    /// Redis refuses this channel, or the link is down and nothing can be confirmed now. The
    /// channel stays wanted until the shard says `Unsubscribe`.
    Rejected(ChannelName, RejectedBy),
    /// The link is lost: no channel is held any more. Each comes back as `Confirmed`, after its gap.
    LinkLost,
}

/// Why a channel cannot be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedBy {
    /// Redis answered this channel with an error, NOPERM for example.
    Redis,
    /// There is no link to ask.
    LinkDown,
}

/// Upstream's ends of the queues.
#[derive(Debug)]
pub struct UpstreamEnd {
    /// One ring a shard, by shard number.
    pub rings: Vec<broadcast::Sender<Event>>,
    /// One queue a shard. Its length is bounded by the channels that the shard wants.
    pub subscription_events: Vec<mpsc::UnboundedSender<SubscriptionEvents>>,
    pub requests: mpsc::Receiver<RequestBatch>,
}

/// One shard's ends of the queues.
#[derive(Debug)]
pub struct ShardEnd {
    pub id: ShardId,
    pub ring: broadcast::Receiver<Event>,
    pub subscription_events: mpsc::UnboundedReceiver<SubscriptionEvents>,
    pub requests: mpsc::Sender<RequestBatch>,
}

/// Events that a shard may fall behind before the oldest are overwritten.
const RING_EVENTS: usize = 16_384;

/// Batches waiting for upstream; a shard has at most one under way, so this is never the brake.
const REQUESTS: usize = MAX_SHARDS;

/// Makes the queues between upstream and `shards` shards.
///
/// # Panics
/// When `shards` is 0 or more than [`MAX_SHARDS`].
#[must_use]
pub fn queues(shards: usize) -> (UpstreamEnd, Vec<ShardEnd>) {
    assert!((1..=MAX_SHARDS).contains(&shards), "{shards} shards");
    let (request, requests) = mpsc::channel(REQUESTS);
    let mut upstream = UpstreamEnd { rings: Vec::new(), subscription_events: Vec::new(), requests };
    let ends = (0..shards)
        .map(|id| {
            let (ring, events) = broadcast::channel(RING_EVENTS);
            let (subscription_event, subscription_events) = mpsc::unbounded_channel();
            upstream.rings.push(ring);
            upstream.subscription_events.push(subscription_event);
            ShardEnd { id, ring: events, subscription_events, requests: request.clone() }
        })
        .collect();
    (upstream, ends)
}
