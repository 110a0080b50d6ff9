//! `sockway doctor` where endpoints have streams.

use crate::{
    doctor::{doctor, settings},
    rig::{Endpoint, Redis, Settings, resp::Reply},
};

fn with_streams(redis: &Redis) -> Settings {
    let rooms = Endpoint::streams("chat", "/ws/chat/{room}", &["chat:{path.room}"]).open();
    settings(redis).set("redis.channel_prefix", "app:").endpoint(rooms)
}

/// An account of all rights but these.
fn without(redis: &Redis, rules: &[&str]) -> Settings {
    let start = ["ACL", "SETUSER", "sockway", "reset", "on", ">pass", "+@all", "allchannels"];
    redis.command(&[&start[..], rules].concat());
    with_streams(redis).set("redis.username", "sockway").set("redis.password", "pass")
}

#[test]
fn what_streams_need_is_told_only_where_an_endpoint_has_them() {
    let redis = Redis::start();
    let said = doctor(&with_streams(&redis), &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "stream changes", &["Redis tells"]);
    said.assert("ok", "read stream", &["app:chat:{path.room} (chat)"]);
    said.assert("ok", "stream canary", &["app:sockway:probe:stream:doctor"]);
    let Reply::Integer(life) = redis.command(&["PTTL", "app:sockway:probe:stream:doctor"]) else {
        panic!("no number")
    };
    assert!(life <= 1_000 && life != -1, "it goes by itself: {life}");
    let said = doctor(&settings(&redis), &[]);
    assert!(!said.text.contains("stream"), "{said:#?}");
}

#[test]
fn each_right_that_is_missing_is_named() {
    let redis = Redis::start();
    for (rules, subject, words) in [
        (&["allkeys", "-client|tracking"][..], "stream changes", &["+client|tracking"][..]),
        (
            &["allkeys", "-xrange"],
            "read stream",
            &["NOPERM", "%R~app:chat:* +xinfo|stream +xrange"],
        ),
        (&["allkeys", "-xrevrange"], "read stream", &["NOPERM", "+xrevrange"]),
        (&["~app:sockway:*"], "read stream", &["NOPERM", "%R~app:chat:*"]),
    ] {
        let said = doctor(&without(&redis, rules), &[]);
        assert_eq!(said.status, 1, "{rules:?}: {said:#?}");
        said.assert("fail", subject, words);
    }
}

#[test]
fn a_canary_that_is_refused_is_a_warning_since_streams_work_without_it() {
    let redis = Redis::start();
    for (rules, words) in [
        (&["~app:chat:*"][..], &["NOPERM", "~app:sockway:probe:stream:* +xadd"][..]),
        (&["allkeys", "-xadd"], &["NOPERM", "+xadd"]),
        (&["allkeys", "-pexpire"], &["NOPERM", "+pexpire"]),
    ] {
        let said = doctor(&without(&redis, rules), &[]);
        assert_eq!((said.status, said.failures()), (0, 0), "{rules:?}: {said:#?}");
        said.assert("warn", "stream canary", words);
    }
    // Nobody reads the canary's stream backwards.
    let said = doctor(&without(&redis, &["allkeys", "-xrevrange"]), &[]);
    said.assert("ok", "stream canary", &[]);
}
