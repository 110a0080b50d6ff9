//! Makes tokens for `sockway token` and `sockway dev`.

use super::JwtSettings;
use std::time::{Duration, SystemTime};

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("only a shared secret can sign: `auth.jwt.algorithms` has no HS256, HS384 or HS512")]
    NotHmac,
}

/// Makes a token that the same settings accept from `now` on, for `ttl`.
///
/// # Errors
/// When the settings hold no HMAC secret, or a claim cannot be set.
pub fn mint(
    settings: &JwtSettings,
    user: &str,
    ttl: Duration,
    claims: &[(String, String)],
    now: SystemTime,
) -> Result<String, MintError> {
    let _ = (settings, user, ttl, claims, now);
    unimplemented!()
}
