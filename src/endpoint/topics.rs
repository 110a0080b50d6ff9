//! What a session is subscribed to.

use crate::channel::ChannelName;

/// Pub/sub channels and patterns of them, and streams, each name once. None at all only where a client may add
/// some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    /// Patterns included.
    pub channels: Vec<ChannelName>,
    pub streams: Vec<ChannelName>,
    /// The one of these in which the session's user is shown to the others, if there is one.
    pub presence: Option<ChannelName>,
}

impl From<Vec<ChannelName>> for Topics {
    /// Pub/sub channels alone.
    fn from(channels: Vec<ChannelName>) -> Self {
        Self { channels, ..Self::default() }
    }
}
