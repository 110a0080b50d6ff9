//! Clients that read slowly: a replay waits for its client, and what does not fit is told.

use super::{Guest, STREAM, Scene, rooms};
use crate::rig::{Client, Endpoint, Frame, Redis, Request, wait::until};
use serde_json::{Value, json};

const ENTRIES: u64 = 1_000;

/// So many of these are more than the kernel buffers between the two ends.
fn large(number: u64) -> Value {
    json!(format!("{number:0>16384}"))
}

fn narrow(scene: &Scene, target: &str) -> Guest {
    Guest::over(Client::open_narrow(scene.gateway.address, &Request::upgrade(target)))
}

/// Adds the entries with these numbers, and returns their ids.
fn add_large(scene: &Scene, numbers: std::ops::Range<u64>) -> Vec<String> {
    let mut backend = scene.redis.connect();
    let payloads = numbers.map(|number| large(number).to_string());
    payloads.map(|it| backend.command(&["XADD", STREAM, "*", "data", &it]).text()).collect()
}

/// Reads entries from this number on up to the end of the connection.
fn read_to_the_end(guest: &mut Guest, next: &mut u64) -> Frame {
    loop {
        match guest.client.event() {
            Frame::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(frame["data"], large(*next));
                frame["id"].as_str().expect("an id").clone_into(&mut guest.position);
                *next += 1;
            }
            other => return other,
        }
    }
}

fn with_small_queue(on_slow: &str) -> Endpoint {
    // The rest fits into one replay.
    let rooms = rooms().set("queue_messages", 16).set("replay_bytes", "64MiB");
    rooms.set("on_slow", on_slow).set("write_timeout", "60s")
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_a_replay_that_is_larger_than_its_queue() {
    const ENTRIES: usize = 300;
    let payload = |number: usize| format!("{number:0>16384}");
    let rooms = rooms().set("queue_messages", 20).set("replay_bytes", "16MiB");
    let scene = Scene::over(Redis::start(), rooms);
    for number in 0..ENTRIES {
        scene.add(&format!("\"{}\"", payload(number)));
    }
    let target = "/ws/rooms/7?since=0-0";
    let narrow = Client::open_narrow(scene.gateway.address, &Request::upgrade(target));
    let mut quick = scene.open("");
    let mut slow = Guest::over(narrow);
    assert_eq!(slow.ready["replayed"], json!(ENTRIES));
    scene.add("\"live\"");
    assert_eq!(quick.entry(), json!("live"));
    for number in 0..ENTRIES {
        assert_eq!(slow.entry(), json!(payload(number)));
    }
    assert_eq!(slow.entry(), json!("live"));
}

#[test]
fn a_slow_reader_is_closed_with_4008_and_comes_back_for_the_rest() {
    let scene = Scene::over(Redis::start(), with_small_queue("close"));
    let mut guest = narrow(&scene, "/ws/rooms/7");
    let series = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    let missed = "sockway_missed_messages_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    let mut next = 0;
    let closed = std::thread::scope(|scope| {
        scope.spawn(|| add_large(&scene, 0..ENTRIES));
        until("it is too slow", || scene.gateway.metrics().get(missed) >= 1.0);
        read_to_the_end(&mut guest, &mut next)
    });
    assert_eq!(closed, Frame::Close(4008, "slow_consumer".to_owned()));
    assert!(next < ENTRIES, "it was not slow");
    drop(guest.client);
    scene.gateway.wait_metric(series, 1.0);
    let mut guest = scene.open(&format!("?since={}", guest.position));
    assert_eq!(guest.ready["recovered"], json!(true), "{}", guest.ready);
    for number in next..ENTRIES {
        assert_eq!(guest.entry(), large(number));
    }
}

#[test]
fn what_a_slow_reader_skips_is_told_with_the_number_and_where_it_goes_on() {
    for on_slow in ["skip", "latest"] {
        let scene = Scene::over(Redis::start(), with_small_queue(on_slow));
        let mut quick = scene.gateway.open("/ws/raw/7");
        let mut slow = narrow(&scene, "/ws/rooms/7");
        let ids = std::thread::scope(|scope| {
            let adding = scope.spawn(|| add_large(&scene, 0..ENTRIES));
            (0..ENTRIES).for_each(|_| drop(quick.text()));
            adding.join().expect("the backend added everything")
        });
        let (mut next, mut missed) = (0, 0);
        while next < ENTRIES {
            let frame = slow.next();
            if frame["type"] == "gap" {
                assert_eq!(frame["reason"], json!("slow_consumer"));
                let told = frame["missed"].as_u64().expect("a number");
                (next, missed) = (next + told, missed + told);
                assert_eq!(
                    frame["id"],
                    json!(ids[next as usize - 1]),
                    "{on_slow}: the last that is missed"
                );
            } else {
                assert_eq!(frame["data"], large(next), "{on_slow}");
                next += 1;
            }
        }
        assert!(missed > 0, "it was not slow");
    }
}
