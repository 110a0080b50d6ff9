//! What the actor needs of a Redis client, and nothing more; `fred_link` is the real one, tests
//! bring their own.
//!
//! A link is dialled once and never mends itself: when it ends, the actor drops it and dials anew,
//! so that start-up and recovery are one code path. Dropping a link closes its connection.

use bytes::Bytes;
use fred::bytes_utils::Str;
use std::{future::Future, pin::Pin};

/// What a command will have led to.
pub(super) type Reply<T> = Pin<Box<dyn Future<Output = Result<T, LinkError>> + Send>>;

/// Makes connections. Each is authenticated and has answered a PING when its dial succeeds.
pub(super) trait Redis: Send + 'static {
    type Subscriber: Subscriber;
    type Publisher: Publisher;

    /// Dials the connection that receives.
    fn subscriber(&self) -> Reply<Self::Subscriber>;

    /// Dials the connection for every other command.
    fn publisher(&self) -> Reply<Self::Publisher>;
}

/// The connection that receives.
pub(super) trait Subscriber: Send + 'static {
    /// Sends a command. Its reply proves that Redis has carried it out: an acknowledgement for all
    /// that was subscribed. At most one command may be under way.
    fn send(&mut self, command: Command) -> Reply<()>;

    /// Waits for what arrives next. Cancel-safe. Everything received before the end comes first;
    /// after [`Arrival::Ended`] nothing comes any more.
    fn next(&mut self) -> impl Future<Output = Arrival> + Send;

    /// What has arrived already, if anything.
    fn try_next(&mut self) -> Option<Arrival>;
}

/// The connection for every other command.
pub(super) trait Publisher: Send + 'static {
    fn publish(&self, channel: &str, payload: &str) -> Reply<()>;
}

/// A command on the connection that receives. Channels are named as Redis knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Ping,
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
}

/// What arrives on the connection that receives.
#[derive(Debug)]
pub(super) enum Arrival {
    Message {
        channel: Str,
        payload: Bytes,
    },
    /// So many messages were overwritten before we took them.
    Lagged(u64),
    Ended(LinkError),
}

/// Why a dial or a command failed. The texts never hold a secret: see `fred_link::Fred::error`.
/// They stand in for a `source`, which could hold one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Redis refuses a channel of this very command; the connection is fine.
    #[error("{0}")]
    ChannelRefused(String),
    /// Redis answers, but with an error that concerns the whole connection.
    #[error("Redis answers: {0}")]
    Answered(String),
    /// Nobody is there: not a connection was made.
    #[error("{0}")]
    Unreachable(String),
    /// There was a connection, and it is gone or of no use.
    #[error("{0}")]
    Lost(String),
}
