//! JSON Web Tokens, HS256, as a backend would mint them for its users.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

/// The key of both sides, used only in the benchmark.
pub const SECRET: &str = "a secret for benchmarks and nothing else";

/// What may publish by HTTP, likewise.
pub const PUBLISH: &str = "a token that publishes in benchmarks";

const VALID_SECONDS: u64 = 24 * 60 * 60;

/// A token for the user `sub`.
#[must_use]
pub fn mint(sub: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = format!(r#"{{"sub":"{sub}","iat":{now},"exp":{}}}"#, now + VALID_SECONDS);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes any key");
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// How the configuration names [`PUBLISH`].
#[must_use]
pub fn publish_hash() -> String {
    Sha256::digest(PUBLISH).iter().map(|byte| format!("{byte:02x}")).collect()
}
