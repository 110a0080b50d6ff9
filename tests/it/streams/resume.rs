//! A client that comes back with its position gets what it missed, once and in order, or is told.

use super::{Guest, STREAM, Scene, rooms};
use crate::rig::{Gateway, Redis, Settings};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_client_that_is_cut_fifty_times_in_the_middle_of_its_replay_gets_everything_once() {
    const ENTRIES: u64 = 1_000;
    let scene = Scene::new();
    scene.add("\"first\"");
    let mut guest = scene.open("");
    scene.add_all(0..ENTRIES);
    let mut next = 0;
    for _ in 0..50 {
        let more = fastrand::u64(0..60).min(ENTRIES - next);
        guest.entries(next..next + more);
        next += more;
        let since = guest.since();
        guest.client.reset();
        guest = scene.open(&since);
        assert_eq!(guest.ready["recovered"], json!(true), "{}", guest.ready);
    }
    guest.entries(next..ENTRIES);
    scene.add("\"last\"");
    assert_eq!(guest.entry(), json!("last"));
}

#[test]
fn entries_that_come_while_clients_return_come_once_and_at_any_instance() {
    // More than is ever missing: the backend does not wait for the client.
    let rooms = rooms().set("replay_messages", 5_000).set("format", "json");
    let scene = Scene::over(Redis::start(), rooms.clone());
    let settings = Settings::new(&scene.redis).endpoint(rooms);
    let gateways = [&scene.gateway, &Gateway::start(&settings)];
    scene.add("\"first\"");
    let mut guest = scene.open("");
    let backend = std::thread::scope(|scope| {
        let adding = scope.spawn(|| scene.add_all(0..3_000));
        let mut next = 0;
        for turn in 0.. {
            let more = fastrand::u64(0..200).min(3_000 - next);
            guest.entries(next..next + more);
            next += more;
            if next == 3_000 {
                break;
            }
            let since = guest.since();
            guest.client.reset();
            guest = Guest::open(gateways[turn % 2], &since);
            assert_eq!(guest.ready["recovered"], json!(true), "{}", guest.ready);
        }
        adding.join()
    });
    backend.expect("the backend added everything");
}

#[test]
fn of_a_hundred_thousand_entries_no_more_are_read_than_may_be_replayed() {
    let scene = Scene::new();
    let add = "for n = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'data', n) end";
    let _ = scene.redis.command(&["EVAL", add, "1", STREAM]);
    let start = Instant::now();
    let guest = scene.open("?since=0-0");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let told = (&guest.ready["recovered"], &guest.ready["reason"], &guest.ready["missed"]);
    assert_eq!(told, (&json!(false), &json!("too_many"), &json!(100_000)));
    let mut guest = scene.open("?last=5");
    assert_eq!(guest.ready["replayed"], json!(5));
    guest.entries(99_996..100_001);
}

#[test]
fn what_is_trimmed_while_a_client_is_away_is_told() {
    let scene = Scene::new();
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..5);
    let since = guest.since();
    let _ = scene.redis.command(&["XTRIM", STREAM, "MAXLEN", "5"]);
    // It was the entry just before the first one, which nobody can know.
    assert_eq!(scene.open(&since).ready["reason"], json!("trimmed"));
    guest.entries(5..6);
    let mut back = scene.open(&guest.since());
    assert_eq!(back.ready["recovered"], json!(true));
    back.entries(6..10);
}
