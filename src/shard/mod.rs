//! A shard: one thread that owns sessions.
//!
//! Everything of a session happens here: its handshake, reading, fan-out, writing, closing. Shards
//! share nothing; they are told things by [`Command`]s and by their ring, and ask upstream for
//! channels. There is no lock on the path of a message.

#[cfg(test)]
mod client_tests;
mod control;
mod core;
#[cfg(test)]
mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hub;
mod inbound;
mod inline_deque;
mod queue;
mod reload;
mod session;
mod subscription;
mod task;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(test)]
mod tls_tests;
mod wheel;

pub use subscription::{PendingSession, SessionSpec, Subscription};
pub use thread::{ShardDied, ShardThread};

use self::core::Core;
use crate::{channel::ChannelName, config::Config, metrics::ShardMetrics};
use futures_util::FutureExt as _;
use std::{fmt, rc::Rc, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Work that another thread hands to a shard: it runs there, and may [`Shard::spawn`].
pub type Job = Box<dyn FnOnce(&Shard) + Send>;

/// What other threads may tell a shard.
pub enum Command {
    /// Run this here.
    Run(Job),
    /// Close every session with 1012, each at a random moment within `spread`, and every session
    /// that opens later at once. Each session's queue is flushed first.
    Drain { spread: Duration },
    /// Go on with this configuration, and close the sessions that it concerns.
    Reload(Arc<Config>),
    /// Say which channels have the most sessions here.
    Busiest { prefix: String, limit: usize, reply: oneshot::Sender<Vec<Busy>> },
}

/// A channel and how many sessions of one shard have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub channel: ChannelName,
    pub sessions: usize,
}

/// The outside's end of a shard: for `server`, `admin` and `app`. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {
    /// Bounded by what is told: one job a connection, which admission bounds, and a few commands.
    commands: mpsc::UnboundedSender<Command>,
}

impl ShardHandle {
    /// Tells the shard something. A shard that has ended takes nothing any more; its end is
    /// noticed by whoever awaits [`ShardThread::ended`].
    pub fn tell(&self, command: Command) {
        drop(self.commands.send(command));
    }
}

/// The inside's end of a shard, only ever seen on its own thread. Cheap to clone.
#[derive(Clone)]
pub struct Shard {
    core: Rc<Core>,
}

impl Shard {
    /// This shard's counters.
    #[must_use]
    pub fn metrics(&self) -> &ShardMetrics {
        &self.core.metrics
    }

    /// Spawns a task on this shard. A panic in it is logged and ends nothing else.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let alive = Alive::count(Rc::clone(&self.core));
        // Not an `async` block: that would keep room for the task twice, as captured and as awaited.
        tokio::task::spawn_local(task.map(move |()| drop(alive)));
    }
}

/// Counts a spawned task for as long as it lives.
struct Alive(Rc<Core>);

impl Alive {
    fn count(core: Rc<Core>) -> Self {
        core.tasks.set(core.tasks.get() + 1);
        Self(core)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
        self.0.left.notify_one();
    }
}

/// A session's name: random, so that it says nothing and cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    fn random() -> Self {
        Self(fastrand::u64(..))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
