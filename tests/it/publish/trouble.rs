//! A Redis that refuses, hangs or is away while clients publish.

use super::{CHAT, Scene, rooms, say, told};
use crate::rig::{Client, Gateway, Redis, Settings, wait};
use serde_json::{Value, json};

/// What comes of one message, as its sender is told.
#[track_caller]
fn outcome(client: &mut Client) -> Value {
    say(client, &json!({"type": "publish", "data": 1, "ref": "r"}));
    loop {
        let frame = told(client);
        if frame["ref"] == "r" {
            return frame["code"].clone();
        }
    }
}

#[test]
fn what_redis_refuses_is_told_and_the_session_stays() {
    let scene = Scene::new("stream = \"inbox\"\nkeep_entries = 0");
    let mut ann = scene.join("ann", "7");
    let _ = scene.redis.command(&["SET", "inbox", "x"]);
    assert_eq!(outcome(&mut ann), "redis_refused", "WRONGTYPE");
    let _ = scene.redis.command(&["DEL", "inbox"]);
    let _ = scene.redis.command(&["ACL", "SETUSER", "default", "-xadd"]);
    assert_eq!(outcome(&mut ann), "redis_refused", "NOPERM");
    let _ = scene.redis.command(&["ACL", "SETUSER", "default", "+xadd"]);
    assert_eq!(outcome(&mut ann), Value::Null, "published");
    assert_eq!(scene.counted("redis_refused"), 2.0);
}

#[test]
fn a_redis_that_takes_no_writes_is_unavailable() {
    let scene = Scene::new("stream = \"inbox\"\nkeep_entries = 0");
    let mut ann = scene.join("ann", "7");
    let _ = scene.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(outcome(&mut ann), "redis_unavailable", "NOREPLICAS");
    let _ = scene.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    let _ = scene.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(outcome(&mut ann), "redis_unavailable", "OOM");
    let _ = scene.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(outcome(&mut ann), Value::Null, "published");
}

/// More than 20 times its burst within ten seconds.
#[test]
fn a_client_is_not_closed_for_what_redis_does_not_take() {
    let table = "stream = \"inbox\"\nkeep_entries = 0\nper_second = 1000\nburst = 2";
    let scene = Scene::new(table);
    let mut ann = scene.join("ann", "7");
    let _ = scene.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    wait::until("many were refused", || {
        let _ = outcome(&mut ann);
        scene.counted("redis_unavailable") > 60.0
    });
    let _ = scene.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    wait::until("it publishes again", || outcome(&mut ann) == Value::Null);
}

#[test]
fn a_redis_that_hangs_leaves_it_unknown_and_one_that_is_away_is_unavailable() {
    let mut scene = Scene::new(&format!("{CHAT}\nburst = 100"));
    let mut ann = scene.join("ann", "7");
    assert_eq!(outcome(&mut ann), Value::Null);
    scene.redis.hang();
    assert_eq!(outcome(&mut ann), "outcome_unknown");
    scene.redis.kill();
    scene.gateway.wait_unready();
    assert_eq!(outcome(&mut ann), "redis_unavailable");
    scene.redis.begin();
    scene.gateway.wait_ready();
    wait::until("it publishes again", || outcome(&mut ann) == Value::Null);
    assert_eq!(scene.counted("outcome_unknown"), 1.0);
}

/// What docs/security.md says an account needs, beside what every account does; one right taken away at a time.
#[test]
fn an_account_publishes_with_the_rights_that_are_documented_and_each_of_them_is_needed() {
    const BASE: &str = "on >hunter2 resetchannels &chat:* &sockway:control -@all +subscribe +unsubscribe +ping +role \
                        +hello +auth +quit +reset +client|setname +client|id (+publish +subscribe &sockway:probe*)";
    let redis = Redis::start();
    let rights = |more: &str| {
        let rule = format!("ACL SETUSER gateway reset {BASE} {more}");
        // A selector is one word.
        let mut words: Vec<String> = Vec::new();
        for word in rule.split_whitespace() {
            match words.last_mut() {
                Some(last) if last.starts_with('(') && !last.ends_with(')') => {
                    *last = format!("{last} {word}");
                }
                _ => words.push(word.to_owned()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let _ = redis.command(&words);
    };
    rights("(+publish &chat:*) (+xadd +pexpire %W~inbox:*)");
    let inbox = rooms(
        "stream = \"inbox:{path.room}\"\nkeep_entries = 10\nexpire_after = \"90s\"\nburst = 100",
    )
    .set("name", "inbox")
    .set("path", "/ws/inbox/{room}");
    let settings = Settings::new(&redis)
        .set("redis.username", "gateway")
        .set("redis.password", "hunter2")
        .endpoint(rooms(&format!("{CHAT}\nburst = 100")))
        .endpoint(inbox);
    let scene = Scene { gateway: Gateway::start(&settings), redis };
    let mut chat = scene.join("ann", "7");
    let mut inbox = scene.gateway.open_as("ann", "/ws/inbox/7");
    assert_eq!(inbox.json()["type"], "ready");
    assert_eq!((outcome(&mut chat), outcome(&mut inbox)), (Value::Null, Value::Null));
    let deny = |more: &[&str]| {
        let words = [&["ACL", "SETUSER", "gateway", "clearselectors"], more].concat();
        let _ = scene.redis.command(&words);
    };
    deny(&["(+publish +subscribe &sockway:probe*)", "(+xadd +pexpire %W~inbox:*)"]);
    assert_eq!(outcome(&mut chat), "redis_refused", "without PUBLISH");
    deny(&["(+publish +subscribe &sockway:probe*)", "(+pexpire %W~inbox:*)"]);
    assert_eq!(outcome(&mut inbox), "redis_refused", "without XADD");
    deny(&["(+publish +subscribe &sockway:probe*)", "(+xadd %W~inbox:*)"]);
    let _ = scene.redis.command(&["DEL", "inbox:7"]);
    assert_eq!(outcome(&mut inbox), Value::Null, "without PEXPIRE it is added all the same");
    assert_eq!(scene.redis.command(&["PTTL", "inbox:7"]), crate::rig::resp::Reply::Integer(-1));
}
