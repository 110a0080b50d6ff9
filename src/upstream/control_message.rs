//! Parses a message of `redis.control_channel`: whose sessions are revoked.

use crate::{bus::Revoke, identity::text, json_object::Object};
use serde::Deserialize;
use serde_json::Value;

/// What a control message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ControlMessage {
    Revoke(Revoke),
    /// It may have been meant to revoke; whom is not known.
    Unclear,
    /// JSON that orders nothing: somebody else's.
    Unrelated,
}

/// Parses `{"disconnect":{"user":"42"}}`, `{"disconnect":{"jti":"…"}}` or `{"jti":"…"}`; a number is the
/// same text as in a token.
///
/// An order of safety whose meaning is plain is obeyed: a byte order mark, and members beside these, are
/// ignored.
pub(super) fn parse(payload: &[u8]) -> ControlMessage {
    let json = payload.trim_ascii();
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json).trim_ascii();
    match revocation(json) {
        Some(revoke) => ControlMessage::Revoke(revoke),
        None if is_unrelated(json) => ControlMessage::Unrelated,
        None => ControlMessage::Unclear,
    }
}

/// `None`: it does not name exactly one user or token.
fn revocation(json: &[u8]) -> Option<Revoke> {
    #[derive(Deserialize)]
    struct Control {
        disconnect: Option<Object<Disconnect>>,
        jti: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Disconnect {
        user: Option<Value>,
        jti: Option<Value>,
    }
    let Object(Control { disconnect, jti }) = serde_json::from_slice(json).ok()?;
    match (disconnect, jti) {
        (Some(Object(Disconnect { user: Some(user), jti: None })), None) => {
            Some(Revoke::User(text(&user)?.into()))
        }
        (Some(Object(Disconnect { user: None, jti: Some(jti) })), None) | (None, Some(jti)) => {
            Some(Revoke::Token(text(&jti)?.into()))
        }
        _ => None,
    }
}

fn is_unrelated(json: &[u8]) -> bool {
    serde_json::from_slice(json).is_ok_and(|value| !orders(&value))
}

/// Whether it orders something, or is a list in which something does.
fn orders(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(orders),
        value => ["disconnect", "jti"].iter().any(|name| value.get(name).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_names_exactly_one_user_or_token() {
        let user = || ControlMessage::Revoke(Revoke::User("42".into()));
        let token = |jti: &str| ControlMessage::Revoke(Revoke::Token(jti.into()));
        for (payload, expected) in [
            (r#"{"disconnect":{"user":"42"}}"#, user()),
            (r#"{"disconnect":{"user":42}}"#, user()),
            (r#"{"disconnect":{"user":42.0}}"#, user()),
            (r#"{"disconnect":{"jti":"a1"}}"#, token("a1")),
            (r#"{"jti":"a1"}"#, token("a1")),
            (r#"{"disconnect":{"jti":7}}"#, token("7")),
            (r#"{"jti":-7}"#, token("-7")),
            (r#"{"disconnect":{}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":null}"#, ControlMessage::Unclear),
            (r#"{"disconnect":"42"}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"user":"42","jti":"a1"}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"user":null}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"user":[42]}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"user":1e300}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"user":42,"user":43}}"#, ControlMessage::Unclear),
            (r#"{"disconnect":{"tenant":"x"}}"#, ControlMessage::Unclear),
            (r#"{"jti":["a1"]}"#, ControlMessage::Unclear),
            // A list of what an object would have names nobody.
            (r#"{"disconnect":["42",null]}"#, ControlMessage::Unclear),
            (r#"{"disconnect":[null,"a1"]}"#, ControlMessage::Unclear),
            (r#"[{"disconnect":{"user":"42"}}]"#, ControlMessage::Unclear),
            (r#"[[{"jti":"a1"},{"jti":"a2"}]]"#, ControlMessage::Unclear),
            (r#"[{"user":"42"},null]"#, ControlMessage::Unrelated),
            (r#"[null,"a1"]"#, ControlMessage::Unrelated),
        ] {
            assert_eq!(parse(payload.as_bytes()), expected, "{payload}");
        }
    }

    #[test]
    fn a_control_message_whose_meaning_is_plain_is_obeyed_whatever_stands_around_it() {
        let user = ControlMessage::Revoke(Revoke::User("42".into()));
        for payload in [
            r#"{"disconnect":{"user":"42","reason":"fired"}}"#,
            r#"{"disconnect":{"at":{"n":[1]},"user":42,"token":"x"},"by":"admin"}"#,
            "\u{feff}{\"disconnect\":{\"user\":\"42\"}}",
            " \r\n\u{feff} {\"disconnect\":{\"user\":\"42\"}}\n\u{c} ",
        ] {
            assert_eq!(parse(payload.as_bytes()), user, "{payload}");
        }
    }

    #[test]
    fn only_json_that_orders_nothing_is_known_to_be_no_revocation() {
        for payload in
            ["{}", r#"["disconnect"]"#, r#"{"user":"42"}"#, "null", "42", "\u{feff}\"x\""]
        {
            assert_eq!(parse(payload.as_bytes()), ControlMessage::Unrelated, "{payload}");
        }
        for payload in ["", "disconnect 42", r#"{"disconnect":{"user":"42"}"#, "{} {}"] {
            assert_eq!(parse(payload.as_bytes()), ControlMessage::Unclear, "{payload}");
        }
    }
}
