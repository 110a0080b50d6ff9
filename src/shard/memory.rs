//! Memory of all queues of a shard together: what waits in them, a message that many sessions wait for
//! counted once.
//!
//! A message is counted when fan-out takes it and let go of with the last queue that holds it, so that
//! one which is written at once costs no more than two additions. Only ever on the shard's thread.

mod replays;

pub(super) use replays::{NoRoom, PLACE, REPLAYED, ReplayRoom, ReplayedMessage};

use crate::{message::Message, metrics::ShardMetrics};
use replays::Replays;
use std::{cell::Cell, ops::Deref, rc::Rc, sync::Arc};

/// See the module.
pub(super) struct QueueMemory {
    /// Its `queued_bytes` is the memory held now.
    metrics: Arc<ShardMetrics>,
    /// The shard's part of `server.max_queue_memory`, in bytes.
    limit: usize,
    replays: Replays,
}

impl QueueMemory {
    pub(super) fn new(metrics: Arc<ShardMetrics>, limit: usize) -> Self {
        Self { metrics, limit, replays: Replays::default() }
    }

    /// Counts what has grown from one number of bytes to another, or shrunk.
    pub(super) fn resize(&self, before: usize, now: usize) {
        self.metrics.queued_bytes.resize(before, now);
        if now < before {
            self.replays.let_go();
        }
    }

    /// Whether the queues hold more than the shard's part.
    pub(super) fn is_exceeded(&self) -> bool {
        self.held() > self.limit as u64
    }

    fn held(&self) -> u64 {
        self.metrics.queued_bytes.load()
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
        let beside = if self.is_of_replay { REPLAYED } else { 0 };
        let now = self.message.memory() + beside;
        if now != self.counted.get() {
            self.resize(now);
        }
    }

    fn resize(&self, now: usize) {
        let before = self.counted.replace(now);
        if self.is_of_replay {
            self.memory.replays.resize(before, now);
        }
        self.memory.resize(before, now);
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
    }
}
