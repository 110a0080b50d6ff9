//! The claims of a token, and its header: JSON objects, read strictly.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A JSON object without duplicate names: of two, the issuer might have meant the one and we would take
/// the other.
pub(super) struct Claims(BTreeMap<String, Value>);

/// The last second of the year 9999. A later `exp` is a mistake of the issuer, milliseconds for seconds as a
/// rule, and would make a token that never expires.
pub(super) const LAST_DATE_SECONDS: u64 = 253_402_300_799;

impl Claims {
    pub(super) fn decode(part: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A date in seconds since 1970. `None`: it is there but no date; `Some(None)`: it is absent.
    #[allow(clippy::option_option)]
    pub(super) fn date(&self, name: &str) -> Option<Option<SystemTime>> {
        let Some(value) = self.0.get(name) else { return Some(None) };
        // Every whole second up to the bound is exact in an `f64`.
        let seconds =
            value.as_f64().filter(|seconds| (0.0..=LAST_DATE_SECONDS as f64).contains(seconds))?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds)).map(Some)
    }

    /// The `kid` of a header. `None`: it is there but no string; `Some(None)`: it is absent.
    #[allow(clippy::option_option)]
    pub(super) fn key_id(&self) -> Option<Option<&str>> {
        self.0.get("kid").map_or(Some(None), |kid| kid.as_str().map(Some))
    }

    /// Whether `iss` is one of these; they are all accepted when the list is empty.
    pub(super) fn is_from(&self, issuers: &[String]) -> bool {
        let issuer = || self.text("iss");
        issuers.is_empty() || issuer().is_some_and(|issuer| issuers.iter().any(|one| one == issuer))
    }

    /// Whether `aud` names one of these, alone or in a list of strings; an empty list accepts everything.
    pub(super) fn is_for(&self, audience: &[String]) -> bool {
        let names_us = |value: &Value| {
            value.as_str().is_some_and(|name| audience.iter().any(|one| one == name))
        };
        match self.0.get("aud") {
            _ if audience.is_empty() => true,
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string) && names.iter().any(names_us)
            }
            Some(name) => names_us(name),
            None => false,
        }
    }

    /// The user that a claim names: a string that is not empty, or a whole number.
    pub(super) fn user(&self, name: &str) -> Option<Arc<str>> {
        match self.0.get(name)? {
            Value::Bool(_) => None,
            value => text(value).filter(|user| !user.is_empty()).map(Arc::from),
        }
    }

    /// Every claim that is a single value, as text.
    pub(super) fn texts(self) -> BTreeMap<String, String> {
        self.0.into_iter().filter_map(|(name, value)| Some((name, text(&value)?))).collect()
    }
}

/// A claim as text: strings as they are, integers in decimal, booleans. Not floats: `1e2` and `100` would be
/// one number and two texts.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Claims(claims))
    }
}
