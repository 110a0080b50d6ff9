//! The private port: metrics, health, status, the busiest channels, the console, and the way to ask
//! for a drain.
//!
//! It runs on a thread and a runtime of its own, so that it answers while every other thread is
//! busy. Promises: a bounded number of connections, each with bounded time, of which the newest is
//! always served; nothing here waits for a session or for Redis; a shard that does not answer is left
//! out of an answer, and said so. Never served on the public port, and never shows a token or a
//! password, but for the made-up token of `sockway dev`.

mod access;
mod channels;
mod console;
mod livez;
mod readiness;
mod response;
mod routes;
mod server;
mod status;
#[cfg(test)]
mod tests;

pub use channels::Turn;
pub use console::{Place, Playground, Post, Stage, Written};
pub use server::{Admin, MAX_CONNECTIONS};

use crate::{
    bus::PublishHandle, config::Config, liveness::Liveness, metrics::Metrics, phase::Phase,
    shard::ShardHandle, upstream::Status,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the private port shows, and what it may set off.
pub struct AdminContext {
    pub metrics: Arc<Metrics>,
    /// As it is now: a reload changes it.
    pub config: watch::Receiver<Arc<Config>>,
    pub shards: Vec<ShardHandle>,
    /// Whose turn it is to ask them for their busiest channels.
    pub turn: Turn,
    /// The last signs of life of shards, listener and Redis side.
    pub liveness: Liveness,
    pub upstream: watch::Receiver<Status>,
    /// What publishes for sessions and for HTTP callers.
    pub publisher: PublishHandle,
    pub phase: watch::Receiver<Phase>,
    /// A proof of the Redis link older than this proves nothing any more.
    pub proof_expires: Duration,
    pub started: Instant,
    /// Cancelled to ask for the stop sequence.
    pub drain: CancellationToken,
    /// The private port's own.
    pub address: SocketAddr,
    /// Only in `sockway dev`.
    pub playground: Option<Playground>,
}
