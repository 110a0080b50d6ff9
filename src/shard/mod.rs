//! A shard: one thread that owns sessions.
//!
//! Everything of a session happens here: its handshake, reading, fan-out, writing, closing. Shards
//! share nothing; they are told things by [`ShardCommand`]s and by their ring, and ask upstream for
//! channels. There is no lock on the path of a message.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `wheel` `members` `newcomers` `revocations` `inbound` `memory` `publish_rates` `floods`: deadlines; who
//!    is in a channel; who came a moment ago; who was sent away a moment ago; a client's frames; what all
//!    queues hold; how much a user may publish; who has sent too much
//! 1. `context` `reload` `hub` `presence`: what sessions share; which of them a new configuration closes;
//!    channels; who is shown in which room
//! 2. `session` `added`: one session, its queue and its deadlines; what sessions have added
//! 3. `holding`: what comes of a stream for a session that is still given what came before
//! 4. `streams`: how far the shard has come in streams
//! 5. `registry`: all sessions of the shard
//! 6. `refresh` `publishing` `busiest` `events` `catch_up`: a client's newer tokens; what it publishes; the channels with the most sessions;
//!    what comes through the rings; what a session is given from before it
//! 7. `adding`: subscribe and unsubscribe within a session
//! 8. `task`: what waits for a session's socket
//! 9. `subscription`: from channels to a running session
//! 10. `mod`: what other threads and other tasks hold of a shard
//! 11. `thread`: its thread and its own tasks
//! 12. `fuzz`: a fuzz target; only in tests and under a fuzzer

mod added;
mod adding;
mod busiest;
mod catch_up;
mod context;
mod events;
mod floods;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod holding;
mod hub;
mod inbound;
mod members;
mod memory;
mod newcomers;
mod presence;
#[cfg(test)]
mod progress_tests;
mod publish_rates;
mod publishing;
mod refresh;
mod registry;
mod reload;
mod revocations;
#[cfg(test)]
mod rig;
mod session;
#[cfg(test)]
mod stream_rig;
mod streams;
mod subscription;
mod task;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(test)]
mod tls_tests;
mod wheel;

pub use busiest::Busy;
pub use catch_up::{Resume, Since};
pub use floods::Floods;
pub use publish_rates::{PublishRates, PublishSpec};
pub use session::{SessionName, SessionSpec};
pub use subscription::{PendingSession, Subscription};
pub use thread::{ShardDied, ShardOutcome, ShardThread};

use crate::{
    bus::PublishHandle,
    config::Config,
    endpoint::Topics,
    metrics::ShardMetrics,
    reason::{CloseReason, Refusal},
};
use futures_util::FutureExt as _;
use registry::Registry;
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Work that another thread hands to a shard: it runs there, and may [`Shard::spawn`].
pub type Job = Box<dyn FnOnce(&Shard) + Send>;

/// What other threads may tell a shard.
pub enum ShardCommand {
    /// Run this here.
    Run(Job),
    /// Close every session with 1012, each at a random moment within `spread`, and every session
    /// that opens later at once. Each session's queue is flushed first.
    Drain { spread: Duration },
    /// Go on with this configuration, and close the sessions that it concerns.
    Reload(Arc<Config>),
    /// Close this session, if it is still there.
    Close { session: SessionName, reason: CloseReason },
    /// Say which channels have the most sessions here.
    Busiest { prefix: String, limit: usize, reply: oneshot::Sender<Vec<Busy>> },
}

/// What other threads hold of a shard: `server`, `admin` and `app`. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {
    /// Bounded by what is told: one job a connection, which admission bounds, and a few commands.
    commands: mpsc::UnboundedSender<ShardCommand>,
}

impl ShardHandle {
    /// A handle and the queue that it fills, for who plays the shard in a test.
    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, mpsc::UnboundedReceiver<ShardCommand>) {
        let (commands, inbox) = mpsc::unbounded_channel();
        (Self { commands }, inbox)
    }

    /// Tells the shard something. A shard that has ended takes nothing any more; its end is noticed
    /// by the task that awaits [`ShardThread::ended`].
    pub fn tell(&self, command: ShardCommand) {
        drop(self.commands.send(command));
    }
}

/// What other threads hold of a session: enough to close it.
pub struct SessionHandle {
    shard: ShardHandle,
    name: SessionName,
}

impl SessionHandle {
    /// A session of this name on the shard of this handle.
    #[must_use]
    pub fn new(shard: ShardHandle, name: SessionName) -> Self {
        Self { shard, name }
    }

    /// Has the session closed. One that has ended already takes no notice.
    pub fn close(self, reason: CloseReason) {
        self.shard.tell(ShardCommand::Close { session: self.name, reason });
    }
}

/// What tasks on a shard's own thread hold of it. Cheap to clone.
#[derive(Clone)]
pub struct Shard {
    registry: Rc<Registry>,
}

impl Shard {
    /// This shard's counters.
    #[must_use]
    pub fn metrics(&self) -> &ShardMetrics {
        &self.registry.context.metrics
    }

    /// Subscribes to topics and waits until Redis has confirmed every one. Dropping the future, or
    /// the subscription, gives them back. It never times out by itself.
    ///
    /// # Errors
    /// [`Refusal::RedisUnavailable`] at once when there is no link, [`Refusal::ChannelRefused`]
    /// when Redis refuses one of them, [`Refusal::StreamLimit`], [`Refusal::TrackingRefused`].
    pub async fn subscribe(&self, topics: Topics) -> Result<Subscription, Refusal> {
        Subscription::acquire(&self.registry, topics).await
    }

    /// What publishes to Redis.
    ///
    /// # Panics
    /// Before the shard's own tasks run.
    #[must_use]
    pub fn publisher(&self) -> &PublishHandle {
        self.registry.context.publish.get().expect("set before anything else runs here")
    }

    /// Spawns a task on this shard. A panic in it is logged and ends nothing else.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let alive = Alive::count(Rc::clone(&self.registry));
        // Not an `async` block: that would keep room for the task twice, as captured and as awaited.
        tokio::task::spawn_local(task.map(move |()| drop(alive)));
    }
}

/// Counts a spawned task for as long as it lives.
struct Alive(Rc<Registry>);

impl Alive {
    fn count(registry: Rc<Registry>) -> Self {
        registry.task_began();
        Self(registry)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}
