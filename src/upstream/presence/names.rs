//! Keys and channels of a room, users as Redis has them, and announcements. Pure.

use crate::{channel::ChannelName, endpoint::escape};
use percent_encoding::percent_decode_str;
use std::fmt::Write as _;

/// Prefix of all keys and channels of presence.
const OWN: &str = "sockway:presence:";

/// Names this process in Redis. Random: not the host's name.
#[derive(Debug, Clone)]
pub(super) struct Instance(String);

impl Instance {
    pub(super) fn random() -> Self {
        Self(format!("{:032x}", fastrand::u128(..)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// A user of this instance, as a member of a room.
    pub(super) fn member(&self, user: &str) -> String {
        format!("{}:{}", escape(user), self.0)
    }
}

/// The keys of one room, as Redis knows them.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) members: String,
    pub(super) users: String,
    pub(super) news: String,
}

impl Keys {
    pub(super) fn of(room: &str, prefix: &str) -> Self {
        let key = |kind: &str| format!("{prefix}{}", own_name(room, prefix, kind));
        Self { members: key("members"), users: key("users"), news: key("news") }
    }
}

/// The channel of a room's announcements, without the prefix.
pub(super) fn news_channel(room: &str, prefix: &str) -> ChannelName {
    ChannelName::new(own_name(room, prefix, "news"))
}

/// The room whose announcements come on this channel.
pub(super) fn announced_room<'c>(channel: &'c str, prefix: &str) -> Option<&'c str> {
    const BEFORE: &str = "}:news:";
    let rest = channel.strip_prefix(OWN)?;
    // The same text may stand in the name of a room.
    let mut ends = rest.match_indices(BEFORE).map(|(at, _)| &rest[at + BEFORE.len()..]);
    ends.find(|room| *own_name(room, prefix, "news") == *channel)
}

fn own_name(room: &str, prefix: &str, kind: &str) -> String {
    let whole = format!("{prefix}{room}");
    let mut name = String::from(OWN);
    // Writing into a string cannot fail.
    let _ = write!(name, "{{{}}}:{kind}:{room}", hash_tag(&whole));
    name
}

/// The part of a name that Redis hashes: what stands in the first braces, if that is anything.
fn hash_tag(name: &str) -> &str {
    let inside = name.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    inside.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(name)
}

/// Decodes an escaped user; `None`: it is not what [`escape`] makes.
pub(super) fn unescape(user: &str) -> Option<String> {
    let plain = percent_decode_str(user).decode_utf8().ok()?;
    (!plain.is_empty() && escape(&plain) == user).then(|| plain.into_owned())
}

/// What instances tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announcement {
    Join(String),
    Leave(String),
    /// Members had to be put back: every instance repairs its own, then reads the roster.
    Sync,
}

impl Announcement {
    /// Reads an announcement; `None`: it is not one.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        match text.split_once(' ') {
            Some(("join", user)) => unescape(user).map(Self::Join),
            Some(("leave", user)) => unescape(user).map(Self::Leave),
            None if text == "sync" => Some(Self::Sync),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_room_have_the_tag_that_redis_hashes_of_the_prefixed_channel() {
        for (prefix, room, members) in [
            ("", "chat:7", "sockway:presence:{chat:7}:members:chat:7"),
            ("app:", "chat:7", "app:sockway:presence:{app:chat:7}:members:chat:7"),
            ("", "chat:{7}:x", "sockway:presence:{7}:members:chat:{7}:x"),
            ("", "a{}b", "sockway:presence:{a{}b}:members:a{}b"),
            ("{t}:", "chat", "{t}:sockway:presence:{t}:members:chat"),
            ("", "a}:news:b", "sockway:presence:{a}:news:b}:members:a}:news:b"),
        ] {
            let keys = Keys::of(room, prefix);
            assert_eq!(keys.members, members);
            assert_eq!(keys.news, format!("{prefix}{}", news_channel(room, prefix).as_str()));
            assert_eq!(announced_room(&news_channel(room, prefix), prefix), Some(room));
            let tag = hash_tag(&keys.members);
            assert_eq!((hash_tag(&keys.users), hash_tag(&keys.news)), (tag, tag));
        }
    }

    #[test]
    fn no_user_forges_another_or_an_instance_or_a_second_word() {
        for user in ["42", "a b", "a:b", "!", "ä", "%41", "a\r\nsync", "x@y.z_-"] {
            let escaped = escape(user);
            assert!(!escaped.contains([' ', ':', '!', '\n']), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(user));
            let join = format!("join {escaped}");
            assert_eq!(
                Announcement::parse(join.as_bytes()),
                Some(Announcement::Join(user.to_owned()))
            );
        }
        for payload in
            [&b"join a:b"[..], b"join %61", b"join ", b"leave", b"Sync", b"join \xff", b"!"]
        {
            assert_eq!(Announcement::parse(payload), None);
        }
    }
}
