//! A quarter of an hour of faults and load, for `make soak`: tests that need minutes, thousands of
//! sockets, or bounds in milliseconds that a busy machine may break. Release build, one test at a
//! time, on loopback, bounded; figures are printed.

mod bounds;
mod masses;
mod memory;
mod mix;
mod outages;
#[path = "../it/rig/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the rig of tests/it, of which this binary needs a part"
)]
mod rig;
mod truth;

use crate::rig::{Gateway, Request, crowd::Plan, oracle::Ledger};
use std::time::{Duration, Instant};

/// A client of one room, which is one channel.
fn in_room(gateway: &Gateway, room: &str) -> Plan {
    let ledger = Ledger::of(&[(&format!("room:{room}"), None)]);
    Plan::new(gateway.address, Request::upgrade(&format!("/ws/rooms/{room}")), ledger)
}

/// Polls every millisecond until the fact holds; prints and returns how long that took.
#[track_caller]
fn time_until(what: &str, limit: Duration, mut fact: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    say(&format!("{what}: {:?}", start.elapsed()));
    start.elapsed()
}

#[expect(clippy::print_stderr, reason = "the figures are what the soak is run for")]
fn say(figure: &str) {
    eprintln!("    {figure}");
}
