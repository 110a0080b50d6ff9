//! Tokens, good and bad, made by the test and not by Sockway.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The key that every test gateway is configured with.
pub(crate) const SECRET: &str = "only the integration tests know this secret";

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(elapsed.as_secs()).expect("before the year 292,000,000,000")
}

/// A valid token of this user, for an hour.
pub(crate) fn of(user: &str) -> String {
    signed(&json!({ "sub": user, "exp": now() + 3600 }))
}

/// A token with these claims, correctly signed.
pub(crate) fn signed(claims: &Value) -> String {
    made(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET.as_bytes())
}

/// A token with this header, these claims and an HMAC-SHA-256 by this key, whatever the header
/// says.
pub(crate) fn made(header: &Value, claims: &Value, key: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    signed_by(header, claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// A token with this header, these claims, and the signature that `sign` returns.
pub(crate) fn signed_by(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let body = format!("{}.{}", text(header), text(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(body.as_bytes()));
    format!("{body}.{signature}")
}

/// The SHA-256 of a static token, as `[[auth.token]]` expects it.
pub(crate) fn sha256(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
