//! `sockway doctor` on the table of keys whose changes Redis tells.

use crate::{
    doctor::{doctor, settings},
    rig::{Endpoint, Gateway, Redis, Settings, wait::until},
};

fn with_streams(redis: &Redis) -> Settings {
    let rooms = Endpoint::streams("chat", "/ws/chat/{room}", &["chat:{path.room}"]).open();
    settings(redis).endpoint(rooms)
}

#[test]
fn the_keys_that_are_tracked_are_compared_with_the_limit_where_there_are_streams() {
    let redis = Redis::start();
    let said = doctor(&with_streams(&redis), &[]);
    said.assert("ok", "tracking table", &["0 of 1000000 keys"]);
    assert!(doctor(&settings(&redis), &[]).about("tracking table").is_empty());

    redis.command(&["CONFIG", "SET", "tracking-table-max-keys", "100000"]);
    let said = doctor(&with_streams(&redis), &[]);
    assert_eq!(said.status, 0, "a warning is no failure");
    said.assert("warn", "tracking table", &["of 100000 keys", "-> redis.max_streams"]);

    redis.command(&["CONFIG", "SET", "tracking-table-max-keys", "3"]);
    let settings = with_streams(&redis).set("redis.max_streams", 3);
    let gateway = Gateway::start(&settings);
    let _clients = [1, 2, 3].map(|room| gateway.open(&format!("/ws/chat/{room}")));
    until("the table is full", || {
        let about = doctor(&settings, &[]).about("tracking table");
        about.iter().any(|it| it.starts_with("warn") && it.contains("-> nearly full"))
    });

    redis.command(&["CONFIG", "SET", "tracking-table-max-keys", "0"]);
    doctor(&settings, &[]).assert("ok", "tracking table", &["keys, no limit"]);
}

#[test]
fn an_account_that_may_not_ask_is_only_a_warning() {
    let redis = Redis::start();
    let rules = ["on", ">pass", "+@all", "-config|get", "allchannels", "allkeys"];
    redis.command(&[&["ACL", "SETUSER", "sockway"], &rules[..]].concat());
    let settings = with_streams(&redis).set("redis.username", "sockway");
    let said = doctor(&settings.set("redis.password", "pass"), &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("warn", "tracking table", &["not known", "NOPERM", "-> see for yourself"]);
}
