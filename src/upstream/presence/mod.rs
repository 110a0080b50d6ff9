//! Presence: who is in which room, kept in Redis and shared by all instances.
//!
//! One task for all rooms of this instance, with a command connection of its own. It holds each user of its
//! sessions in Redis with a deadline that it moves on three times a `ttl`, hears of the others by the
//! room's announcements, which it subscribes to as a shard does, and tells shards who is there. Promises:
//! after any loss of announcements the roster is read anew; the users of an instance that was killed are
//! announced as gone by the other instances in the room; it waits for no shard, but that the roster for those who
//! have joined is put off while a shard is behind, half a second at most.
//!
//! What is in Redis is a public format: docs/presence.md.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `names` `script` `clock` `user_table`: keys, users and announcements; what runs inside Redis; Redis's
//!    time; users by name
//! 1. `users` `under_way` `command_phase` `output` `canary` `fuzz`: users that are known to be in a room; users
//!    that enter and leave; the connection; what shards are told; what `sockway doctor` tries; a fuzz target
//! 2. `room`: one room: its users here, and what is to be done for it
//! 3. `rooms` `news` `pending_rosters`: all of them, and when something is due; the subscription to their
//!    announcements; rosters that wait for a shard
//! 4. `commands`: what is asked for a room
//! 5. `actor`: the task, and what the answers mean
//! 6. `mod`: what is seen from outside

mod actor;
mod canary;
mod clock;
mod command_phase;
mod commands;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod names;
mod news;
mod output;
mod pending_rosters;
mod room;
mod rooms;
mod script;
mod under_way;
mod user_table;
mod users;

pub(super) use {actor::PresenceActor, canary::Canary};
