//! Traits of the two connections to Redis, so that tests can put a fake Redis behind them.

use super::link::{Link, Pending, Target};

/// Makes connections. Each is authenticated when its dial succeeds.
pub(super) trait Connect: Send + 'static {
    type Link: Link;
    type Publisher: PublishConnection;

    /// Dials the connection that subscribes.
    fn link(&self, target: &Target) -> Pending<Self::Link>;

    /// Dials the connection for every other command.
    fn publisher(&self, target: &Target) -> Pending<Self::Publisher>;
}

/// A connection that publishes.
pub(super) trait PublishConnection: Send + 'static {
    /// Publishes; resolves when Redis has acknowledged it, not necessarily when the connection ends.
    fn publish(&self, channel: &str, payload: &str) -> Pending<()>;

    /// Resolves when the connection is closed. Cancel-safe.
    fn closed(&mut self) -> impl Future<Output = ()> + Send;
}
