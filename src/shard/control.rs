//! Parses a message on `redis.control_channel`: whose sessions it revokes.

use crate::identity::text;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// Whose sessions must end now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Revoked {
    User(String),
    Token(String),
}

/// Reads `{"disconnect":{"user":"42"}}`, `{"disconnect":{"jti":"…"}}` or `{"jti":"…"}`. Anything
/// else means nothing: `None`. A number is its text, as in a token (`"sub":42`).
pub(super) fn parse(payload: &[u8]) -> Option<Revoked> {
    #[derive(Deserialize)]
    struct Control {
        disconnect: Option<Who>,
        #[serde(default, deserialize_with = "name")]
        jti: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Who {
        #[serde(default, deserialize_with = "name")]
        user: Option<String>,
        #[serde(default, deserialize_with = "name")]
        jti: Option<String>,
    }
    match serde_json::from_slice(payload).ok()? {
        Control { disconnect: Some(Who { user: Some(user), jti: None }), jti: None } => {
            Some(Revoked::User(user))
        }
        Control { disconnect: Some(Who { user: None, jti: Some(jti) }), jti: None }
        | Control { disconnect: None, jti: Some(jti) } => Some(Revoked::Token(jti)),
        Control { .. } => None,
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    value.map(|value| text(&value).ok_or_else(|| D::Error::custom("not a name"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_message_names_exactly_one_user_or_token() {
        let user = Some(Revoked::User("42".to_owned()));
        let token = Some(Revoked::Token("a1".to_owned()));
        for (payload, expected) in [
            (r#"{"disconnect":{"user":"42"}}"#, user.clone()),
            (r#"{"disconnect":{"user":42}}"#, user),
            (r#"{"disconnect":{"jti":7}}"#, Some(Revoked::Token("7".to_owned()))),
            (r#"{"jti":7}"#, Some(Revoked::Token("7".to_owned()))),
            (r#"{"disconnect":{"jti":"a1"}}"#, token.clone()),
            (r#"{"jti":"a1"}"#, token),
            (r#"{"disconnect":{}}"#, None),
            (r#"{"disconnect":{"user":"42","jti":"a1"}}"#, None),
            (r#"{"disconnect":{"user":["42"]}}"#, None),
            (r#"{"disconnect":{"user":null}}"#, None),
            (r#"{"disconnect":{"tenant":"x"}}"#, None),
            (r#"["disconnect"]"#, None),
            ("", None),
        ] {
            assert_eq!(parse(payload.as_bytes()), expected, "{payload}");
        }
    }
}
