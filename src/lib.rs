//! Sockway carries Redis pub/sub messages and streams to authenticated clients, by WebSocket or Server-Sent
//! Events.
//!
//! The layers, each of which may use only those above it in this list:
//!
//! 0. `reason` `carrier` `channel` `stream_id` `secret` `identity` `phase` `liveness` `log_throttle` `error_chain` `json_object`:
//!    closed vocabularies and plain values
//! 1. `message` `metrics`: a message and its encodings; every series
//! 2. `net`: sockets: listener, TCP, TLS, unix
//! 3. `wire` `bus`: how everything looks to a client; what crosses between upstream and shards
//! 4. `endpoint` `auth`: path → endpoint → channels; token → identity
//! 5. `config`: what was written → what may run
//! 6. `upstream` `shard`: the Redis side; the threads that own sessions
//! 7. `server` `admin` `lifecycle`: the public port; the private port; phases and signals
//! 8. `app`: the composition root
//! 9. `cli`: commands and exit statuses
//! 10. `fuzz`: what fuzz targets do; only in tests and under a fuzzer
//!
//! `testing` is for tests alone, of any layer.
//!
//! A test (`tests/layers.rs`) checks every `crate::` path against this list. A folder whose `mod.rs`
//! has such a list of its own is checked inside, too.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod bus;
pub(crate) mod carrier;
pub(crate) mod channel;
pub mod cli;
pub mod config;
pub(crate) mod endpoint;
pub(crate) mod error_chain;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub(crate) mod identity;
pub(crate) mod json_object;
pub(crate) mod lifecycle;
pub(crate) mod liveness;
pub(crate) mod log_throttle;
pub(crate) mod message;
pub mod metrics;
pub(crate) mod net;
pub(crate) mod phase;
pub(crate) mod reason;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod shard;
pub(crate) mod stream_id;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod upstream;
pub(crate) mod wire;

/// The version of this build, from `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this build was made from, when the build was told (`SOCKWAY_REVISION`).
pub const REVISION: &str = match option_env!("SOCKWAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
