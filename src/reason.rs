//! The closed vocabularies of every ending: why a handshake was refused, why a session was closed,
//! why messages were missed, what a gap came from.
//!
//! Labels are stable: metrics, log fields, problem bodies and close frames all use these words, and
//! alerts select on them, so a rename is a breaking change.

use std::time::Duration;

/// Why a session ended. Every session ends with exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    Overloaded,
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
}

impl CloseReason {
    /// Every reason, in the order of [`CloseReason::index`].
    pub const ALL: [Self; 20] = [
        Self::Bye,
        Self::PeerGone,
        Self::UnexpectedMessage,
        Self::ProtocolError,
        Self::InvalidUtf8,
        Self::RateLimited,
        Self::MessageTooBig,
        Self::InternalError,
        Self::Restarting,
        Self::Overloaded,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::Revoked,
        Self::Forbidden,
        Self::PingTimeout,
        Self::WriteTimeout,
        Self::SlowConsumer,
        Self::Gap,
        Self::Reconfigured,
    ];

    /// Position in [`CloseReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, log field and reason text of the close frame.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::PeerGone => "peer_gone",
            Self::UnexpectedMessage => "unexpected_message",
            Self::ProtocolError => "protocol_error",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::RateLimited => "rate_limited",
            Self::MessageTooBig => "message_too_big",
            Self::InternalError => "internal_error",
            Self::Restarting => "restarting",
            Self::Overloaded => "overloaded",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::Revoked => "revoked",
            Self::Forbidden => "forbidden",
            Self::PingTimeout => "ping_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::SlowConsumer => "slow_consumer",
            Self::Gap => "gap",
            Self::Reconfigured => "reconfigured",
        }
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
            Self::Overloaded => 1013,
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired | Self::Revoked => 3000,
            Self::Forbidden => 3003,
            Self::PingTimeout | Self::WriteTimeout => 3008,
            Self::SlowConsumer => 4008,
            Self::Gap => 4009,
            Self::Reconfigured => 4010,
        })
    }
}

/// Why a handshake was refused, before any upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Redis refuses this very channel (NOPERM).
    ChannelRefused,
    /// Redis did not confirm the subscription before `handshake_timeout`.
    SubscriptionTimeout,
    /// The issuer's keys could not be fetched, so nobody can say whether the token verifies.
    KeysUnavailable,
    InternalError,
}

impl Refusal {
    /// Every refusal, in the order of [`Refusal::index`].
    pub const ALL: [Self; 25] = [
        Self::BadHandshake,
        Self::TokenConflict,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::OriginNotAllowed,
        Self::ClaimMissing,
        Self::ClaimUnusable,
        Self::ValueNotAllowed,
        Self::TooManyValues,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::RequestTimeout,
        Self::UriTooLong,
        Self::HeadersTooLarge,
        Self::AddressLimit,
        Self::UserLimit,
        Self::AtCapacity,
        Self::Draining,
        Self::RedisUnavailable,
        Self::ChannelRefused,
        Self::SubscriptionTimeout,
        Self::KeysUnavailable,
        Self::InternalError,
    ];

    /// Position in [`Refusal::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The `code` of the problem body, and the metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadHandshake => "bad_handshake",
            Self::TokenConflict => "token_conflict",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::ClaimMissing => "claim_missing",
            Self::ClaimUnusable => "claim_unusable",
            Self::ValueNotAllowed => "value_not_allowed",
            Self::TooManyValues => "too_many_values",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::RequestTimeout => "request_timeout",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::AddressLimit => "address_limit",
            Self::UserLimit => "user_limit",
            Self::AtCapacity => "at_capacity",
            Self::Draining => "draining",
            Self::RedisUnavailable => "redis_unavailable",
            Self::ChannelRefused => "channel_refused",
            Self::SubscriptionTimeout => "subscription_timeout",
            Self::KeysUnavailable => "keys_unavailable",
            Self::InternalError => "internal_error",
        }
    }

    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadHandshake | Self::TokenConflict => 400,
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

/// Why messages may have been missed by every session of a channel, or of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The Redis link was lost and has come back.
    RedisReconnected,
    /// We took messages from the Redis client too slowly and it dropped some.
    UpstreamLagged,
    /// A shard took messages from its ring too slowly and some were overwritten.
    ShardLagged,
    /// One message was larger than `redis.max_payload`.
    PayloadTooLarge,
    /// One session was too slow and `on_slow` dropped messages for it.
    SlowConsumer,
}

impl GapReason {
    /// Every reason, in the order of [`GapReason::index`].
    pub const ALL: [Self; 5] = [
        Self::RedisReconnected,
        Self::UpstreamLagged,
        Self::ShardLagged,
        Self::PayloadTooLarge,
        Self::SlowConsumer,
    ];

    /// Position in [`GapReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, log field and the `reason` of a json gap frame.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RedisReconnected => "redis_reconnected",
            Self::UpstreamLagged => "upstream_lagged",
            Self::ShardLagged => "shard_lagged",
            Self::PayloadTooLarge => "payload_too_large",
            Self::SlowConsumer => "slow_consumer",
        }
    }
}

/// Why a message that had reached a session's queue was never delivered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissedReason {
    /// The session fell too far behind and was closed (`on_slow = "close"`).
    SlowConsumer,
    /// The oldest message made room (`on_slow = "skip"`).
    Skipped,
    /// A newer message of the same channel took its place (`on_slow = "latest"`).
    Replaced,
    /// The session ended for another reason while messages were queued.
    SessionEnded,
}

impl MissedReason {
    /// Every reason, in the order of [`MissedReason::index`].
    pub const ALL: [Self; 4] =
        [Self::SlowConsumer, Self::Skipped, Self::Replaced, Self::SessionEnded];

    /// Position in [`MissedReason::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow_consumer",
            Self::Skipped => "skipped",
            Self::Replaced => "replaced",
            Self::SessionEnded => "session_ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vocabulary_lists_each_word_once_at_its_index() {
        fn check<T: Copy>(all: &[T], index: fn(T) -> usize, label: fn(T) -> &'static str) {
            let labels: std::collections::HashSet<_> = all.iter().map(|&r| label(r)).collect();
            assert_eq!(labels.len(), all.len());
            assert!(all.iter().enumerate().all(|(at, &r)| index(r) == at));
        }
        check(&CloseReason::ALL, CloseReason::index, CloseReason::label);
        check(&Refusal::ALL, Refusal::index, Refusal::label);
        check(&GapReason::ALL, GapReason::index, GapReason::label);
        check(&MissedReason::ALL, MissedReason::index, MissedReason::label);
    }

    #[test]
    fn reserved_close_codes_are_never_sent() {
        for code in CloseReason::ALL.into_iter().filter_map(CloseReason::code) {
            assert!(![1004, 1005, 1006, 1015].contains(&code), "{code} is reserved");
        }
    }

    #[test]
    fn answers_that_ask_to_wait_say_how_long() {
        for refusal in Refusal::ALL {
            let waits = matches!(refusal.status(), 429 | 503);
            assert_eq!(refusal.retry_after().is_some(), waits, "{}", refusal.label());
        }
    }
}
