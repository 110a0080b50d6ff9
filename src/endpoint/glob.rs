//! Globs of channels: what a token may publish to, and which channels are streams.

/// A glob of channels, such as `user:*:notifications`: only `*` is special, and it stands for any text, also
/// none, also with `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelGlob(String);

/// Why a text is not a glob of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("must not be empty")]
    Empty,
    #[error("must not contain control characters")]
    Control,
}

impl ChannelGlob {
    /// Reads a glob.
    ///
    /// # Errors
    /// When it is empty or has a control character.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        match text {
            "" => Err(GlobError::Empty),
            _ if text.chars().any(char::is_control) => Err(GlobError::Control),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The glob as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one channel that it stands for; `None` when it may be several.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// Whether it stands for this channel. The time is bounded by the lengths multiplied.
    #[must_use]
    pub fn matches(&self, channel: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return self.0 == channel };
        let (middle, end) = rest.rsplit_once('*').map_or(("", rest), |(middle, end)| (middle, end));
        let between = channel.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
        let Some(mut rest) = between else { return false };
        // Each piece where it first can be: what leaves the most to the next ones.
        middle.split('*').all(|piece| match rest.split_once(piece) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &str, channel: &str) -> bool {
        ChannelGlob::parse(glob).unwrap().matches(channel)
    }

    #[test]
    fn only_the_star_is_special_and_it_crosses_colons() {
        for (glob, channel, expected) in [
            ("chat:7", "chat:7", true),
            ("chat:7", "chat:71", false),
            ("chat:*", "chat:", true),
            ("chat:*", "chat:7:members", true),
            ("chat:*", "chats:7", false),
            ("*", "anything at all", true),
            ("user:*:notifications", "user:42:notifications", true),
            ("user:*:notifications", "user:42:x:notifications", true),
            ("user:*:notifications", "user:notifications", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xxbxaxxb", true),
            ("*a*b*", "bbba", false),
            ("a**b", "ab", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("c?t", "cat", false),
            ("c?t", "c?t", true),
            ("c[ab]t", "cat", false),
            ("c\\*t", "c\\t", true),
        ] {
            assert_eq!(matches(glob, channel), expected, "{glob} {channel}");
        }
    }

    #[test]
    fn a_glob_without_a_star_is_one_channel() {
        assert_eq!(ChannelGlob::parse("a:b").unwrap().only(), Some("a:b"));
        assert_eq!(ChannelGlob::parse("a:*").unwrap().only(), None);
        assert_eq!(ChannelGlob::parse(""), Err(GlobError::Empty));
        assert_eq!(ChannelGlob::parse("a\nb"), Err(GlobError::Control));
    }

    /// As the definition says it, however long that takes.
    fn plainly(glob: &[u8], text: &[u8]) -> bool {
        match glob {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skipped| plainly(rest, &text[skipped..])),
            [one, rest @ ..] => text.first() == Some(one) && plainly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_matches(glob in "[ab*]{1,8}", channel in "[ab]{0,10}") {
            let expected = plainly(glob.as_bytes(), channel.as_bytes());
            prop_assert_eq!(matches(&glob, &channel), expected);
        }
    }
}
