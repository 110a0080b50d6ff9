//! Memory of all queues of a shard together: what waits in them, a message that many sessions wait for
//! counted once.
//!
//! A message is counted when fan-out takes it and let go of with the last queue that holds it, so that
//! one which is written at once costs no more than two additions. Only ever on the shard's thread.
//!
//! Of messages from before a session, which are read when it opens, queues may hold only so much: half of
//! the shard's part. Whoever comes then waits.

use crate::{message::Message, metrics::ShardMetrics};
use hashbrown::HashMap;
use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    rc::{Rc, Weak},
    sync::Arc,
};
use tokio::sync::{Mutex, Notify};

/// See the module.
pub(super) struct QueueMemory {
    /// Its `queued_bytes` is the memory held now.
    metrics: Arc<ShardMetrics>,
    /// The shard's part of `server.max_queue_memory`, in bytes.
    limit: usize,
    replays: Replays,
}

/// Messages from before the sessions that wait for them.
#[derive(Default)]
struct Replays {
    /// Bytes that they hold.
    held: Cell<usize>,
    /// Bytes that those hold who still read theirs, at the most.
    reserved: Cell<usize>,
    /// Told when something is let go of.
    freed: Notify,
    /// Whose turn it is to wait for that.
    turn: Mutex<()>,
    /// By the message's address, which is its own for as long as somebody waits for it.
    shared: RefCell<HashMap<usize, Weak<Queued>, foldhash::fast::RandomState>>,
}

impl QueueMemory {
    pub(super) fn new(metrics: Arc<ShardMetrics>, limit: usize) -> Self {
        Self { metrics, limit, replays: Replays::default() }
    }

    /// Counts what has grown from one number of bytes to another, or shrunk.
    pub(super) fn resize(&self, before: usize, now: usize) {
        self.metrics.queued_bytes.resize(before, now);
    }

    /// Whether the queues hold more than the shard's part.
    pub(super) fn is_exceeded(&self) -> bool {
        self.metrics.queued_bytes.load() > self.limit as u64
    }

    /// Waits, behind those who came before, until a replay of this many bytes has room. One that is larger
    /// than all room there is has it alone.
    pub(super) async fn room_for_replay(self: &Rc<Self>, bytes: usize) -> ReplayRoom {
        let _turn = self.replays.turn.lock().await;
        while !self.has_room(bytes) {
            self.replays.freed.notified().await;
        }
        let reserved = &self.replays.reserved;
        reserved.set(reserved.get() + bytes);
        ReplayRoom { memory: Rc::clone(self), bytes }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let used = self.replays.held.get() + self.replays.reserved.get();
        used == 0 || used + bytes <= self.limit / 2
    }

    /// A message from before a session, which shares it with all others that wait for it.
    pub(super) fn replayed(self: &Rc<Self>, message: &Arc<Message>) -> Rc<Queued> {
        let mut shared = self.replays.shared.borrow_mut();
        let address = Arc::as_ptr(message) as usize;
        if let Some(queued) = shared.get(&address).and_then(Weak::upgrade) {
            return queued;
        }
        if shared.len() == shared.capacity() {
            shared.retain(|_, queued| queued.strong_count() > 0);
        }
        let queued = Rc::new(Queued::of_replay(Arc::clone(message), Rc::clone(self)));
        shared.insert(address, Rc::downgrade(&queued));
        queued
    }
}

/// Room that is reserved for a replay while it is read. Dropped when the session has it: then it is
/// counted as what it really holds.
pub(super) struct ReplayRoom {
    memory: Rc<QueueMemory>,
    bytes: usize,
}

impl Drop for ReplayRoom {
    fn drop(&mut self) {
        let replays = &self.memory.replays;
        replays.reserved.set(replays.reserved.get() - self.bytes);
        replays.freed.notify_one();
    }
}

/// A message on its way to sessions of this shard.
pub(super) struct Queued {
    message: Arc<Message>,
    memory: Rc<QueueMemory>,
    /// What is counted of it: an encoding may have been made since.
    counted: Cell<usize>,
    is_of_replay: bool,
}

impl Queued {
    pub(super) fn new(message: Arc<Message>, memory: Rc<QueueMemory>) -> Self {
        let queued = Self { message, memory, counted: Cell::new(0), is_of_replay: false };
        queued.count();
        queued
    }

    fn of_replay(message: Arc<Message>, memory: Rc<QueueMemory>) -> Self {
        let queued = Self { message, memory, counted: Cell::new(0), is_of_replay: true };
        queued.count();
        queued
    }

    /// Counts an encoding that was made since the last time.
    pub(super) fn count(&self) {
        let now = self.message.memory();
        if now != self.counted.get() {
            self.resize(now);
        }
    }

    fn resize(&self, now: usize) {
        let before = self.counted.replace(now);
        self.memory.resize(before, now);
        if self.is_of_replay {
            let replays = &self.memory.replays;
            replays.held.set(replays.held.get() + now - before);
        }
    }
}

impl Deref for Queued {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.resize(0);
        if self.is_of_replay {
            self.memory.replays.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, shard::rig::message};
    use futures_util::FutureExt as _;

    fn memory(limit: usize) -> Rc<QueueMemory> {
        Rc::new(QueueMemory::new(Metrics::new(1, &[]).shard(0), limit))
    }

    #[test]
    fn a_replay_waits_while_others_hold_half_of_the_part() {
        let memory = memory(2_000);
        let first = memory.room_for_replay(600).now_or_never().expect("there is room");
        let mut second = Box::pin(memory.room_for_replay(600));
        let mut third = Box::pin(memory.room_for_replay(100));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none(), "it overtook another");
        drop(first);
        let second = second.now_or_never().expect("the first has gone");
        let third = third.now_or_never().expect("both fit");
        drop((second, third));
        let large = memory.room_for_replay(5_000).now_or_never();
        assert!(large.is_some(), "what never fits has the room alone");
    }

    #[test]
    fn what_a_session_still_waits_for_holds_room() {
        let memory = memory(2_000);
        let held = memory.replayed(&message("orders", &"x".repeat(1_000)));
        let mut room = Box::pin(memory.room_for_replay(1));
        assert!(room.as_mut().now_or_never().is_none());
        drop(held);
        assert!(room.now_or_never().is_some());
        assert_eq!(memory.replays.held.get(), 0);
    }

    #[test]
    fn a_message_of_many_replays_is_counted_once() {
        let memory = memory(1 << 20);
        let shared = message("orders", &"x".repeat(1_000));
        let queued = [memory.replayed(&shared), memory.replayed(&shared)];
        assert_eq!(memory.metrics.queued_bytes.load(), shared.memory() as u64);
        drop(queued);
        assert_eq!(memory.metrics.queued_bytes.load(), 0);
        for _ in 0..1_000 {
            memory.replayed(&message("orders", ""));
        }
        assert!(memory.replays.shared.borrow().len() < 10, "what is gone is forgotten");
    }
}
