//! The name of a Redis pub/sub channel, as the configuration and the clients know it: without
//! `redis.channel_prefix`, which exists only between `upstream` and Redis.
//!
//! A pattern is a name too, and goes the same ways: it has a `*`, which the grammar of names allows in no
//! channel, so that the two are never mistaken for each other.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// A channel's name. Cheap to clone; shared by the router, the shards and every message.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Takes the name as it is. The grammar of names is kept where names are made: literal text by
    /// `config`, substituted values by `endpoint`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Whether it is a pattern of channels.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        is_pattern(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a name is a pattern of channels, with the prefix or without it: none of its characters is special.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

impl Deref for ChannelName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
