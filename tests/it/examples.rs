//! Every file of `config/examples`, run for real: only ports, Redis and secret are replaced.

use crate::rig::{Gateway, Redis, Request, Settings, settings::rooms};
use serde_json::json;

fn start(file: &str) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::example(file, &redis).tests_secret());
    (redis, gateway)
}

#[test]
fn every_example_has_a_test_here() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the examples are there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    files.sort();
    assert_eq!(files, ["events.toml", "notifications.toml", "rooms.toml", "tram.toml"]);
}

#[test]
fn notifications_reach_one_user_several_users_or_all() {
    let (redis, gateway) = start("notifications.toml");
    let [mut ann, mut bob, mut eve] =
        ["ann", "bob", "eve"].map(|user| gateway.open_as(user, "/ws/notifications"));
    let one = r#"{"type":"order_shipped"}"#;
    redis.publish("user:ann:notifications", one);
    assert_eq!(ann.text(), one);
    for user in ["ann", "bob"] {
        redis.publish(&format!("user:{user}:notifications"), "to two");
    }
    redis.publish("notifications:global", "to all");
    for client in [&mut ann, &mut bob] {
        let mut got = [client.text(), client.text()];
        got.sort();
        assert_eq!(got, ["to all", "to two"]);
    }
    assert_eq!(eve.text(), "to all", "and nothing before it");
    gateway.send(&Request::upgrade("/ws/notifications")).assert_refused(401, "token_missing");
}

#[test]
fn a_tram_is_one_subscription_however_many_watch_and_none_when_the_last_has_left() {
    let redis = Redis::start();
    // Unchanged: no key is needed where no token is needed.
    let settings = Settings::example("tram.toml", &redis).set("redis.linger", "300ms");
    let gateway = Gateway::start(&settings);
    let mut watchers: Vec<_> = (0..50).map(|_| gateway.open("/tram-state-ws/2046")).collect();
    let mut other = gateway.open("/tram-state-ws/7");
    assert_eq!(redis.numsub("tram_2046"), 1);
    assert_eq!(redis.publish("tram_2046", "moving"), 1);
    for watcher in &mut watchers {
        assert_eq!(watcher.text(), "moving");
    }
    let last = watchers.pop().expect("fifty");
    watchers.into_iter().for_each(|watcher| drop(watcher.bye()));
    gateway.wait_metric("sockway_sessions{endpoint=\"tram\"}", 2.0);
    assert_eq!(redis.numsub("tram_2046"), 1, "one still watches");
    last.bye();
    redis.wait_numsub("tram_2046", 0);
    redis.publish("tram_7", "unmoved");
    assert_eq!(other.text(), "unmoved");
}

#[test]
fn a_watcher_who_comes_back_within_linger_causes_no_new_subscription() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("redis.linger", "60s").endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let mut monitor = redis.connect().monitor();
    for _ in 0..5 {
        gateway.open("/ws/rooms/1").bye();
    }
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    assert_eq!(redis.numsub("room:1"), 1, "it lingers");
    redis.command(&["ECHO", "nothing more"]);
    let seen = monitor.up_to("nothing more");
    let about: Vec<_> = seen.iter().filter(|line| line.contains("room:1\"")).collect();
    // One SUBSCRIBE; the other commands are the test's own NUMSUB.
    let subscribes = about.iter().filter(|line| line.contains("SUBSCRIBE")).count();
    assert_eq!(subscribes, 1, "{about:?}");
}

#[test]
fn a_room_is_read_by_whoever_has_a_token_and_nobody_reads_another() {
    let (redis, gateway) = start("rooms.toml");
    let mut lobby = gateway.open_as("ann", "/ws/rooms/lobby");
    let mut cellar = gateway.open_as("bob", "/ws/rooms/cellar");
    redis.publish("room:lobby", "to the lobby");
    redis.publish("room:cellar", "to the cellar");
    assert_eq!(lobby.text(), "to the lobby");
    assert_eq!(cellar.text(), "to the cellar");
    gateway.send(&Request::upgrade("/ws/rooms/lobby")).assert_refused(401, "token_missing");
}

#[test]
fn events_come_by_the_types_that_the_client_asked_for() {
    let (redis, gateway) = start("events.toml");
    let mut client = gateway.open_as("ann", "/ws/events?types=order.created,order.shipped");
    let channels = json!(["events:order.created", "events:order.shipped"]);
    assert_eq!(client.json()["channels"], channels);
    redis.publish("events:order.created", r#"{"order":17}"#);
    assert_eq!(redis.publish("events:order.cancelled", "not asked for"), 0);
    redis.publish("events:order.shipped", r#"{"order":16}"#);
    for (channel, order) in [("events:order.created", 17), ("events:order.shipped", 16)] {
        let expected = json!({"type": "message", "channel": channel, "data": {"order": order}});
        assert_eq!(client.json(), expected);
    }
}
