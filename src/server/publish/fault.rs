//! Why a request is not published: the closed list of codes that callers select on.

use crate::bus::NotPublished;

/// Why a request, or one item of a batch, is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(strum::VariantArray))]
pub(in crate::server) enum Fault {
    BodyInvalid,
    ChannelInvalid,
    TokenMissing,
    TokenInvalid,
    ChannelNotAllowed,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    RedisRefused,
    LengthRequired,
    BodyTooLarge,
    EncodingNotSupported,
    RateLimited,
    RedisUnavailable,
    OutcomeUnknown,
}

impl Fault {
    /// The `code`. Stable: a rename is a breaking change.
    pub(in crate::server) const fn code(self) -> &'static str {
        match self {
            Self::BodyInvalid => "body_invalid",
            Self::ChannelInvalid => "channel_invalid",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::ChannelNotAllowed => "channel_not_allowed",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::RedisRefused => "redis_refused",
            Self::LengthRequired => "length_required",
            Self::BodyTooLarge => "body_too_large",
            Self::EncodingNotSupported => "encoding_not_supported",
            Self::RateLimited => "rate_limited",
            Self::RedisUnavailable => "redis_unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    pub(in crate::server) const fn status(self) -> u16 {
        match self {
            Self::BodyInvalid | Self::ChannelInvalid => 400,
            Self::TokenMissing | Self::TokenInvalid => 401,
            Self::ChannelNotAllowed => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::RedisRefused => 409,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::EncodingNotSupported => 415,
            Self::RateLimited => 429,
            Self::RedisUnavailable => 503,
            Self::OutcomeUnknown => 504,
        }
    }

    /// Whether only callers with one of the tokens are told it.
    pub(super) const fn is_of_known(self) -> bool {
        !matches!(
            self,
            Self::TokenMissing | Self::TokenInvalid | Self::NotFound | Self::MethodNotAllowed
        )
    }

    /// One sentence for the person who reads the answer.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::BodyInvalid => {
                "The body ends early, or is not the JSON object that is expected here: each member once, none that is unknown, data or data_base64, channel or channels or batch, nothing empty."
            }
            Self::ChannelInvalid => {
                "The channel's name is empty, longer than 1,024 bytes, not UTF-8, or has control characters or a value that is not allowed there."
            }
            Self::TokenMissing => "The request has no header Authorization: Bearer with a token.",
            Self::TokenInvalid => "The token is not one of those that may publish.",
            Self::ChannelNotAllowed => "The token may not publish to this channel.",
            Self::NotFound => "There is nothing to publish to at this path.",
            Self::MethodNotAllowed => "Messages are published with POST.",
            Self::RequestTimeout => "The request was not complete in time. Nothing was published.",
            Self::RedisRefused => {
                "Redis refuses this message for good: the key is no stream, or Sockway has no right to it."
            }
            Self::LengthRequired => {
                "The request has neither the header Content-Length nor Transfer-Encoding: chunked."
            }
            Self::BodyTooLarge => "The body, or the batch, is larger than allowed.",
            Self::EncodingNotSupported => "The body must not be encoded (Content-Encoding).",
            Self::RateLimited => "The token publishes more often than it may.",
            Self::RedisUnavailable => "Redis takes no messages now. Nothing was published.",
            Self::OutcomeUnknown => {
                "Redis was asked and did not answer: it may have been published or not."
            }
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) const fn may_be_retried(self) -> bool {
        matches!(self, Self::RateLimited | Self::RedisUnavailable)
    }
}

impl From<NotPublished> for Fault {
    fn from(why: NotPublished) -> Self {
        match why {
            NotPublished::Unavailable => Self::RedisUnavailable,
            NotPublished::Refused | NotPublished::NotFound => Self::RedisRefused,
            NotPublished::Unknown => Self::OutcomeUnknown,
        }
    }
}
