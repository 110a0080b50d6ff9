//! The identity that a token gives a client. Made by `auth`, read by channel templates and sessions.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

/// Who the token says. An endpoint with `auth = "none"` has no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The value of `{user}`. Not yet checked against the grammar of template values.
    pub user: Arc<str>,
    /// The claims that a template may name, as text: strings as they are, integers in decimal,
    /// booleans as `true` or `false`; other kinds of claims are left out.
    pub claims: BTreeMap<String, String>,
    /// The token's own name (`jti`), by which one token can be revoked.
    pub token_id: Option<Arc<str>>,
    /// The SHA-256 of the static token; `None` for a JWT. A reload may take that token away.
    pub static_token: Option<Arc<[u8; 32]>>,
    /// When the session must end: the token's `exp` plus the leeway. Static tokens never expire.
    pub expires: Option<SystemTime>,
}
