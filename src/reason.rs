//! The closed vocabularies: why a handshake was refused, why a session was closed, why messages were
//! missed, what a gap came from, why the gateway is not ready.
//!
//! Labels are stable: metrics, log fields, problem bodies and close frames all use these words, and
//! alerts select on them, so a rename is a breaking change. They are made from the names of the variants;
//! a test lists them all, so that renaming a variant cannot rename a label unnoticed.

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
        })
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
    /// Redis refuses this very channel (NOPERM).
    ChannelRefused,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum GapReason {
    /// The Redis link was lost and has come back.
    RedisReconnected,
    /// The server is no longer the primary, and the subscription moved to the one that is.
    RedisMoved,
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
    /// Every word, each at its [`GapReason::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether it concerns every channel of a link at once.
    #[must_use]
    pub const fn is_of_link(self) -> bool {
        matches!(self, Self::RedisReconnected | Self::RedisMoved)
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

/// Why a message that had reached a session's queue was never delivered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
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
mod tests {
    use super::*;

    #[track_caller]
    fn assert_labels<T: Copy>(all: &[T], label: fn(T) -> &'static str, expected: &str) {
        let labels: Vec<_> = all.iter().map(|&word| label(word)).collect();
        assert_eq!(labels, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn labels_are_what_alerts_and_clients_select_on() {
        assert_labels(
            CloseReason::ALL,
            CloseReason::label,
            "bye peer_gone unexpected_message protocol_error invalid_utf8 rate_limited \
             message_too_big internal_error restarting token_missing token_invalid token_expired \
             revoked forbidden ping_timeout write_timeout slow_consumer gap reconfigured",
        );
        assert_labels(
            Refusal::ALL,
            Refusal::label,
            "bad_handshake token_conflict token_missing token_invalid token_expired \
             origin_not_allowed claim_missing claim_unusable value_not_allowed too_many_values \
             not_found method_not_allowed upgrade_required request_timeout uri_too_long headers_too_large address_limit \
             user_limit at_capacity draining redis_unavailable channel_refused \
             subscription_timeout keys_unavailable internal_error",
        );
        assert_labels(
            GapReason::ALL,
            GapReason::label,
            "redis_reconnected redis_moved upstream_lagged shard_lagged payload_too_large slow_consumer",
        );
        assert_labels(
            MissedReason::ALL,
            MissedReason::label,
            "slow_consumer skipped replaced session_ended",
        );
        assert_labels(
            NotReadyReason::VARIANTS,
            NotReadyReason::label,
            "draining starting redis_link_down redis_proof_expired keys_unavailable control_refused",
        );
    }

    #[test]
    fn every_word_stands_at_its_index() {
        fn check<T: Copy>(all: &[T], index: fn(T) -> usize) {
            assert!(all.iter().enumerate().all(|(at, &word)| index(word) == at));
        }
        check(CloseReason::ALL, CloseReason::index);
        check(Refusal::ALL, Refusal::index);
        check(GapReason::ALL, GapReason::index);
        check(MissedReason::ALL, MissedReason::index);
    }

    #[test]
    fn reserved_close_codes_are_never_sent() {
        for code in CloseReason::ALL.iter().filter_map(|reason| reason.code()) {
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
