//! Parses a message of `redis.control_channel`: whose sessions are revoked.

use crate::{bus::Revoke, identity::text};
use serde::Deserialize;
use serde_json::Value;

/// Reads `{"disconnect":{"user":"42"}}`, `{"disconnect":{"jti":"…"}}` or `{"jti":"…"}`; a number is the
/// same text as in a token. Anything else means nothing: `None`.
pub(super) fn parse(payload: &[u8]) -> Option<Revoke> {
    #[derive(Deserialize)]
    struct Control {
        disconnect: Option<Disconnect>,
        jti: Option<Value>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Disconnect {
        user: Option<Value>,
        jti: Option<Value>,
    }
    match serde_json::from_slice(payload).ok()? {
        Control { disconnect: Some(Disconnect { user: Some(user), jti: None }), jti: None } => {
            Some(Revoke::User(text(&user)?.into()))
        }
        Control { disconnect: Some(Disconnect { user: None, jti: Some(jti) }), jti: None }
        | Control { disconnect: None, jti: Some(jti) } => Some(Revoke::Token(text(&jti)?.into())),
        Control { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_names_exactly_one_user_or_token() {
        let user = Some(Revoke::User("42".into()));
        let token = Some(Revoke::Token("a1".into()));
        for (payload, expected) in [
            (r#"{"disconnect":{"user":"42"}}"#, user.clone()),
            (r#"{"disconnect":{"user":42}}"#, user.clone()),
            (r#"{"disconnect":{"user":42.0}}"#, user),
            (r#"{"disconnect":{"jti":"a1"}}"#, token.clone()),
            (r#"{"jti":"a1"}"#, token),
            (r#"{"disconnect":{"jti":7}}"#, Some(Revoke::Token("7".into()))),
            (r#"{"jti":-7}"#, Some(Revoke::Token("-7".into()))),
            (r#"{"disconnect":{}}"#, None),
            (r#"{"disconnect":{"user":"42","jti":"a1"}}"#, None),
            (r#"{"disconnect":{"user":null}}"#, None),
            (r#"{"disconnect":{"user":[42]}}"#, None),
            (r#"{"disconnect":{"user":42,"user":43}}"#, None),
            (r#"{"disconnect":{"tenant":"x"}}"#, None),
            (r#"["disconnect"]"#, None),
            ("", None),
        ] {
            assert_eq!(parse(payload.as_bytes()), expected, "{payload}");
        }
    }
}
