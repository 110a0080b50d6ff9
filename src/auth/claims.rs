//! A token's header and its claims: what their registered members say.

use super::strict_json;
use crate::identity::{Claims, find_claim, text, user_text};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The JSON object of one part of a token.
pub(super) struct Members(Map<String, Value>);

/// The last second of the year 9999. A later `exp` is a mistake of the issuer, milliseconds for seconds as a
/// rule, and would make a token that never expires.
pub(super) const LAST_DATE_SECONDS: u64 = 253_402_300_799;

impl Members {
    pub(super) fn decode(part: &str) -> Option<Self> {
        strict_json::object(&URL_SAFE_NO_PAD.decode(part).ok()?).map(Self)
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

    /// The user that a claim names, by its name as in a template: a string that is not empty, or a whole
    /// number.
    pub(super) fn user(&self, name: &str) -> Option<Arc<str>> {
        find_claim(&self.0, name).and_then(user_text).map(Arc::from)
    }

    /// The token's own name, by which it can be revoked. `None`: it is there but has no exact text, so
    /// that no message could name it; `Some(None)`: it is absent.
    #[allow(clippy::option_option)]
    pub(super) fn token_id(&self) -> Option<Option<Arc<str>>> {
        self.0.get("jti").map_or(Some(None), |id| text(id).map(Arc::from).map(Some))
    }

    pub(super) fn into_claims(self) -> Claims {
        Claims::new(self.0)
    }
}
