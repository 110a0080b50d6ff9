//! A fuzz target: what comes on a room's channel of announcements, and the names of rooms.

use super::names::{Announcement, Instance, Keys, announced_room, news_channel};
use crate::{
    endpoint::escape,
    wire::{Codec, fuzz::behind_head},
};
use serde_json::Value;

/// Reads an announcement; and takes the bytes as the name of a room, its prefix being the first line.
///
/// # Panics
/// When an announcement is taken that no instance makes, or a name could be taken for another.
pub(crate) fn presence(data: &[u8]) {
    match Announcement::parse(data) {
        Some(Announcement::Join(user)) => assert_user("join", &user, data),
        Some(Announcement::Leave(user)) => assert_user("leave", &user, data),
        Some(Announcement::Sync) => assert_eq!(data, b"sync"),
        None => {}
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let (prefix, room) = text.split_once('\n').unwrap_or(("", text));
        assert_room(prefix, room);
    }
}

/// It is announced in one way, is one member of one instance, and is shown in one frame.
fn assert_user(verb: &str, user: &str, data: &[u8]) {
    let escaped = escape(user);
    assert_eq!(format!("{verb} {escaped}").as_bytes(), data);
    assert!(!user.is_empty() && !escaped.contains([':', ' ', '!']));
    let instance = Instance::random();
    let member = instance.member(user);
    assert_eq!(member.split_once(':'), Some((&*escaped, instance.as_str())));
    let frame = Codec::WsJson.presence_change("c", user, verb == "join").expect("json has it");
    let shown: Value = serde_json::from_slice(behind_head(&frame)).expect("JSON");
    assert_eq!((&shown["type"], &shown["user"]), (&verb.into(), &user.into()));
}

/// All keys of a room stand in one slot of a cluster, begin as our own do, and end with the room.
fn assert_room(prefix: &str, room: &str) {
    let whole = format!("{prefix}{room}");
    // No room has no name. What begins with a closing brace cannot stand in braces, and braces with nothing in
    // them in front of all keys let a cluster see no others.
    if whole.is_empty() || whole.starts_with('}') || prefix.contains("{}") {
        return;
    }
    let Keys { members, users, news } = Keys::of(room, prefix);
    assert_eq!(news, format!("{prefix}{}", news_channel(room, prefix).as_str()));
    assert_eq!(announced_room(&news_channel(room, prefix), prefix), Some(room));
    let own = format!("{prefix}sockway:presence:{{");
    for (key, kind) in [(&members, "members"), (&users, "users"), (&news, "news")] {
        assert!(key.starts_with(&own) && key.ends_with(&format!("}}:{kind}:{room}")), "{key:?}");
        assert_eq!(hashed(key), hashed(&members));
    }
    // A room without a tag that is nothing is hashed as its keys are.
    if !whole.contains(['{', '}']) {
        assert_eq!(hashed(&members), whole);
    }
}

/// What a cluster hashes of a key: written after its specification, not after our own code.
fn hashed(key: &str) -> &str {
    let Some(open) = key.find('{') else { return key };
    match key[open + 1..].find('}') {
        Some(0) | None => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}
