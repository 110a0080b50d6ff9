//! The private port: metrics, health, status, the busiest channels, the console, and the way to ask
//! for a drain.
//!
//! It runs on a thread and a runtime of its own, so that it answers while every other thread is
//! busy. Promises: a bounded number of connections, each with bounded time; nothing here waits for
//! a session or for Redis; a shard that does not answer is left out of an answer, and said so.
//! Never served on the public port, and never shows a token or a password, but for the
//! made-up token of `sockway dev`.

mod answer;
mod channels;
mod console;
mod readiness;
mod routes;
mod server;
mod status;
#[cfg(test)]
mod tests;

pub use console::{Place, Playground, Publish, Stage};
pub use server::{Admin, Running};

use crate::{
    config::Config, metrics::Metrics, phase::Phase, shard::ShardCommand, upstream::Status,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tells one shard something.
pub type Tell = Box<dyn Fn(ShardCommand) + Send + Sync>;

/// What the private port shows, and what it may set off.
pub struct State {
    pub metrics: Arc<Metrics>,
    /// As it is now: a reload changes it.
    pub config: watch::Receiver<Arc<Config>>,
    pub shards: Vec<Tell>,
    pub upstream: watch::Receiver<Status>,
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
