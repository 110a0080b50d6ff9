//! A shard: one thread that owns sessions.
//!
//! Everything of a session happens here: its handshake, reading, fan-out, writing, closing. Shards
//! share nothing; they are told things by [`Command`]s and by their ring, and ask upstream for
//! channels. There is no lock on the path of a message.

mod transport;

pub use transport::Transport;

use crate::{
    auth::Auth,
    channel::ChannelName,
    endpoint::Endpoint,
    exchange::ShardEnd,
    identity::Identity,
    metrics::ShardMetrics,
    reason::Refusal,
};
use bytes::Bytes;
use std::{any::Any, fmt, future::Future, io, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Work that another thread hands to a shard: it runs there, and may [`Shard::spawn`].
pub type Job = Box<dyn FnOnce(&Shard) + Send>;

/// What other threads may tell a shard.
pub enum Command {
    /// Run this here.
    Run(Job),
    /// Close every session with 1012, each at a random moment within `spread`, and every session
    /// that opens later at once. Each session's queue is flushed first.
    Drain { spread: Duration },
    /// Say which channels have the most sessions here.
    Busiest { prefix: String, limit: usize, reply: oneshot::Sender<Vec<Busy>> },
}

/// A channel and how many sessions of one shard have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub channel: ChannelName,
    pub sessions: usize,
}

/// The outside's end of a shard: for `front`, `admin` and `app`. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle;

impl ShardHandle {
    /// Tells the shard something. A shard that has ended takes nothing any more; its end is
    /// noticed by whoever awaits [`ShardThread::ended`].
    pub fn tell(&self, command: Command) {
        drop(command);
        unimplemented!()
    }
}

/// A running shard, for the one who started it.
pub struct ShardThread;

impl ShardThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(end: ShardEnd, metrics: Arc<ShardMetrics>) -> io::Result<Self> {
        let _ = (end, metrics);
        unimplemented!()
    }

    pub fn handle(&self) -> ShardHandle {
        unimplemented!()
    }

    /// Resolves when no session and no spawned task is left after a [`Command::Drain`].
    /// Resolves with an error when the thread ended by itself: the process must then end too.
    ///
    /// # Errors
    /// [`ShardDied`].
    pub async fn ended(&mut self) -> Result<(), ShardDied> {
        unimplemented!()
    }
}

/// A shard's thread ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("shard {0} died")]
pub struct ShardDied(pub usize);

/// The inside's end of a shard, only ever seen on its own thread. Cheap to clone.
#[derive(Clone)]
pub struct Shard;

impl Shard {
    /// This shard's counters.
    #[must_use]
    pub fn metrics(&self) -> &ShardMetrics {
        unimplemented!()
    }

    /// Spawns a task on this shard. A panic in it is logged and ends nothing else.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(task);
        unimplemented!()
    }

    /// Joins channels and waits until Redis has confirmed every one. Dropping the future, or the
    /// seat, leaves them again.
    ///
    /// # Errors
    /// [`Refusal::RedisUnavailable`] at once when there is no link, [`Refusal::ChannelRefused`]
    /// when Redis refuses one of them. It never times out by itself.
    pub async fn join(&self, channels: Vec<ChannelName>) -> Result<Seat, Refusal> {
        drop(channels);
        unimplemented!()
    }
}

/// A place in channels that are all held, not yet taken by a session.
#[derive(Debug)]
pub struct Seat;

/// What a session is made of, besides its seat and its transport.
pub struct Opening {
    pub endpoint: Arc<Endpoint>,
    /// `None` on an endpoint with `auth = "none"`.
    pub identity: Option<Identity>,
    /// Verifies the token of a `refresh` frame.
    pub auth: Arc<Auth>,
    /// Dropped when the session has ended: gives back what admission counted.
    pub permit: Box<dyn Any>,
}

impl Seat {
    /// Starts to queue the channels' messages for a session. Call it before the 101 leaves: in the
    /// other order a message published between the two would be lost although the client already
    /// believes that it is listening.
    pub fn open(self, opening: Opening) -> Opened {
        let _ = opening;
        unimplemented!()
    }
}

/// A session whose 101 is on its way. Dropping it instead of [`Opened::start`] ends the session as
/// `peer_gone`.
#[derive(Debug)]
pub struct Opened;

impl Opened {
    /// The session's name in logs and in the `ready` frame.
    #[must_use]
    pub fn id(&self) -> SessionId {
        unimplemented!()
    }

    /// Runs the session over its transport. `early` is what the client sent behind its request.
    pub fn start(self, transport: Transport, early: Bytes) {
        let _ = (transport, early);
        unimplemented!()
    }
}

/// A session's name: random, so that it says nothing and cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
