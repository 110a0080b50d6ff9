//! A configured path: how clients reach it, what it subscribes them to, how it treats them.

use crate::wire::{Codec, GapNotice, HeartbeatNotice, sse::Body};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

mod allowed;
mod expand;
mod glob;
mod keeps;
mod origin;
mod overlap;
mod path;
mod pattern;
pub mod percent;
mod presence;
mod publish;
mod publish_grant;
mod publish_paths;
mod query;
mod reserved;
mod routes;
mod template;
mod topics;

pub use allowed::{AllowTemplate, Allowed, AllowedAs, Dynamic};
pub use expand::{Unfilled, Values};
pub use glob::ChannelGlob;
pub use origin::Origin;
pub use overlap::Shape;
pub use path::{PathParameters, RoutePath};
pub use pattern::{MAX_PATTERNS_A_SESSION, PatternTemplate};
pub use presence::{AnyChannel, Presence, PresenceChannel};
pub use publish::{DataKind, NoPlace, PublishName, PublishPlace, PublishRules, PublishTarget};
pub use publish_grant::PublishGrant;
pub use publish_paths::{PublishAddress, PublishPaths, PublishRoute, channel_name};
pub use query::query_values;
pub use reserved::{EVENTS, OWN, ReservedNames};
pub use routes::{Matched, Routes};
pub use template::{ChannelTemplate, Placeholder, escape, is_channel_character};
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
    /// What no value may make of a template.
    pub reserved: Arc<ReservedNames>,
    pub patterns: Vec<PatternTemplate>,
    /// What a client may add within its session.
    pub dynamic: Dynamic,
    pub replay: ReplayLimits,
    /// Whether its sessions may come as Server-Sent Events too.
    pub sse: bool,
    pub access: Access,
    pub format: Format,
    /// How far a session may fall behind, by messages.
    pub queue_messages: NonZeroUsize,
    /// How far it may fall behind by bytes of frames; one larger message still fits an empty queue.
    pub queue_bytes: NonZeroUsize,
    pub on_slow: OnSlow,
    pub on_gap: OnGap,
    /// What tells a session without envelopes of a gap.
    pub gap_notice: GapNotice,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// How long a session may be sent nothing before its heartbeat; `None`: none is sent.
    pub heartbeat: Option<Duration>,
    /// The heartbeat of a session without envelopes; `None`: it has none.
    pub heartbeat_notice: Option<HeartbeatNotice>,
    pub write_timeout: Duration,
    /// The largest message taken from a client, in bytes.
    pub max_message: NonZeroUsize,
    pub inbound: Inbound,
    /// What clients may publish; `None`: nothing.
    pub publish: Option<Box<PublishRules>>,
    /// In which rooms users are shown; `None`: in none.
    pub presence: Option<Presence>,
}

impl Endpoint {
    /// Whether its sessions have streams, or may add some.
    #[must_use]
    pub fn may_follow_streams(&self) -> bool {
        !self.streams.is_empty() || !self.dynamic.streams.is_empty()
    }

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
            && self.patterns == other.patterns
            // A session does not keep what its token says where nothing asks for it.
            && (other.dynamic.is_empty() || !self.dynamic.is_empty())
            && self.access == other.access
            && self.format == other.format
            && self.publish == other.publish
            && self.presence == other.presence
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
    /// The payload: a text frame when it is UTF-8, else a binary one.
    Raw,
    /// An envelope around the payload.
    Json,
    /// The payload, always a binary frame.
    Binary,
}

impl Format {
    /// The codec of a WebSocket session that gets its messages so.
    #[must_use]
    pub const fn over_websocket(self) -> Codec {
        match self {
            Self::Raw => Codec::WsRaw,
            Self::Json => Codec::WsJson,
            Self::Binary => Codec::WsBinary,
        }
    }

    /// The codec of a session over Server-Sent Events that gets its messages so.
    #[must_use]
    pub const fn over_event_stream(self, body: Body) -> Codec {
        match self {
            // An endpoint with binary frames has no event streams.
            Self::Raw | Self::Binary => Codec::SseRaw(body),
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
