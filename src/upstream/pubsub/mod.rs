//! Publish and subscribe on one node: subscribes to what shards want, and routes what it sends.
//!
//! One set of these for each node.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `table` `probe` `outstanding` `put_off` `internal_channel` `pause` `revocation_gap`: who
//!    wants what; is the subscription alive; unanswered commands; what is asked
//!    again; channels of our own; when it is not read; whether revocations were missed
//! 1. `router`: from what arrives into the shards' rings
//! 2. `node`: what is known of the node, from one connection to the next
//! 3. `subscriber`: the connection that subscribes
//! 4. `actor`: the task
//! 5. `mod`: what is seen from outside

mod actor;
mod internal_channel;
mod node;
mod outstanding;
mod pause;
mod probe;
mod put_off;
mod revocation_gap;
mod router;
mod subscriber;
mod table;

pub(super) use actor::Actor;
