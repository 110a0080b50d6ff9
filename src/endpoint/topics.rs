//! What a session is subscribed to.

use crate::channel::ChannelName;

/// Pub/sub channels and streams, each name once. At least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    pub channels: Vec<ChannelName>,
    pub streams: Vec<ChannelName>,
}

impl From<Vec<ChannelName>> for Topics {
    /// Pub/sub channels alone.
    fn from(channels: Vec<ChannelName>) -> Self {
        Self { channels, streams: Vec::new() }
    }
}
