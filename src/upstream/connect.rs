//! What is needed of the two connections to Redis, as traits: tests put a Redis of their own behind
//! them.

use super::link::{Link, Reply, Target};

/// Makes connections. Each is authenticated when its dial succeeds.
pub(super) trait Connect: Send + 'static {
    type Link: Link;
    type Publisher: PublishConnection;

    /// Dials the connection that subscribes.
    fn link(&self, target: &Target) -> Reply<Self::Link>;

    /// Dials the connection for every other command.
    fn publisher(&self, target: &Target) -> Reply<Self::Publisher>;
}

/// A connection that publishes.
pub(super) trait PublishConnection: Send + 'static {
    /// Publishes; resolves when Redis has acknowledged it, not necessarily when the connection ends.
    fn publish(&self, channel: &str, payload: &str) -> Reply<()>;

    /// Resolves when the connection is closed. Cancel-safe.
    fn closed(&mut self) -> impl Future<Output = ()> + Send;
}
