//! `[endpoint.presence]`: in which of its channels a session's user is shown to the others.

use super::template::{ChannelTemplate, Form};
use crate::bus::PresenceRules;
use std::sync::Arc;

/// The table, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    pub channel: PresenceChannel,
    pub rules: Arc<PresenceRules>,
}

/// The rooms of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceChannel {
    /// One of the endpoint's own channels or streams.
    Template(ChannelTemplate),
    /// Each of the session's channels and streams that matches.
    Any(AnyChannel),
}

/// Literal text with one `{any}`: one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyChannel {
    before: String,
    after: String,
}

impl std::fmt::Display for AnyChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.before, Self::ANY, self.after)
    }
}

impl AnyChannel {
    /// What stands for the value.
    pub const ANY: &str = "{any}";

    /// `None`: there is no `{any}`, or more than that to be filled in.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once(Self::ANY)?;
        let is_literal = |text: &str| !text.contains(['{', '}']);
        (is_literal(before) && is_literal(after))
            .then(|| Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// Whether a channel's name matches.
    #[must_use]
    pub fn matches(&self, channel: &str) -> bool {
        let value =
            channel.strip_prefix(&*self.before).and_then(|it| it.strip_suffix(&*self.after));
        value.is_some_and(|value| Form::Plain.writes(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_is_one_value_between_literal_text() {
        let chat = AnyChannel::parse("chat:{any}:talk").unwrap();
        assert!(chat.matches("chat:7:talk"));
        for channel in ["chat::talk", "chat:7", "chat:7:8:talk", "chat:talk", "x:7:talk"] {
            assert!(!chat.matches(channel), "{channel}");
        }
        for text in ["chat:7", "{any}{any}", "{user}:{any}", "chat:{any}}"] {
            assert_eq!(AnyChannel::parse(text), None, "{text}");
        }
    }
}
