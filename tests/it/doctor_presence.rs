//! `sockway doctor` where rooms have presence, and for what clients may add within a session.

use crate::{
    doctor::{doctor, settings},
    rig::{Endpoint, Redis, Settings, resp::Reply},
};
use std::collections::BTreeSet;
use toml::toml;

/// Rooms with presence, under a prefix: one by its path, and those that a client adds.
fn with_presence(redis: &Redis) -> Settings {
    let chat = Endpoint::new("chat", "/ws/chat/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("presence", toml! { channel = "chat:{path.room}" });
    let added = Endpoint::new("added", "/ws/added", &["news"])
        .set("format", "json")
        .set("subscribe", vec!["talk:{any}"])
        .set("presence", toml! { channel = "talk:{any}" });
    settings(redis).set("redis.channel_prefix", "app:").endpoint(chat).endpoint(added)
}

/// Every key of presence, and for how long it lives, in milliseconds; -1: for ever, -2: it is gone.
fn lives(redis: &Redis) -> Vec<(String, i64)> {
    let Reply::List(keys) = redis.command(&["KEYS", "*"]) else { panic!("no list") };
    let life = |key: Reply| {
        let key = key.text();
        let Reply::Integer(life) = redis.command(&["PTTL", &key]) else { panic!("no number") };
        (key, life)
    };
    keys.into_iter().map(life).collect()
}

#[track_caller]
fn assert_leaves_nothing(redis: &Redis) {
    let lives = lives(redis);
    let goes = |life: i64| life != -1 && life <= 1_000;
    let is_own = |key: &str| key.starts_with("app:sockway:presence:{app:");
    assert!(lives.iter().all(|(key, life)| is_own(key) && goes(*life)), "{lives:?}");
}

#[test]
fn a_room_is_entered_and_left_and_nothing_of_it_stays() {
    let redis = Redis::start();
    let said = doctor(&with_presence(&redis), &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "presence", &["app:chat:{path.room} (chat): entered and left"]);
    said.assert("ok", "presence", &["app:talk:{any} (added): entered and left"]);
    assert_leaves_nothing(&redis);
}

/// The words of the line of docs/presence.md that gives the rights, with the prefix.
fn rights_of_the_page() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/presence.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let line = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER sockway "));
    let words = line.expect("a line").split(' ').map(|word| word.trim_matches(['(', ')']));
    words.map(|word| word.replace("sockway:presence", "app:sockway:presence")).collect()
}

#[test]
fn each_right_of_presence_that_is_missing_is_named_and_nothing_stays_all_the_same() {
    let redis = Redis::start();
    let rights = rights_of_the_page();
    let own = "app:sockway:presence:*";
    assert_eq!(rights[..3], [format!("&{own}"), format!("~{own}"), format!("&{own}")]);
    let commands: BTreeSet<_> = rights[3..].iter().collect();
    assert!(commands.len() > 13, "{commands:?}");
    // With both of the last neither the script's end nor leaving takes away what was written.
    let both = "+hsetnx -zrem".to_owned();
    for command in commands.into_iter().chain([&both]) {
        let missing = command.replace('+', "-");
        redis.command(&["FLUSHALL"]);
        // The probe's canary is published by a right of its own.
        let rules = [
            "reset",
            "on",
            ">pass",
            "allkeys",
            "allchannels",
            "+@all",
            "(+publish &app:sockway:probe)",
        ];
        let missing: Vec<_> = missing.split(' ').collect();
        redis.command(&[&["ACL", "SETUSER", "sockway"], &rules[..], &missing].concat());
        let settings = with_presence(&redis);
        let settings = settings.set("redis.username", "sockway").set("redis.password", "pass");
        let said = doctor(&settings, &[]);
        assert_eq!((said.status, said.failures()), (1, 2), "{command}: {said:#?}");
        let advice = format!("-> give the account: `ACL SETUSER … &{own} (~{own} &{own} +evalsha");
        said.assert("fail", "presence", &["(chat)", &advice]);
        assert_leaves_nothing(&redis);
    }
}

#[test]
fn the_announcements_of_a_room_are_tried_too() {
    let redis = Redis::start();
    let rules = "reset on >pass allkeys +@all resetchannels &app:room:* &app:user:* &app:global &app:chat:* \
                 &app:talk:* &app:news &app:sockway:control &app:sockway:probe (+@all allkeys &app:sockway:none)";
    let mut words = vec!["ACL", "SETUSER", "sockway"];
    let (rules, selector) = rules.split_once(" (").expect("a selector");
    let selector = format!("({selector}");
    words.extend(rules.split_whitespace());
    words.push(&selector);
    redis.command(&words);
    let settings = with_presence(&redis);
    let said =
        doctor(&settings.set("redis.username", "sockway").set("redis.password", "pass"), &[]);
    assert_eq!((said.status, said.failures()), (1, 2), "{said:#?}");
    said.assert("fail", "presence", &["(chat)", "NOPERM", "&app:sockway:presence:*"]);
}

#[test]
fn what_a_client_may_add_is_tried_as_what_every_session_has_and_given_back() {
    let redis = Redis::start();
    let added = Endpoint::new("added", "/ws/added", &["news"])
        .set("format", "json")
        .set("subscribe", vec!["talk:{any}"])
        .set("subscribe_streams", vec!["log:{user}:{any}"]);
    let dashboard = Endpoint::new("dashboard", "/ws/all", &[])
        .set("format", "json")
        .set("patterns", vec!["room:*"]);
    let settings = settings(&redis).endpoint(added).endpoint(dashboard);
    let said = doctor(&settings, &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    for (subject, words) in [
        ("subscribe", "talk:{any} (added)"),
        ("subscribe", "room:* (dashboard)"),
        ("stream changes", "Redis tells"),
        ("read stream", "log:{user}:{any} (added)"),
    ] {
        said.assert("ok", subject, &[words]);
    }
    for (missing, what) in [("-unsubscribe", "talk:{any}"), ("-punsubscribe", "room:*")] {
        let rules = ["reset", "on", ">pass", "allkeys", "allchannels", "+@all", missing];
        redis.command(&[&["ACL", "SETUSER", "sockway"], &rules[..]].concat());
        let settings = settings.clone().set("redis.username", "sockway");
        let said = doctor(&settings.set("redis.password", "pass"), &[]);
        assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
        let command = format!("-> the account needs the command {}", &missing[1..]);
        said.assert("warn", "subscribe", &[what, "is not given back", "NOPERM", &command]);
    }
}
