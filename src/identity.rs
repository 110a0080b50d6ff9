//! The identity that a token gives a client. Made by `auth`, read by channel templates and sessions.

use serde_json::{Map, Number, Value};
use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

/// Who the token says. An endpoint with `auth = "none"` has no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The value of `{user}`. Not yet checked against the grammar of template values.
    pub user: Arc<str>,
    pub claims: Claims,
    /// The token's own name (`jti`), by which one token can be revoked.
    pub token_id: Option<Arc<str>>,
    /// The SHA-256 of the static token; `None` for a JWT. A reload may take that token away.
    pub static_token: Option<Arc<[u8; 32]>>,
    /// When the session must end: the token's `exp` plus the leeway. Static tokens never expire.
    pub expires: Option<SystemTime>,
    /// By which the very same token is known again; `None` where no client has sent one.
    pub fingerprint: Option<TokenFingerprint>,
}

/// A token's hash under a key of this process, four bytes in place of the token. Two tokens with one
/// fingerprint cannot be found from outside, and it proves nothing about a token: it says only that
/// this one was seen before, and of one new token in four thousand million it says so wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenFingerprint(NonZeroU32);

impl TokenFingerprint {
    /// The fingerprint of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let [_, _, _, _, hash @ ..] = KEY.hash_one(token).to_ne_bytes();
        Self(NonZeroU32::new(u32::from_ne_bytes(hash)).unwrap_or(NonZeroU32::MIN))
    }
}

/// The claims of a token, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

/// Why a claim gives no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("is missing")]
    Missing,
    #[error("is an object, null, a list of such, or a number that has no exact text")]
    Unusable,
}

impl Claims {
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// A claim by its name: one of that whole name, else `a.b` reaches into the object `a`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Value> {
        find_claim(&self.0, name)
    }

    /// A claim as text: one for a single value, one for each item of a list.
    ///
    /// # Errors
    /// When there is no such claim, or one of its values has no text.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, ClaimError> {
        match self.find(name).ok_or(ClaimError::Missing)? {
            Value::Array(items) => items.iter().map(text).collect::<Option<_>>(),
            value => text(value).map(|text| vec![text]),
        }
        .ok_or(ClaimError::Unusable)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Claims {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(claims: I) -> Self {
        Self(claims.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// [`Claims::find`]. The longest name first, since names may have dots of their own
/// (`https://example.com/roles`).
#[must_use]
pub fn find_claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        name.rmatch_indices('.')
            .find_map(|(at, _)| find_claim(claims.get(&name[..at])?.as_object()?, &name[at + 1..]))
    })
}

/// A single value as text: strings as they are, numbers in decimal, booleans. The same number is the
/// same text, however it was written: `7`, `7.0` and `70e-1` are all `7`.
#[must_use]
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number_text(number),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value as a user: a text that is not empty, or a whole number, as [`text`] has it.
#[must_use]
pub fn user_text(value: &Value) -> Option<String> {
    match value {
        Value::String(user) => Some(user.clone()).filter(|user| !user.is_empty()),
        Value::Number(number) if is_whole(number) => number_text(number),
        _ => None,
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// `None`: so large that it has lost digits, and two numbers could have one text.
fn number_text(number: &Number) -> Option<String> {
    /// 2⁵³: up to here every whole number has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64().filter(|_| number.is_f64()) {
        None => Some(number.to_string()),
        Some(float) if float.abs() >= EXACT => None,
        #[allow(clippy::cast_possible_truncation)] // It is whole, and within the bound.
        Some(float) if float.fract() == 0.0 => Some((float as i64).to_string()),
        Some(float) => Some(float.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Claims {
        let Value::Object(claims) = json!({
            "tenant": "acme", "level": -7, "whole": 7.0, "half": 1.5, "huge": 1e300, "admin": true,
            "groups": ["a", 2, false], "none": [], "mixed": ["a", null], "deep": [["a"]],
            "object": {}, "null": null, "realm": {"roles": ["x"], "a.b": {"c": 1}},
            "realm.roles.own": "whole", "https://example.com/app": {"role": "r"},
        }) else {
            unreachable!()
        };
        Claims::new(claims)
    }

    #[test]
    fn a_single_value_is_one_text_and_a_list_one_for_each_item() {
        for (name, texts) in [
            ("tenant", vec!["acme"]),
            ("level", vec!["-7"]),
            ("whole", vec!["7"]),
            ("half", vec!["1.5"]),
            ("admin", vec!["true"]),
            ("groups", vec!["a", "2", "false"]),
            ("none", vec![]),
        ] {
            assert_eq!(claims().texts(name).unwrap(), texts, "{name}");
        }
        for name in ["huge", "mixed", "deep", "object", "null", "realm"] {
            assert_eq!(claims().texts(name), Err(ClaimError::Unusable), "{name}");
        }
    }

    #[test]
    fn a_name_is_looked_for_whole_and_then_reaches_into_objects() {
        for (name, text) in [
            ("realm.roles", "x"),
            ("realm.roles.own", "whole"),
            ("realm.a.b.c", "1"),
            ("https://example.com/app.role", "r"),
        ] {
            assert_eq!(claims().texts(name).unwrap(), [text], "{name}");
        }
        for name in
            ["", ".", "realm.", ".roles", "realm.role", "tenant.x", "groups.0", "realm..roles"]
        {
            assert_eq!(claims().texts(name), Err(ClaimError::Missing), "{name}");
        }
    }
}
