//! What a session is subscribed to.

use crate::channel::ChannelName;

/// Pub/sub channels and patterns of them, and streams, each name once. None at all only where a client may add
/// some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    /// Patterns included.
    pub channels: Vec<ChannelName>,
    pub streams: Vec<ChannelName>,
    /// The room: the one of these in which the session's user is shown to others, if any.
    pub presence: Option<ChannelName>,
}

impl From<Vec<ChannelName>> for Topics {
    /// Pub/sub channels alone.
    fn from(channels: Vec<ChannelName>) -> Self {
        Self { channels, ..Self::default() }
    }
}
