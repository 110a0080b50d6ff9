//! The account of docs/presence.md is enough for presence, and each right of it is needed.

use super::*;
use crate::rig::resp::Connection;

/// The line of docs/presence.md, behind the one of docs/security.md that every gateway needs.
fn line_of_the_page() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/presence.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut lines = page.lines().filter(|line| line.starts_with("ACL SETUSER "));
    let line = lines.next().expect("a line");
    assert_eq!(lines.next(), None, "one line");
    line.split(' ').map(str::to_owned).collect()
}

const BASE: &str = "ACL SETUSER sockway on >right resetchannels &chat:* &sockway:control -@all \
                    +subscribe +unsubscribe +ping +role +hello +auth +quit +reset \
                    +client|setname +client|id (+publish +subscribe &sockway:probe*)";

fn call(redis: &Redis, words: impl Iterator<Item = String>) {
    let words: Vec<_> = words.collect();
    redis.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

/// A gateway whose account has all rights of the page but this one.
fn without(right: &str) -> (Redis, Gateway, tempfile::NamedTempFile) {
    let redis = Redis::start();
    call(&redis, BASE.split_whitespace().map(str::to_owned));
    let words = line_of_the_page().into_iter().filter_map(|word| {
        // The first and the last of the selector have its brackets.
        match word.trim_matches(['(', ')']) == right {
            true if word.starts_with('(') => Some("(".to_owned()),
            true if word.ends_with(')') => Some(")".to_owned()),
            true => None,
            false => Some(word),
        }
    });
    call(&redis, words);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "right").expect("written");
    let settings = Settings::new(&redis)
        .set("redis.username", "sockway")
        .set("redis.password_file", file.path().to_str().expect("UTF-8"));
    let gateway = Gateway::start(&settings.endpoint(rooms(brief())));
    (redis, gateway, file)
}

#[test]
fn the_account_of_the_page_is_enough_and_may_touch_no_other_key() {
    let (redis, one, _file) = without("nothing");
    let mut ann = Guest::of(&one, "ann");
    let bob = Guest::of(&one, "bob");
    ann.until_sees(&["ann", "bob"]);
    drop(bob);
    ann.until_sees(&["ann"]);
    redis.command(&["FLUSHALL"]);
    until("put back", || members(&redis) == 1);
    let mut thief: Connection = redis.connect();
    thief.command(&["AUTH", "sockway", "right"]);
    for command in [
        &["ZADD", "other", "1", "x"][..],
        &["HGET", "other", "x"],
        &["PUBLISH", "chat:7", "forged"],
        &["DEL", "sockway:presence:{chat:7}:users:chat:7"],
        &["GET", "key"],
        &["KEYS", "*"],
        &["EVAL", "return 1", "0"],
    ] {
        let reply = thief.try_command(command).expect("redis answers");
        let refused = matches!(&reply, Reply::Error(error) if error.starts_with("NOPERM"));
        assert!(refused, "{command:?}: {reply:?}");
    }
}

#[test]
fn without_any_of_its_rights_sessions_work_and_the_log_says_what_redis_refuses() {
    let line = line_of_the_page();
    let rights =
        line[3..].iter().map(|word| word.trim_matches(['(', ')'])).collect::<BTreeSet<_>>();
    assert!(rights.len() > 15, "{rights:?}");
    for some in rights.into_iter().collect::<Vec<_>>().chunks(6) {
        std::thread::scope(|scope| {
            for right in some {
                scope.spawn(|| works_without(right));
            }
        });
    }
}

fn works_without(right: &str) {
    let (redis, gateway, _file) = without(right);
    let mut ann = gateway.open_as("ann", "/ws/7");
    assert_eq!(ann.json()["type"], "ready", "{right}");
    let is_told = |line: &str| line.contains("Redis refuses a c") && line.contains("for presence");
    // Somebody who comes and goes has need of all rights.
    let bob = gateway.open_as("bob", "/ws/7");
    until(right, || members(&redis) == 2 || gateway.process.stderr.text().lines().any(is_told));
    bob.bye();
    gateway.process.stderr.wait_for(right, |line| is_told(line).then_some(()));
    redis.publish("chat:7", "\"hi\"");
    while ann.json()["data"] != "hi" {}
}
