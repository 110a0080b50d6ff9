//! What crosses between upstream and the shards. Neither knows the other; both speak these types.
//!
//! Three queues a shard: its *ring* (messages and gaps, in Redis's order, never waited for: a shard
//! that falls behind loses the oldest and is told how many), its *verdicts* (answers to what it
//! asked for, never lost), and the one queue of *demands* that all shards share.

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
pub struct Demand {
    pub shard: ShardId,
    /// Counts a shard's demands from 1. Upstream says with every verdict how far it has read.
    pub sequence: u64,
    /// In this order.
    pub changes: Vec<Change>,
}

/// A shard's first session of a channel came, or its last one left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Join(ChannelName),
    Leave(ChannelName),
}

/// What upstream tells one shard.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// The last demand of this shard that these verdicts know of. A verdict on a channel that was
    /// left and joined again since then speaks of the past and must be passed over.
    pub read_up_to: u64,
    pub verdicts: Vec<Verdict>,
}

/// Upstream's word on one channel, or on the whole link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Redis has confirmed the subscription: every message from here on reaches the ring.
    Held(ChannelName),
    /// Redis refuses this channel, or the link is down and nothing can be confirmed now. The
    /// channel stays wanted until the shard says `Leave`.
    Refused(ChannelName, RefusedBy),
    /// The link is lost: no channel is held any more. Each comes back as `Held`, after its gap.
    LinkLost,
}

/// Why a channel cannot be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
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
    pub verdicts: Vec<mpsc::UnboundedSender<Verdicts>>,
    pub demands: mpsc::Receiver<Demand>,
}

/// One shard's ends of the queues.
#[derive(Debug)]
pub struct ShardEnd {
    pub id: ShardId,
    pub ring: broadcast::Receiver<Event>,
    pub verdicts: mpsc::UnboundedReceiver<Verdicts>,
    pub demands: mpsc::Sender<Demand>,
}

/// Events that a shard may fall behind before the oldest are overwritten.
const RING_EVENTS: usize = 16_384;

/// Demands waiting for upstream; a shard has at most one under way, so this is never the brake.
const DEMANDS: usize = MAX_SHARDS;

/// Makes the queues between upstream and `shards` shards.
///
/// # Panics
/// When `shards` is 0 or more than [`MAX_SHARDS`].
#[must_use]
pub fn queues(shards: usize) -> (UpstreamEnd, Vec<ShardEnd>) {
    assert!((1..=MAX_SHARDS).contains(&shards), "{shards} shards");
    let (demand, demands) = mpsc::channel(DEMANDS);
    let mut upstream = UpstreamEnd { rings: Vec::new(), verdicts: Vec::new(), demands };
    let ends = (0..shards)
        .map(|id| {
            let (ring, events) = broadcast::channel(RING_EVENTS);
            let (verdict, verdicts) = mpsc::unbounded_channel();
            upstream.rings.push(ring);
            upstream.verdicts.push(verdict);
            ShardEnd { id, ring: events, verdicts, demands: demand.clone() }
        })
        .collect();
    (upstream, ends)
}
