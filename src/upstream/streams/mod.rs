//! Streams: follows those that shards want, and reads what is in them already for sessions that return.
//!
//! Redis only says that a key has changed (CLIENT TRACKING); the stream is then read on from the
//! gateway's own place. A change that is told late, twice or not at all can lose, repeat or disorder
//! nothing.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `place` `canary` `link_phase`: what it means that an entry is gone; does Redis tell changes; dials
//! 1. `table` `health`: who wants what, how far it is read; status and log
//! 2. `stream_queues` `reading_order` `reading`: the shards' rings; what is read next; one reading
//! 3. `marks`: shards that wait for one more reading
//! 4. `tail`: what is known of streams, from one link to the next
//! 5. `tail_link` `pages`: the connection that reads tails; the one that reads pages
//! 6. `actor`: the task
//! 7. `mod`: what is seen from outside

mod actor;
mod canary;
mod health;
mod link_phase;
mod marks;
mod pages;
mod place;
mod reading;
mod reading_order;
mod stream_queues;
mod table;
mod tail;
mod tail_link;

pub(super) use actor::StreamActor;
