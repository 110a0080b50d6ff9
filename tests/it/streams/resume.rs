//! A client that comes back with its position gets what it missed, once and in order, or is told.

use super::{Guest, STREAM, Scene, rooms};
use crate::rig::{Gateway, Redis, Settings};
use serde_json::json;

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

/// Bytes that Redis has sent to everybody.
fn bytes_sent(redis: &Redis) -> u64 {
    let stats = redis.command(&["INFO", "stats"]).text();
    let sent = stats.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    sent.expect("Redis says it").parse().expect("a number")
}

#[test]
fn of_a_million_entries_no_more_are_read_than_may_be_replayed() {
    let scene = Scene::new();
    // In parts, as Redis answers nobody meanwhile.
    let add = "for n = ARGV[1], ARGV[1] + 19999 do redis.call('XADD', KEYS[1], '*', 'data', n) end";
    for first in (1..=1_000_000).step_by(20_000) {
        let _ = scene.redis.command(&["EVAL", add, "1", STREAM, &first.to_string()]);
    }
    let before = bytes_sent(&scene.redis);
    let guest = scene.open("?since=0-0");
    let sent = bytes_sent(&scene.redis) - before;
    assert!(sent < 200_000, "{sent} bytes are more than of 1,001 entries");
    let told = (&guest.ready["recovered"], &guest.ready["reason"], &guest.ready["missed"]);
    assert_eq!(told, (&json!(false), &json!("too_many"), &json!(1_000_000)));
    let mut guest = scene.open("?last=5");
    assert_eq!(guest.ready["replayed"], json!(5));
    guest.entries(999_996..1_000_001);
}

#[test]
fn what_is_trimmed_while_a_client_is_away_is_told() {
    let scene = Scene::new();
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..5);
    let since = guest.since();
    // The next entry is gone, too.
    let _ = scene.redis.command(&["XTRIM", STREAM, "MAXLEN", "4"]);
    assert_eq!(scene.open(&since).ready["reason"], json!("trimmed"));
    guest.entries(5..7);
    let mut back = scene.open(&guest.since());
    assert_eq!(back.ready["recovered"], json!(true));
    back.entries(7..10);
}
