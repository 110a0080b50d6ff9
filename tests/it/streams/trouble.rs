//! Streams that are deleted, trimmed and lost, and links that break: what can come comes, and the rest is told.

use super::{Guest, STREAM, Scene, rooms};
use crate::rig::{
    Gateway, Redis, Settings,
    proxy::{Proxy, Weather},
    resp::Reply,
    wait::until,
};
use serde_json::{Value, json};

#[test]
fn a_stream_that_is_deleted_comes_whole_when_it_is_made_anew() {
    for delete in [&["DEL", STREAM][..], &["FLUSHALL"]] {
        let scene = Scene::new();
        scene.add_all(0..5);
        let mut guest = scene.open("?last=5");
        guest.entries(0..5);
        let since = guest.since();
        let _ = scene.redis.command(delete);
        until("the gateway has seen it", || {
            let ready = scene.open("").ready;
            ready["id"] == json!("0-0")
        });
        assert_eq!(scene.open(&since).ready["reason"], json!("reset"));
        scene.add_all(5..8);
        guest.entries(5..8);
    }
}

#[test]
fn a_redis_that_keeps_everything_is_killed_and_nothing_is_lost_or_told() {
    let redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut scene = Scene::over(redis, rooms());
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..3);
    scene.lose_redis();
    scene.refused("?since=1-0", 503, "redis_unavailable");
    scene.bring_redis_back();
    scene.add_all(10..15);
    guest.entries(3..15);
}

#[test]
fn a_redis_that_forgets_everything_is_told_and_nothing_comes_twice() {
    let mut scene = Scene::new();
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..10);
    let since = guest.since();
    scene.lose_redis();
    scene.bring_redis_back();
    let gap = guest.next();
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("stream_reset")));
    assert_eq!(gap["missed"], Value::Null);
    assert_eq!(scene.open(&since).ready["reason"], json!("reset"));
    scene.add_all(10..12);
    guest.entries(10..12);
}

#[test]
fn a_redis_that_syncs_every_second_is_killed_and_what_it_lost_is_told_if_it_was_sent() {
    let redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut scene = Scene::over(redis, rooms());
    let mut guest = scene.open("");
    scene.add_all(0..200);
    guest.entries(0..100);
    scene.lose_redis();
    scene.bring_redis_back();
    let kept = scene.redis.command(&["XLEN", STREAM]);
    let is_all = kept == Reply::Integer(200);
    scene.add("\"last\"");
    let (mut next, mut is_told) = (100, false);
    loop {
        let frame = guest.next();
        if frame["type"] == "gap" {
            assert_eq!(frame["reason"], json!("stream_reset"));
            assert!(!is_all, "nothing is lost");
            is_told = true;
        } else if frame["data"] == "last" {
            break;
        } else {
            assert_eq!((&frame["data"], is_told), (&json!(next), false));
            next += 1;
        }
    }
    assert!(!is_all || next == 200, "{next}");
}

#[test]
fn a_redis_that_comes_back_without_its_newest_entries_is_told_and_none_comes_twice() {
    let mut scene = Scene::over(Redis::start_with(&["--dbfilename", "kept.rdb"]), rooms());
    scene.add_all(0..5);
    let _ = scene.redis.command(&["SAVE"]);
    let mut guest = scene.open("?last=5");
    scene.add_all(5..10);
    guest.entries(0..10);
    let since = guest.since();
    scene.lose_redis();
    scene.bring_redis_back();
    let gap = guest.next();
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("stream_reset")));
    assert_eq!(scene.open(&since).ready["reason"], json!("reset"));
    let place = guest.since();
    scene.add_all(10..12);
    guest.entries(10..12);
    let mut back = scene.open(&place);
    assert_eq!(back.ready["recovered"], json!(true), "what was told is a position");
    back.entries(10..12);
}

#[test]
fn a_stream_of_one_entry_at_most_is_followed_at_a_thousand_a_second_and_every_loss_is_counted() {
    let scene = Scene::new();
    let mut guest = scene.open("");
    let redis = &scene.redis;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut backend = redis.connect();
            for number in 0..2_000_u64 {
                let number = number.to_string();
                let _ = backend.command(&["XADD", STREAM, "MAXLEN", "1", "*", "data", &number]);
                std::thread::sleep(std::time::Duration::from_micros(900)); // the rate under test
            }
        });
        let (mut next, mut gaps) = (0, 0);
        while next < 2_000 {
            let frame = guest.next();
            if frame["type"] == "gap" {
                assert_eq!(frame["reason"], json!("stream_trimmed"));
                let missed = frame["missed"].as_u64().expect("a number");
                assert!(missed > 0, "crying wolf: {frame}");
                next += missed;
                gaps += 1;
            } else {
                assert_eq!(frame["data"], json!(next));
                next += 1;
            }
        }
        println!("{gaps} gaps");
    });
}

/// An id as it is ordered.
fn place(id: &str) -> (u64, u64) {
    let (milliseconds, sequence) = id.split_once('-').expect("two numbers");
    (milliseconds.parse().expect("a number"), sequence.parse().expect("a number"))
}

/// A gateway that can be parted from its Redis, and a client that has seen everything so far.
fn behind_proxy() -> (Redis, Proxy, Gateway, Guest) {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let endpoint = rooms().set("format", "json");
    let gateway = Gateway::start(&Settings::with_url(&proxy.url()).endpoint(endpoint));
    redis.add(STREAM, "\"first\"");
    let guest = Guest::open(&gateway, "");
    (redis, proxy, gateway, guest)
}

#[test]
fn what_came_while_the_link_was_away_comes_when_it_is_back_and_nothing_is_told() {
    let (redis, proxy, gateway, mut guest) = behind_proxy();
    proxy.set(Weather::BlackHole);
    proxy.cut();
    gateway.wait_unready();
    (0..100).for_each(|number| drop(redis.add(STREAM, &number.to_string())));
    proxy.set(Weather::Pass);
    guest.entries(0..100);
}

#[test]
fn what_was_trimmed_while_the_link_was_away_is_told_with_its_number_and_where_it_goes_on() {
    let (redis, proxy, gateway, mut guest) = behind_proxy();
    proxy.set(Weather::BlackHole);
    proxy.cut();
    gateway.wait_unready();
    let ids: Vec<_> = (0..10).map(|number| redis.add(STREAM, &number.to_string())).collect();
    let _ = redis.command(&["XTRIM", STREAM, "MAXLEN", "3"]);
    proxy.set(Weather::Pass);
    let gap = guest.next();
    let expected = (&json!("gap"), &json!("stream_trimmed"), &json!(7));
    assert_eq!((&gap["type"], &gap["reason"], &gap["missed"]), expected);
    let (before, place, after) = (place(&ids[6]), place(&guest.position), place(&ids[7]));
    assert!(before <= place && place < after, "{place:?} of {ids:?}");
    guest.entries(7..10);
}

#[test]
fn entries_that_are_deleted_before_they_are_read_leave_no_number() {
    let (redis, proxy, gateway, mut guest) = behind_proxy();
    proxy.set(Weather::BlackHole);
    proxy.cut();
    gateway.wait_unready();
    let ids: Vec<_> = (0..10).map(|number| redis.add(STREAM, &number.to_string())).collect();
    let _ = redis.command(&["XDEL", STREAM, &ids[8]]);
    let _ = redis.command(&["XTRIM", STREAM, "MAXLEN", "3"]);
    proxy.set(Weather::Pass);
    let gap = guest.next();
    assert_eq!((&gap["reason"], &gap["missed"]), (&json!("stream_trimmed"), &Value::Null));
    assert_eq!(guest.entry(), json!(6));
    assert_eq!(guest.entry(), json!(7));
    assert_eq!(guest.entry(), json!(9));
}
