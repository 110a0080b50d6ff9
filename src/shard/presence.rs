//! Which sessions of the shard are in which room, and which of those have not been told who is there.
//!
//! A room is named by its channel. It knows sessions only by their keys; what upstream says goes to them
//! through the registry. Only ever on the shard's thread.

use super::members::Members;
use crate::{
    bus::{PresenceRequest, PresenceRules, ShardId},
    channel::ChannelName,
};
use hashbrown::{HashMap, HashSet};
use std::{
    cell::{OnceCell, RefCell},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long the end of a drain waits until Redis has been told who left.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// All rooms of a shard. Stays empty where no endpoint has presence.
#[derive(Default)]
pub(super) struct Presence {
    pub(super) rooms: RefCell<HashMap<ChannelName, Box<Room>, foldhash::fast::RandomState>>,
    requests: OnceCell<mpsc::UnboundedSender<PresenceRequest>>,
}

/// One room. Small on purpose: there may be one for two sessions.
pub(super) struct Room {
    pub(super) members: Members,
    /// Members that have not been sent a roster yet.
    waiting: Option<Box<Waiting>>,
}

type Waiting = HashSet<u32, foldhash::fast::RandomState>;

impl Room {
    pub(super) fn is_waiting(&self, key: u32) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.contains(&key))
    }

    /// All are sent a roster, but those of the waiting for whom this holds.
    pub(super) fn keep_waiting(&mut self, is_left_out: impl Fn(u32) -> bool) {
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|&key| is_left_out(key));
            self.waiting.take_if(|waiting| waiting.is_empty());
        }
    }

    fn stop_waiting(&mut self, key: u32) {
        if let Some(waiting) = &mut self.waiting {
            waiting.remove(&key);
            self.waiting.take_if(|waiting| waiting.is_empty());
        }
    }

    /// Takes those of the waiting for whom this holds; they do not wait any more.
    pub(super) fn take_waiting(&mut self, is_meant: impl Fn(u32) -> bool) -> Vec<u32> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let taken = waiting.extract_if(|&key| is_meant(key)).collect();
        self.waiting.take_if(|waiting| waiting.is_empty());
        taken
    }
}

impl Presence {
    /// Sets where the shard's requests go.
    pub(super) fn connect(&self, requests: mpsc::UnboundedSender<PresenceRequest>) {
        let first = self.requests.set(requests);
        debug_assert!(first.is_ok(), "a shard asks one upstream");
    }

    /// A session of this user is in the room from now on.
    pub(super) fn enter(
        &self,
        (shard, key): (ShardId, u32),
        room: &ChannelName,
        user: &Arc<str>,
        rules: &Arc<PresenceRules>,
    ) {
        let mut rooms = self.rooms.borrow_mut();
        let entry = rooms
            .entry(room.clone())
            .or_insert_with(|| Box::new(Room { members: Members::NONE, waiting: None }));
        entry.members.insert(key);
        entry.waiting.get_or_insert_default().insert(key);
        let (room, user, rules) = (room.clone(), Arc::clone(user), Arc::clone(rules));
        self.ask(PresenceRequest::Enter { shard, room, user, rules });
    }

    /// The session is no longer in the room; does nothing when it was not.
    pub(super) fn leave(&self, key: u32, room: &ChannelName, user: &Arc<str>) {
        let mut rooms = self.rooms.borrow_mut();
        let Some(entry) = rooms.get_mut(room) else { return };
        let before = entry.members.len();
        entry.members.remove(key);
        if entry.members.len() == before {
            return;
        }
        entry.stop_waiting(key);
        if entry.members.len() == 0 {
            rooms.remove(room);
            if rooms.len() < rooms.capacity() / 4 {
                let few = 2 * rooms.len();
                rooms.shrink_to(few);
            }
        }
        self.ask(PresenceRequest::Leave { room: room.clone(), user: Arc::clone(user) });
    }

    /// What upstream said was lost: it is asked for every room.
    pub(super) fn ask_again(&self, shard: ShardId) {
        for (room, entry) in self.rooms.borrow_mut().iter_mut() {
            let all = entry.members.keys();
            entry.waiting.get_or_insert_default().extend(all);
            self.ask(PresenceRequest::Again { shard, room: room.clone() });
        }
    }

    /// Waits until Redis knows who has left, but not for ever.
    pub(super) async fn settle(&self) {
        let (settled, wait) = oneshot::channel();
        self.ask(PresenceRequest::Settle(settled));
        if timeout(SETTLES_WITHIN, wait).await.is_err() {
            tracing::warn!(
                "Redis was not told in time who has left: they leave when their ttl is over"
            );
        }
    }

    fn ask(&self, request: PresenceRequest) {
        if let Some(requests) = self.requests.get() {
            // An error means that the Redis side has ended; then the shard ends, too.
            let _ = requests.send(request);
        }
    }
}
