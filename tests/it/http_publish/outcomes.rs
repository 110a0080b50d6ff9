//! What is said of a message when Redis does not take it, is away, or does not answer.

use super::{publish, settings, start};
use crate::rig::{
    Gateway, Redis,
    proxy::{Proxy, Weather},
    wait,
};
use serde_json::json;

#[test]
fn without_redis_nothing_is_published_and_soon_after_it_is_back_it_is() {
    let mut redis = Redis::start();
    let gateway = start(&redis);
    assert_eq!(publish(&gateway, "/publish/room:1", "x").status, 200);
    redis.kill();
    wait::until("it is known", || publish(&gateway, "/publish/room:1", "x").status == 503);
    publish(&gateway, "/publish/room:1", "x").assert_refused(503, "redis_unavailable");
    let batch = r#"{"channels":["room:1","orders"],"data":1}"#;
    let results = json!({"results": [
        {"channel": "room:1", "error": "redis_unavailable"},
        {"channel": "orders", "error": "channel_not_allowed"},
    ], "failed": 2});
    assert_eq!(publish(&gateway, "/publish", batch).json(), results);
    redis.begin();
    wait::until("it publishes again", || publish(&gateway, "/publish/room:1", "x").status == 200);
}

#[test]
fn a_replica_is_told_as_try_again_and_a_key_of_another_type_as_refused() {
    let redis = Redis::start();
    let gateway = start(&redis);
    redis.command(&["SET", "history:1", "no stream"]);
    publish(&gateway, "/publish/history:1", "x").assert_refused(409, "redis_refused");
    let batch = r#"{"channels":["history:1","history:2"],"data":1}"#;
    let answer = publish(&gateway, "/publish", batch).json();
    assert_eq!(answer["results"][0], json!({"channel": "history:1", "error": "redis_refused"}));
    assert_eq!(answer["failed"], 1);
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    publish(&gateway, "/publish/history:2", "x").assert_refused(503, "redis_unavailable");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    wait::until("it is taken again", || publish(&gateway, "/publish/history:2", "x").status == 200);
}

#[test]
fn what_was_written_and_not_answered_may_have_been_published() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let gateway = Gateway::start(&settings(&redis).set("redis.url", proxy.url()));
    assert_eq!(publish(&gateway, "/publish/room:1", "x").status, 200);
    proxy.set(Weather::BlackHole);
    publish(&gateway, "/publish/room:1", "x").assert_refused(504, "outcome_unknown");
    proxy.set(Weather::Pass);
    wait::until("it publishes again", || publish(&gateway, "/publish/room:1", "x").status == 200);
}

#[test]
fn each_right_that_is_taken_away_is_told_by_its_messages_and_given_back_they_go() {
    let redis = Redis::start();
    let rights = "on >right resetchannels &room:* &sockway:* -@all +subscribe +unsubscribe +ping +role +hello +auth \
        +quit +client|setname +client|id +publish";
    let set = |rules: &[&str]| {
        redis.command(&[&["ACL", "SETUSER", "gateway"], rules].concat());
    };
    set(&rights.split_whitespace().chain(["(~history:* +xadd)"]).collect::<Vec<_>>());
    let settings = settings(&redis).set("redis.username", "gateway").set("redis.password", "right");
    let gateway = Gateway::start(&settings);
    let status = |channel: &str| publish(&gateway, &format!("/publish/{channel}"), "x").status;
    assert_eq!((status("room:1"), status("history:1")), (200, 200));
    set(&["resetchannels", "&sockway:*", "clearselectors"]);
    wait::until("the right is gone", || (status("room:1"), status("history:1")) == (409, 409));
    set(&["&room:*", "(~history:* +xadd)"]);
    wait::until("the right is back", || (status("room:1"), status("history:1")) == (200, 200));
}

/// A thousand times 256 KB: what is under way is a part of it, and others are answered meanwhile.
#[test]
fn a_batch_that_is_large_in_bytes_takes_no_memory_of_that_size() {
    let redis = Redis::start();
    let gateway = start(&redis);
    assert_eq!(publish(&gateway, "/publish/room:1", "x").status, 200);
    let before = gateway.vitals().memory_bytes;
    let channels = vec!["room:1"; 1_000];
    let batch = json!({"channels": channels, "data": "x".repeat(256_000)}).to_string();
    let answer = std::thread::scope(|scope| {
        let large = scope.spawn(|| publish(&gateway, "/publish", &batch));
        while !large.is_finished() {
            assert_eq!(publish(&gateway, "/publish/room:1", "y").status, 200);
        }
        large.join().expect("it is answered")
    });
    assert_eq!((answer.status, &answer.json()["failed"]), (200, &json!(0)));
    let grown = gateway.vitals().memory_bytes.saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}
