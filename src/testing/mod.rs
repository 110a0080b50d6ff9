//! For tests alone: configurations and endpoints, read from TOML as a user's are, and both ends of TLS.
//!
//! What a test does not write has the default that users get. Rigs stand with the part that they run:
//! `shard/rig.rs`, `server/rig.rs`.

pub(crate) mod tls;

use crate::{
    config::{self, Config},
    endpoint::Endpoint,
};
use std::sync::Arc;

/// A static token that stands for user 42.
pub(crate) const TOKEN: &str = "canary-token-of-user-42";

/// What a configuration needs for [`TOKEN`] to be accepted.
pub(crate) const AUTH: &str = r#"
[[auth.token]]
sha256 = "85d98e49ea96fcec017ab45f03f9a214888510d44abf48c5b4f035b8171fdae9"
user = "42"
"#;

/// A configuration, by its text.
pub(crate) fn config(text: &str) -> Config {
    match config::parse_with(text, "test.toml", &|_| None) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{}\n---\n{text}", error.report()),
    }
}

/// The endpoint `test` at `/ws`, with the channel `orders`.
pub(crate) fn endpoint() -> Endpoint {
    endpoint_at("/ws", &["orders"])
}

/// The endpoint `test` at this path, with these channels.
pub(crate) fn endpoint_at(path: &str, channels: &[&str]) -> Endpoint {
    let text = format!(
        "[[endpoint]]\nname = \"test\"\npath = \"{path}\"\nchannels = {channels:?}\n{AUTH}"
    );
    let endpoint = config(&text).endpoints.remove(0);
    Arc::into_inner(endpoint).expect("nobody else has this endpoint")
}
