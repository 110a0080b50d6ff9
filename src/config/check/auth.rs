//! `[auth]` and `[[auth.token]]`.

use super::{jwt, one_of, some_text};
use crate::identity::Claims;
use crate::{
    auth::{Auth, Reject, Source, StaticToken},
    config::{
        mask,
        reader::{At, Table},
    },
};
use std::sync::Arc;

/// What the rest of the check needs to know of `[auth]`.
pub(super) struct CheckedAuth {
    /// `None` only after a problem was recorded.
    pub(super) checked: Option<Arc<Auth>>,
    /// Whether anything is there (right or wrong) that could make a token valid.
    pub(super) verifies_tokens: bool,
}

pub(super) fn auth(table: &mut Table<'_, '_>, any_origin: bool) -> CheckedAuth {
    let verifies_tokens = table.has("jwt") || table.has_some("token");
    let sources = sources(table, any_origin);
    let reject = table.text(
        "reject",
        "status",
        one_of(&[("status", Reject::Status), ("close", Reject::Close)]),
    );
    let jwt = table.optional_table("jwt", jwt::jwt);
    let tokens = tokens(table);
    let checked = match (reject, jwt) {
        (Some(reject), None) => Some(Auth::new(sources, reject, None, tokens)),
        (Some(reject), Some(Some(jwt))) => Some(Auth::new(sources, reject, Some(jwt), tokens)),
        _ => None,
    };
    CheckedAuth { checked: checked.map(Arc::new), verifies_tokens }
}

fn sources(table: &mut Table<'_, '_>, any_origin: bool) -> Vec<Source> {
    let sources =
        table.filled_list("sources", &["query:token", "header", "subprotocol"], Source::parse);
    for (number, At { place, value }) in sources.iter().enumerate() {
        if sources[..number].iter().any(|other| other.value == *value) {
            table.problem_at(place, "is in the list already");
        }
        if any_origin && matches!(value, Source::Cookie(_)) {
            // Browsers send cookies with every site's sockets, so any page could open one.
            table.problem_at(place, "a cookie as token demands server.allowed_origins");
        }
    }
    sources.into_iter().map(|source| source.value).collect()
}

/// Every good `[[auth.token]]`.
fn tokens(table: &mut Table<'_, '_>) -> Vec<StaticToken> {
    let mut seen: Vec<[u8; 32]> = Vec::new();
    let tokens = table.tables("token", |table| {
        let sha256 = table.required_secret_text("sha256", mask::mask_all, sha256);
        let user = table.required_text_or_number("user", some_text);
        let claims = Claims::new(table.claims("claims"));
        if let Some(sha256) = sha256 {
            if seen.contains(&sha256) {
                table.problem("sha256", "is the token of an earlier [[auth.token]]");
            }
            seen.push(sha256);
        }
        Some(StaticToken { sha256: sha256?, user: user?, claims })
    });
    tokens.into_iter().flatten().collect()
}

pub(super) fn sha256(text: &str) -> Result<[u8; 32], &'static str> {
    const EXPECTED: &str = "must be 64 hexadecimal digits: the SHA-256 of the token";
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(EXPECTED);
    }
    let mut hash = [0; 32];
    for (number, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * number..][..2], 16).map_err(|_| EXPECTED)?;
    }
    Ok(hash)
}
