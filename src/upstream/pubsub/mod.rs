//! Publish and subscribe: what shards want is made true on one node, and what it sends is routed.
//!
//! One set for each node. Rooms: `actor` the task · `subscriber` one life of the connection that
//! subscribes, `outstanding` its unanswered commands, `internal` our own channels on it · `table` who wants what · `probe` when is it alive ·
//! `primary` which server it is · `pause` when it is not read · `revocation_gap` whether revocations
//! were missed.

mod actor;
mod internal;
mod outstanding;
mod pause;
mod primary;
mod probe;
mod revocation_gap;
mod subscriber;
mod table;

pub(super) use actor::Actor;
pub(super) use primary::Target;
pub(super) use probe::Probe;
pub(super) use table::{Node, Route, Table};
