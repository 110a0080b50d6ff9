//! Who wanted something published, and what came of it.

use strum::{IntoStaticStr, VariantArray};

/// Who wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum PublishSource {
    /// A client, within its session.
    Client,
    /// A caller of `[http_publish]`.
    Http,
}

impl PublishSource {
    /// Every word, each at its [`PublishSource::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`PublishSource::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }

    /// Whether what this source wants published can come to this: other pairs have no series.
    #[must_use]
    pub const fn can_come_to(self, result: PublishResult) -> bool {
        match result {
            PublishResult::FrameInvalid
            | PublishResult::DataInvalid
            | PublishResult::ChannelNotFound => matches!(self, Self::Client),
            PublishResult::ChannelInvalid | PublishResult::RequestInvalid => {
                matches!(self, Self::Http)
            }
            PublishResult::Published
            | PublishResult::NotPermitted
            | PublishResult::ChannelNotAllowed
            | PublishResult::RateLimited
            | PublishResult::RedisUnavailable
            | PublishResult::RedisRefused
            | PublishResult::OutcomeUnknown => true,
        }
    }
}

/// What came of it. All but the first are told to who wanted it, by these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum PublishResult {
    Published,
    /// What was sent is no message: no JSON, for one.
    FrameInvalid,
    /// The data is not of the kind that is wanted.
    DataInvalid,
    /// Nobody, or not this one, may publish here.
    NotPermitted,
    ChannelNotAllowed,
    /// The stream does not exist, and is not to be made.
    ChannelNotFound,
    RateLimited,
    /// Certainly nothing was published.
    RedisUnavailable,
    /// WRONGTYPE, NOPERM.
    RedisRefused,
    /// It may have been published or not.
    OutcomeUnknown,
    /// By HTTP: what stands for a channel is none.
    ChannelInvalid,
    /// By HTTP: anything else is wrong with the request, which is told by a code of its own.
    RequestInvalid,
}

impl PublishResult {
    /// Every word, each at its [`PublishResult::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`PublishResult::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label, and the code that the sender is told.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}
