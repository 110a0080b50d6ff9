//! A configured path: how clients reach it, what it subscribes them to, how it treats them.

use crate::wire::{Codec, GapNotice, HeartbeatNotice, sse::Body};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

mod expand;
mod glob;
mod keeps;
mod path;
pub mod percent;
mod publish_paths;
mod query;
mod routes;
mod template;
mod topics;

pub use expand::{Unfilled, Values};
pub use glob::ChannelGlob;
pub use path::{PathParameters, RoutePath};
pub use publish_paths::{PublishAddress, PublishPaths, PublishRoute, channel_name};
pub use query::query_values;
pub use routes::{Matched, Routes};
pub use template::{ChannelTemplate, OWN_STREAMS, Placeholder, RESERVED, is_channel_character};
pub use topics::Topics;

/// The endpoint's name: its metric label.
pub type EndpointName = Arc<str>;

/// One `[[endpoint]]` of the configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub name: EndpointName,
    pub path: RoutePath,
    /// Pub/sub channels. At least one of these and `streams` together.
    pub channels: Vec<ChannelTemplate>,
    pub streams: Vec<ChannelTemplate>,
    pub replay: ReplayLimits,
    /// Whether its sessions may come as Server-Sent Events too.
    pub sse: bool,
    pub access: Access,
    pub format: Format,
    /// How far a session may fall behind, by messages.
    pub queue_messages: NonZeroUsize,
    /// … and by bytes of their frames; one larger message still fits an empty queue.
    pub queue_bytes: NonZeroUsize,
    pub on_slow: OnSlow,
    pub on_gap: OnGap,
    /// What tells a raw session of a gap.
    pub gap_notice: GapNotice,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// How long a session may be sent nothing before its heartbeat; `None`: none is sent.
    pub heartbeat: Option<Duration>,
    /// The heartbeat of a raw session; `None`: it has none.
    pub heartbeat_notice: Option<HeartbeatNotice>,
    pub write_timeout: Duration,
    /// The largest message taken from a client, in bytes.
    pub max_message: NonZeroUsize,
    pub inbound: Inbound,
}

impl Endpoint {
    /// How long a session with this codec may be sent nothing before its heartbeat; `None`: it has none.
    #[must_use]
    pub fn heartbeat_over(&self, codec: Codec) -> Option<Duration> {
        codec.heartbeat(self.heartbeat_notice.as_ref()).and(self.heartbeat)
    }

    /// Whether a session of this endpoint gets from `other` what it got when it opened: the same
    /// channels, for the same people, in the same form. Queues, timers and the like are what a
    /// session keeps from its opening to its end.
    #[must_use]
    pub fn continues_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.path == other.path
            && self.channels == other.channels
            && self.streams == other.streams
            && self.access == other.access
            && self.format == other.format
    }
}

/// What a client that returns may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Entries of one stream; 0: none.
    pub messages: usize,
    /// Payload bytes of all streams of a session together.
    pub bytes: usize,
    /// Entries of one stream for a client without a position, or whose position does not recover.
    pub last: usize,
}

/// Who may open a session here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only who has a token that verifies.
    Required,
    /// Anyone; a token is not even looked at.
    None,
}

/// What a message looks like to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Raw,
    Json,
}

impl Format {
    /// The codec of a WebSocket session that gets its messages so.
    #[must_use]
    pub const fn over_websocket(self) -> Codec {
        match self {
            Self::Raw => Codec::WsRaw,
            Self::Json => Codec::WsJson,
        }
    }

    /// The codec of a session over Server-Sent Events that gets its messages so.
    #[must_use]
    pub const fn over_event_stream(self, body: Body) -> Codec {
        match self {
            Self::Raw => Codec::SseRaw(body),
            Self::Json => Codec::SseJson(body),
        }
    }
}

/// What happens to a session whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSlow {
    Close,
    Skip,
    Latest,
}

/// How a session learns that messages may have been missed upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    Notice,
    Close,
    Ignore,
}

/// What happens to a message from a client that means nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    Ignore,
    Close,
}
