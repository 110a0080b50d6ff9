//! The inbox: clients' messages in a stream, taken by workers, one of which is killed in the middle.

use super::start;
use crate::rig::{
    Redis, left_out,
    process::Process,
    python::{NO_PYTHON, Peer, python},
    resp::Reply,
    token,
    wait::until,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{collections::BTreeMap, process::Command};

/// Of each client, at most what it may send at once.
const MESSAGES: usize = 10;

/// The worker of the example: it takes over after a second what another has not done, and a message takes it a moment.
fn worker(python: &str, redis: &Redis, name: &str) -> Process {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/inbox_worker.py");
    let mut command = Command::new(python);
    command.args([program, name, "--redis", &redis.url(), "--idle", "1", "--work", "0.05"]);
    Process::start(&mut command)
}

/// How many messages a worker has taken and not acknowledged.
fn taken_by(redis: &Redis, name: &str) -> usize {
    match redis.command(&["XPENDING", "inbox", "workers", "-", "+", "1000", name]) {
        Reply::List(entries) => entries.len(),
        _ => panic!("no list"),
    }
}

/// Sends all the messages of one client; by the id of each, what it says.
fn send(peer: &mut Peer, user: &str) -> BTreeMap<String, Value> {
    let sent: Vec<_> =
        (0..MESSAGES).map(|number| json!({"task": format!("{user} {number}")})).collect();
    for (number, data) in sent.iter().enumerate() {
        peer.send(&json!({"type": "publish", "data": data, "ref": number.to_string()}));
    }
    let mut by_id = BTreeMap::new();
    for (number, data) in sent.into_iter().enumerate() {
        let published = peer.next("published");
        assert_eq!(published["ref"], number.to_string());
        by_id.insert(published["id"].as_str().expect("an id").to_owned(), data);
    }
    by_id
}

#[test]
fn of_two_workers_one_is_killed_in_the_middle_and_no_message_is_lost() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (redis, gateway) = start("inbox.toml");
    let users = ["ann", "bob", "eve", "dan"];
    let mut peers = users.map(|user| {
        let mut peer = Peer::open(&python, gateway.address, "/ws/inbox", &token::of(user));
        peer.next("ready");
        peer
    });
    let sent: Vec<_> = peers.iter_mut().zip(users).map(|(peer, user)| send(peer, user)).collect();

    let doomed = worker(&python, &redis, "doomed");
    let _other = worker(&python, &redis, "other");
    doomed.stdout.wait_for("it has done some", |line| line.starts_with("done").then_some(()));
    doomed.signal(Signal::KILL);
    let left = taken_by(&redis, "doomed");
    assert!(left > 0, "it had taken some that it has not done");

    for (peer, mut waiting) in peers.iter_mut().zip(sent) {
        while !waiting.is_empty() {
            let reply = peer.next("message")["data"].take();
            // One may be answered twice, and only once be new.
            if let Some(data) = waiting.remove(reply["done"].as_str().expect("an id")) {
                assert_eq!(reply["data"], data);
            }
        }
    }
    until("all is acknowledged", || redis.command(&["XLEN", "inbox"]) == Reply::Integer(0));
    assert_eq!(taken_by(&redis, "doomed"), 0, "{left} were taken over");
}
