//! Presence: who is in which room. Shards say who enters and leaves; upstream tells each shard who is there
//! and what changes.

use super::{Beyond, RingEvent, RingLimits, RingReceiver, RingSender, ShardId, ring};
use crate::channel::ChannelName;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// How a room's presence is kept: `[endpoint.presence]` without its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceRules {
    /// How long a user stays in Redis without a refresh.
    pub ttl: Duration,
    /// How long after its last session a user leaves.
    pub leave_after: Duration,
    /// Users up to which a room has a list.
    pub roster: usize,
}

/// What a shard says or asks. A room is named by its channel.
#[derive(Debug)]
pub enum PresenceRequest {
    /// A session of this user is in the room now. It is answered by a [`PresenceEvent::Roster`].
    Enter { shard: ShardId, room: ChannelName, user: Arc<str>, rules: Arc<PresenceRules> },
    /// The session is no longer in the room. Once for each `Enter`.
    Leave { room: ChannelName, user: Arc<str> },
    /// The shard has missed events of this room; answered by a [`PresenceEvent::Roster`].
    Again { shard: ShardId, room: ChannelName },
    /// Answered when Redis knows of all who have left.
    Settle(oneshot::Sender<()>),
}

/// What upstream tells a shard, in order.
#[derive(Debug, Clone)]
pub enum PresenceEvent {
    /// For all of the room's sessions; or, with `users` (sorted), for those sessions of these that have had none.
    Roster { roster: Arc<Roster>, users: Option<Arc<[Arc<str>]>> },
    /// For all sessions that have had a roster, but those of the very user.
    Change(Arc<Change>),
}

/// Who is in a room.
#[derive(Debug, PartialEq, Eq)]
pub struct Roster {
    pub room: ChannelName,
    pub count: usize,
    /// Sorted; `None`: there are too many for a list.
    pub users: Option<Vec<Arc<str>>>,
}

/// One user more, or less.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub room: ChannelName,
    pub user: Arc<str>,
    pub is_join: bool,
}

/// About what a name takes in memory.
const NAME_BYTES: usize = 48;

impl RingEvent for PresenceEvent {
    fn bytes(&self) -> usize {
        let names = match self {
            Self::Roster { roster, users } => {
                let listed = roster.users.as_ref().map_or(0, Vec::len);
                listed + users.as_ref().map_or(0, |users| users.len())
            }
            Self::Change(_) => 1,
        };
        size_of::<Roster>() + names * NAME_BYTES
    }
}

/// Upstream's ends of the queues for presence.
#[derive(Debug)]
pub struct PresenceUpstreamEnd {
    /// One ring a shard, by shard number.
    pub rings: Vec<RingSender<PresenceEvent>>,
    /// Its length is bounded by the sessions that open and end while upstream does one thing, and by the rooms
    /// of a shard that has lost events.
    pub requests: mpsc::UnboundedReceiver<PresenceRequest>,
}

impl PresenceUpstreamEnd {
    /// Takes the ends; what is left in their place is closed.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let closed = Self { rings: Vec::new(), requests: mpsc::unbounded_channel().1 };
        std::mem::replace(self, closed)
    }
}

/// One shard's ends of the queues for presence.
#[derive(Debug)]
pub struct PresenceShardEnd {
    pub ring: RingReceiver<PresenceEvent>,
    pub requests: mpsc::UnboundedSender<PresenceRequest>,
}

/// Makes the queues for presence. A shard that falls too far behind is told so, and asks again.
pub(super) fn queues(
    shards: usize,
    limits: RingLimits,
) -> (PresenceUpstreamEnd, Vec<PresenceShardEnd>) {
    let (request, requests) = mpsc::unbounded_channel();
    let (rings, ends) = (0..shards)
        .map(|_| {
            let (sender, ring) = ring(RingLimits { beyond: Beyond::DropOldest, ..limits });
            (sender, PresenceShardEnd { ring, requests: request.clone() })
        })
        .unzip();
    (PresenceUpstreamEnd { rings, requests }, ends)
}
