//! The closed vocabularies: why a handshake was refused, why a session was closed, why messages were
//! missed, what a gap came from, what came of a new token, why the gateway is not ready.
//!
//! Labels are stable: metrics, log fields, problem bodies and close frames all use these words, and
//! alerts select on them, so a rename is a breaking change. They are made from the names of the variants;
//! a test lists them all, so that renaming a variant cannot rename a label unnoticed.

mod publish;

pub use publish::{PublishResult, PublishSource};

use serde::{Serialize, Serializer};
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};

/// Why a session ended. Every session ends with exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum CloseReason {
    /// The client closed with a close frame.
    Bye,
    /// The connection ended without a close frame.
    PeerGone,
    UnexpectedMessage,
    ProtocolError,
    InvalidUtf8,
    RateLimited,
    MessageTooBig,
    InternalError,
    Restarting,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    Revoked,
    Forbidden,
    PingTimeout,
    WriteTimeout,
    SlowConsumer,
    Gap,
    Reconfigured,
    /// A newer session of the same user took its place (`server.on_user_limit`).
    Replaced,
    /// Redis no longer permits the gateway one of the session's channels.
    ChannelRefused,
}

impl CloseReason {
    /// Every word, each at its [`CloseReason::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`CloseReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, log field and reason text of the close frame.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }

    /// Code of the close frame we send; `None` when there is nobody left to send it to.
    #[must_use]
    pub const fn code(self) -> Option<u16> {
        Some(match self {
            Self::PeerGone => return None,
            Self::Bye => 1000,
            Self::ProtocolError => 1002,
            Self::UnexpectedMessage => 1003,
            Self::InvalidUtf8 => 1007,
            Self::RateLimited => 1008,
            Self::MessageTooBig => 1009,
            Self::InternalError => 1011,
            Self::Restarting => 1012,
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired | Self::Revoked => 3000,
            Self::Forbidden => 3003,
            Self::PingTimeout | Self::WriteTimeout => 3008,
            Self::SlowConsumer => 4008,
            Self::Gap => 4009,
            Self::Reconfigured => 4010,
            Self::Replaced => 4011,
            Self::ChannelRefused => 4012,
        })
    }
}

/// Why a client does not get a channel or stream that it asked for within its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum NotSubscribed {
    /// Nothing allows it, or it is no name at all: the client learns nothing more.
    ChannelNotAllowed,
    /// Redis refuses it (NOPERM), or it is a stream and the key is none.
    ChannelRefused,
    /// The session opened with it, and cannot give it back.
    ChannelFixed,
    TooManySubscriptions,
    /// `since` is no position, or stands with a channel, which keeps nothing.
    SinceInvalid,
    SubscriptionTimeout,
    RedisUnavailable,
    RateLimited,
    /// There is no memory for what came before.
    AtCapacity,
    /// The instance has as many streams as `redis.max_streams` allows.
    StreamLimit,
    TrackingRefused,
}

impl NotSubscribed {
    /// The `code` of the answer.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

impl From<Refusal> for NotSubscribed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ChannelRefused => Self::ChannelRefused,
            Refusal::AtCapacity => Self::AtCapacity,
            Refusal::StreamLimit => Self::StreamLimit,
            Refusal::TrackingRefused => Self::TrackingRefused,
            _ => Self::RedisUnavailable,
        }
    }
}

/// Why a client has not any more what it had added to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum TakenAway {
    /// Its newer token, or a reload, does not allow it.
    NotPermitted,
    ChannelRefused,
}

impl TakenAway {
    /// The `reason` of the frame.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

/// Why a handshake was refused, before any upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Refusal {
    /// Not a correct WebSocket handshake, or not HTTP/1.1 at all.
    BadHandshake,
    /// Two token sources of one request carry different tokens.
    TokenConflict,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    OriginNotAllowed,
    /// A channel template names a claim that the token does not have.
    ClaimMissing,
    /// A channel template names a claim that cannot be a text: an object, null, or a list of such.
    ClaimUnusable,
    /// A value for a channel template is outside its grammar.
    ValueNotAllowed,
    /// The values for a channel template would give a session too many channels.
    TooManyValues,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    RequestTimeout,
    UriTooLong,
    HeadersTooLarge,
    /// Too many connections from this address.
    AddressLimit,
    /// Too many sessions of this user.
    UserLimit,
    /// Connections, pending handshakes or the handshake rate are at their limit.
    AtCapacity,
    Draining,
    /// The Redis link is down, so nothing can be confirmed.
    RedisUnavailable,
    /// Redis refuses this very channel (NOPERM), or it is a stream and the key is none.
    ChannelRefused,
    /// The instance has as many streams as `redis.max_streams` allows.
    StreamLimit,
    /// The instance has as many patterns as `redis.max_patterns` allows.
    PatternLimit,
    /// Redis does not say which keys change, so no stream can be followed.
    TrackingRefused,
    /// `since` or `last` of the request are malformed.
    SinceInvalid,
    /// `since` or `last` on an endpoint without streams.
    SinceNotSupported,
    /// Redis did not confirm the subscription before `handshake_timeout`.
    SubscriptionTimeout,
    /// The issuer's keys could not be fetched, so nobody can say whether the token verifies.
    KeysUnavailable,
    InternalError,
}

impl Refusal {
    /// Every word, each at its [`Refusal::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`Refusal::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The `code` of the problem body, and the metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }

    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadHandshake
            | Self::TokenConflict
            | Self::SinceInvalid
            | Self::SinceNotSupported => 400,
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired => 401,
            Self::OriginNotAllowed
            | Self::ClaimMissing
            | Self::ClaimUnusable
            | Self::ValueNotAllowed
            | Self::TooManyValues => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::UriTooLong => 414,
            Self::UpgradeRequired => 426,
            Self::AddressLimit | Self::UserLimit => 429,
            Self::HeadersTooLarge => 431,
            Self::InternalError => 500,
            Self::AtCapacity
            | Self::Draining
            | Self::RedisUnavailable
            | Self::ChannelRefused
            | Self::StreamLimit
            | Self::PatternLimit
            | Self::TrackingRefused
            | Self::SubscriptionTimeout
            | Self::KeysUnavailable => 503,
        }
    }

    /// How long the client should wait before it tries again; `None` where waiting cannot help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self.status() {
            429 | 503 => Some(Duration::from_secs(2)),
            _ => None,
        }
    }

    /// The close reason that says the same after an upgrade (`auth.reject = "close"`); `None` for
    /// refusals that have nothing to do with who the client is: those stay HTTP answers.
    #[must_use]
    pub const fn as_close(self) -> Option<CloseReason> {
        match self {
            Self::TokenMissing => Some(CloseReason::TokenMissing),
            Self::TokenInvalid => Some(CloseReason::TokenInvalid),
            Self::TokenExpired => Some(CloseReason::TokenExpired),
            Self::OriginNotAllowed
            | Self::ClaimMissing
            | Self::ClaimUnusable
            | Self::ValueNotAllowed
            | Self::TooManyValues => Some(CloseReason::Forbidden),
            _ => None,
        }
    }
}

/// Why messages may have been missed: by one session, by all of a channel, or by all of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum GapReason {
    /// The Redis link was lost and has come back.
    RedisReconnected,
    /// The server is no longer the primary, and the subscription moved to the one that is.
    RedisMoved,
    /// A shard took messages from its ring too slowly and some were overwritten.
    ShardLagged,
    /// One message was larger than `redis.max_payload`.
    PayloadTooLarge,
    /// Entries of a stream were trimmed before they were read.
    StreamTrimmed,
    /// A stream was made anew unseen, or rolled back.
    StreamReset,
    /// One session was too slow and `on_slow` dropped messages for it.
    SlowConsumer,
}

impl GapReason {
    /// Every word, each at its [`GapReason::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether it concerns every channel of a link at once.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        matches!(self, Self::RedisReconnected | Self::RedisMoved)
    }

    /// How many messages are missing at one gap, where that is known.
    #[must_use]
    pub const fn missed(self) -> Option<u64> {
        match self {
            Self::PayloadTooLarge | Self::SlowConsumer => Some(1),
            Self::RedisReconnected
            | Self::RedisMoved
            | Self::ShardLagged
            | Self::StreamTrimmed
            | Self::StreamReset => None,
        }
    }

    /// Position in [`GapReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, log field and the `reason` of a json gap frame.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

/// Why a session did not get a message that was for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MissedReason {
    /// The session fell too far behind and was closed (`on_slow = "close"`), or was the furthest behind when
    /// all queues together held too much.
    SlowConsumer,
    /// The oldest message made room (`on_slow = "skip"`).
    Skipped,
    /// A newer message of the same channel took its place (`on_slow = "latest"`).
    Replaced,
    /// It was larger than `redis.max_payload`.
    PayloadTooLarge,
    /// The session ended for another reason while messages were queued.
    SessionEnded,
}

impl MissedReason {
    /// Every word, each at its [`MissedReason::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`MissedReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

/// What came of the position that a client gave for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum ReplayResult {
    /// It gets everything that came after it.
    Recovered,
    /// Something that came after it is gone, or that cannot be ruled out.
    Trimmed,
    /// More came after it than the endpoint replays.
    TooMany,
    /// It is not a position of this stream, or not any more.
    Reset,
}

impl ReplayResult {
    /// Every word, each at its [`ReplayResult::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`ReplayResult::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, and the `reason` of a stream in `ready`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

/// What came of a `refresh` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RefreshResult {
    /// The session lives by the new token now.
    Accepted,
    /// It is the token that the session lives by, or good for no longer than that.
    Unchanged,
    /// A newer one took its place before it was verified.
    Superseded,
    /// It ended the session.
    Rejected,
    /// The issuer's keys could not be fetched; the session lives by its former token.
    KeyUnknown,
}

impl RefreshResult {
    /// Every word, each at its [`RefreshResult::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`RefreshResult::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

/// Why new clients should not be sent here: the `code` of `/readyz` and `/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum NotReadyReason {
    /// Asked to stop.
    Draining,
    /// No probe has proven the Redis link yet.
    Starting,
    RedisLinkDown,
    /// The link is said to be up, but the last proof of it is too old.
    RedisProofExpired,
    /// The issuer's keys were never fetched, so no token can be verified.
    KeysUnavailable,
    /// Redis refuses the control channel, so that nobody can be sent away.
    ControlRefused,
    /// Redis does not say which keys change, so no stream can be followed.
    TrackingRefused,
}

impl NotReadyReason {
    /// The `code`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

impl Serialize for NotReadyReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

#[cfg(test)]
mod tests;
