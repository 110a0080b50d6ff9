//! Publishing by HTTP (`[http_publish]`).
//!
//! A connection is one task on a shard, beside that shard's sessions, so nothing here runs for long without
//! yielding. Each request's head is read like that of a handshake; hyper does the rest of the exchange: the body, by length or chunked, `100 Continue`, and the answer. Promises: no byte of a body is
//! asked for before the token is known; every answer says in one stable form what is certain about the
//! messages; nothing is published twice by us.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `fault` `rate`: what is told to callers; limits of tokens
//! 1. `authority` `body` `chunks` `length`: who may publish where, swapped by a reload; JSON bodies; where a body ends
//! 2. `exchange` `fuzz`: hyper's part; a fuzz target
//! 3. `answer` `receive`: how answers look; the body of a request
//! 4. `request`: from one request to its answer
//! 5. `connection`: one request after the other
//! 6. `mod`: what the rest of the public port sees of it

mod answer;
mod authority;
mod body;
mod chunks;
mod connection;
mod exchange;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod length;
#[cfg(test)]
mod openapi_tests;
mod rate;
mod receive;
mod request;

pub(super) use authority::Publishing;
pub(super) use connection::{Connection, close};
