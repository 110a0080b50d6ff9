//! Messages from before sessions, which are read when those open: queues may hold only so much of them.
//!
//! Half of the shard's part of the memory, and no more than what live messages leave of all of it. Room is
//! reserved before anything is read, and each message that is read takes its memory out of that: replays
//! never hold more than was free, so that nobody is closed for them.

use super::{QueueMemory, Queued};
use crate::{message::Message, wire::Codec};
use hashbrown::HashMap;
use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    rc::{Rc, Weak},
    sync::Arc,
};
use tokio::sync::{Mutex, Notify};

/// What a message of a replay takes beside itself and its frames: what counts it, and where it is found.
pub(in crate::shard) const REPLAYED: usize = size_of::<Queued>() + 64;

/// … and in each queue: its place, twice, since a queue that grows doubles its places.
pub(in crate::shard) const PLACE: usize = 32;

/// Messages from before the sessions that wait for them.
#[derive(Default)]
pub(super) struct Replays {
    /// Bytes that they hold.
    held: Cell<usize>,
    /// Bytes that replays which are being read may still take.
    reserved: Cell<usize>,
    /// Told when queues let go of something, if somebody may wait for it.
    freed: Notify,
    is_awaited: Cell<bool>,
    /// Whose turn it is to wait for that.
    turn: Mutex<()>,
    /// By the message's address, which is its own for as long as somebody waits for it.
    shared: RefCell<HashMap<usize, Weak<Queued>, foldhash::fast::RandomState>>,
}

impl Replays {
    /// Counts what has grown from one number of bytes to another, or shrunk.
    pub(super) fn resize(&self, before: usize, now: usize) {
        self.held.set(self.held.get() + now - before);
    }

    /// Queues have let go of something.
    pub(super) fn let_go(&self) {
        if self.is_awaited.get() {
            self.freed.notify_one();
        }
    }
}

impl QueueMemory {
    /// The most that replays may hold.
    fn replay_limit(&self) -> usize {
        self.limit / 2
    }

    /// Waits, behind those who came before, until a replay of this many bytes has room. One that may be
    /// larger than all room there is waits for all of it.
    pub(in crate::shard) async fn room_for_replay(self: &Rc<Self>, bytes: usize) -> ReplayRoom {
        let bytes = bytes.min(self.replay_limit());
        let _turn = self.replays.turn.lock().await;
        while !self.has_room(bytes) {
            self.replays.is_awaited.set(true);
            self.replays.freed.notified().await;
        }
        self.replays.is_awaited.set(false);
        let reserved = &self.replays.reserved;
        reserved.set(reserved.get() + bytes);
        ReplayRoom::new(self, bytes)
    }

    /// For a session that begins with nothing.
    pub(in crate::shard) fn no_room(self: &Rc<Self>) -> ReplayRoom {
        ReplayRoom::new(self, 0)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let more = self.replays.reserved.get() + bytes;
        self.replays.held.get() + more <= self.replay_limit()
            && self.held() + more as u64 <= self.limit as u64
    }

    /// A message from before a session, which shares it with all others that wait for it.
    fn shared(self: &Rc<Self>, message: &Arc<Message>) -> Rc<Queued> {
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

/// Room that is reserved for a replay while it is read. Dropped when the session has it all.
pub(in crate::shard) struct ReplayRoom {
    memory: Rc<QueueMemory>,
    /// Bytes of it that nothing has taken.
    left: Cell<usize>,
    /// Bytes that were taken in all, also of what was let go of again.
    taken: Cell<usize>,
}

/// Why nothing more can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) enum NoRoom {
    /// Others have it.
    Now,
    /// It is more than there ever is.
    Ever,
}

impl ReplayRoom {
    fn new(memory: &Rc<QueueMemory>, bytes: usize) -> Self {
        Self { memory: Rc::clone(memory), left: Cell::new(bytes), taken: Cell::new(0) }
    }

    /// Takes a message, encoded for its session.
    pub(in crate::shard) fn take(&self, message: &Arc<Message>, codec: Codec) -> ReplayedMessage {
        let replays = &self.memory.replays;
        let before = replays.held.get();
        let queued = self.memory.shared(message);
        let _encoded = codec.message(&queued);
        queued.count();
        let replayed = ReplayedMessage::new(queued);
        self.give_back(self.left.get().min(replays.held.get() - before));
        self.taken.set(self.taken.get() + replayed.memory());
        replayed
    }

    /// Checks that what was taken is what was reserved, or what others leave.
    ///
    /// # Errors
    /// Why it is too much.
    pub(in crate::shard) fn check(&self) -> Result<(), NoRoom> {
        match self.left.get() {
            0 if self.memory.has_room(0) => Ok(()),
            0 if self.taken.get() > self.limit() => Err(NoRoom::Ever),
            0 => Err(NoRoom::Now),
            _ => Ok(()),
        }
    }

    /// The most that replays may ever hold.
    pub(in crate::shard) fn limit(&self) -> usize {
        self.memory.replay_limit()
    }

    /// Gives back so much of what was reserved.
    fn give_back(&self, bytes: usize) {
        self.left.set(self.left.get() - bytes);
        let reserved = &self.memory.replays.reserved;
        reserved.set(reserved.get() - bytes);
    }
}

impl Drop for ReplayRoom {
    fn drop(&mut self) {
        self.give_back(self.left.get());
        self.memory.replays.let_go();
    }
}

/// A message of one session's replay.
#[derive(Debug)]
pub(in crate::shard) struct ReplayedMessage(Rc<Queued>);

impl ReplayedMessage {
    fn new(queued: Rc<Queued>) -> Self {
        queued.memory.replays.resize(0, PLACE);
        Self(queued)
    }

    /// The memory that it takes where nobody shares it.
    pub(in crate::shard) fn memory(&self) -> usize {
        self.0.counted.get() + PLACE
    }
}

impl Deref for ReplayedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0
    }
}

impl Drop for ReplayedMessage {
    fn drop(&mut self) {
        let replays = &self.0.memory.replays;
        replays.resize(PLACE, 0);
        replays.let_go();
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

    fn room(memory: &Rc<QueueMemory>, bytes: usize) -> Option<ReplayRoom> {
        memory.room_for_replay(bytes).now_or_never()
    }

    #[test]
    fn a_replay_waits_while_others_hold_half_of_the_part() {
        let memory = memory(2_000);
        let first = room(&memory, 600).expect("there is room");
        let mut second = Box::pin(memory.room_for_replay(600));
        let mut third = Box::pin(memory.room_for_replay(100));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none(), "it overtook another");
        drop(first);
        let second = second.now_or_never().expect("the first has gone");
        let third = third.now_or_never().expect("both fit");
        assert!(room(&memory, 5_000).is_none(), "what may never fit waits for all the room");
        drop((second, third));
        assert!(room(&memory, 5_000).is_some());
    }

    #[test]
    fn what_a_session_still_waits_for_holds_room() {
        let memory = memory(4_000);
        let held = memory.no_room().take(&message("orders", &"x".repeat(2_000)), Codec::WsRaw);
        let mut waiting = Box::pin(memory.room_for_replay(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waiting.now_or_never().is_some());
        assert_eq!(memory.replays.held.get(), 0);
    }

    #[test]
    fn a_replay_waits_while_live_messages_leave_no_room() {
        let memory = memory(4_000);
        let live = Queued::new(message("orders", &"x".repeat(3_500)), Rc::clone(&memory));
        let mut waiting = Box::pin(memory.room_for_replay(1_000));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(live);
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn what_is_read_takes_its_memory_out_of_what_was_reserved() {
        let memory = memory(100_000);
        let mine = room(&memory, 5_000).unwrap();
        let used = || memory.replays.held.get() + memory.replays.reserved.get();
        let small = message("orders", "");
        let messages = [mine.take(&small, Codec::WsJson), mine.take(&small, Codec::WsJson)];
        assert_eq!(used(), 5_000);
        let expected = small.memory() + REPLAYED + 2 * PLACE;
        assert_eq!(memory.replays.held.get(), expected, "the frames, and each queue's place");
        let large = mine.take(&message("orders", &"x".repeat(10_000)), Codec::WsJson);
        assert!(used() > 20_000, "more than was reserved");
        assert_eq!(mine.check(), Ok(()), "there is more room");
        let others = room(&memory, 50_000 - used()).unwrap();
        let last = mine.take(&message("orders", ""), Codec::WsJson);
        assert_eq!(mine.check(), Err(NoRoom::Now));
        drop(others);
        assert_eq!(mine.check(), Ok(()));
        let never = mine.take(&message("orders", &"x".repeat(35_000)), Codec::WsRaw);
        assert_eq!(mine.check(), Err(NoRoom::Ever));
        drop((messages, large, last, never, mine));
        assert_eq!(used(), 0);
    }

    #[test]
    fn a_message_of_many_replays_is_counted_once() {
        let memory = memory(1 << 20);
        let (room, shared) = (memory.no_room(), message("orders", &"x".repeat(1_000)));
        let replayed = [room.take(&shared, Codec::WsRaw), room.take(&shared, Codec::WsRaw)];
        assert_eq!(memory.held(), (shared.memory() + REPLAYED) as u64);
        drop(replayed);
        assert_eq!(memory.held(), 0);
        for _ in 0..1_000 {
            room.take(&message("orders", ""), Codec::WsRaw);
        }
        assert!(memory.replays.shared.borrow().len() < 10, "what is gone is forgotten");
    }
}
