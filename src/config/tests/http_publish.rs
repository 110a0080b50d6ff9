//! `[http_publish]`: what is refused, with the position and the words of the refusal, and what is warned of.

use super::{LEAST, loaded, problems};

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A whole table with these keys, then these further tables; the keys are on line 8, the tables from 12 on.
fn text(keys: &str, tables: &str) -> String {
    format!(
        "{LEAST}[http_publish]\n{keys}\n[[http_publish.token]]\nsha256 = \"{HASH}\"\nchannels = [\"*\"]\n{tables}\n"
    )
}

fn refuses(keys: &str, tables: &str, problem: &str) {
    assert_eq!(problems(&text(keys, tables)), [format!("FILE:{problem}")], "{keys} {tables}");
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = loaded(text).warnings;
    warnings.into_iter().filter(|warning| warning.contains("http_publish")).collect()
}

#[test]
fn wrong_values_of_the_table_itself() {
    for (keys, problem) in [
        ("path = \"publish\"", "8:1 http_publish.path: must start with \"/\""),
        ("path = \"/{x}\"", "8:1 http_publish.path: must not have parameters"),
        (
            "path = \"/a\"",
            "8:1 http_publish.path: \"/a\" conflicts with the path of endpoint \"a\", \"/a\"",
        ),
        (
            "path = \"/\"",
            "8:1 http_publish.path: \"/{channel}\" conflicts with the path of endpoint \"a\", \"/a\"",
        ),
        (
            "listen = \"0.0.0.0:8080\"",
            "8:1 http_publish.listen: is server.listen; \"\" is the public port",
        ),
        (
            "listen = \"127.0.0.1:9090\"",
            "8:1 http_publish.listen: is admin.listen, which must stay private",
        ),
        ("max_batch = 0", "8:1 http_publish.max_batch: must be a whole number from 1 to 1000000"),
        ("max_body = \"0B\"", "8:1 http_publish.max_body: must be more than zero"),
        ("idle_timeout = \"0s\"", "8:1 http_publish.idle_timeout: must be longer than zero"),
    ] {
        refuses(keys, "", problem);
    }
    let without_tokens = format!("{LEAST}[http_publish]");
    assert_eq!(
        problems(&without_tokens),
        ["FILE:7:1 http_publish.token: at least one [[http_publish.token]] is needed"]
    );
}

#[test]
fn wrong_tokens_and_streams() {
    let token = |rest: &str| format!("[[http_publish.token]]\n{rest}");
    let stream = |rest: &str| format!("[[http_publish.stream]]\n{rest}");
    let other = "ff".repeat(32);
    let with_hash = |hash: &str, rest: &str| token(&format!("sha256 = \"{hash}\"\n{rest}"));
    for (tables, problem) in [
        (token("channels = [\"a\"]"), "12:1 http_publish.token[1].sha256: is missing"),
        (
            with_hash(HASH, "channels = [\"a\"]"),
            "13:1 http_publish.token[1].sha256: is the token of an earlier [[http_publish.token]]",
        ),
        (with_hash(&other, ""), "12:1 http_publish.token[1].channels: is missing"),
        (
            with_hash(&other, "channels = []"),
            "14:1 http_publish.token[1].channels: must have at least one element",
        ),
        (
            with_hash(&other, "channels = [\"\"]"),
            "14:13 http_publish.token[1].channels[0]: must not be empty",
        ),
        (
            stream("channels = [\"a\"]"),
            "12:1 http_publish.stream[0].keep_entries: is missing: how many entries each stream keeps; 0 = all, which nobody trims",
        ),
        (
            stream("channels = [\"a\"]\nkeep_entries = 1\nexpire_after = \"99999h\""),
            "15:1 http_publish.stream[0].expire_after: is longer than anybody waits",
        ),
        (
            format!("[[auth.token]]\nsha256 = \"{HASH}\"\nuser = \"1\""),
            "10:1 http_publish.token[0].sha256: is the token of an [[auth.token]], a client's",
        ),
    ] {
        refuses("", &tables, problem);
    }
}

#[test]
fn wrong_routes() {
    let route = |path: &str, channel: &str| {
        format!("[[http_publish.route]]\npath = \"{path}\"\nchannel = \"{channel}\"\n")
    };
    for (tables, problem) in [
        (
            route("/a", "c"),
            "13:1 http_publish.route[0].path: \"/a\" conflicts with the path of endpoint \"a\", \"/a\"",
        ),
        (
            route("/publish/x", "c"),
            "13:1 http_publish.route[0].path: conflicts with http_publish.path, \"/publish\"",
        ),
        (
            route("/n/{x}", "c:{path.x}") + &route("/n/{y}", "d"),
            "16:1 http_publish.route[1].path: conflicts with http_publish.route[0].path, \"/n/{x}\"",
        ),
        (
            route("/n/{x}", "c:{path.y}"),
            "14:1 http_publish.route[0].channel: {path.y} is not in the path \"/n/{x}\"",
        ),
        (
            route("/n/{x}", "c:{user}"),
            "14:1 http_publish.route[0].channel: {user} is not in a path; only {path.NAME} is",
        ),
        (
            route("/n/{x}", "sockway:{path.x}"),
            "14:1 http_publish.route[0].channel: begins with \"sockway:\", which Sockway keeps for itself",
        ),
    ] {
        refuses("", &tables, problem);
    }
    loaded(&text("", &(route("/n/{x}", "c:{path.x}") + &route("/n/all", "d"))));
    // On a port of its own there is nothing to conflict with.
    loaded(&text("listen = \"127.0.0.1:8081\"\npath = \"/a\"", ""));
}

#[test]
fn what_works_and_is_seldom_meant_is_warned_of() {
    assert_eq!(warnings(&text("", "")), Vec::<String>::new());
    let clear = warnings(&text("listen = \"0.0.0.0:8081\"", ""));
    assert_eq!(clear.len(), 1);
    assert!(clear[0].contains("http_publish.listen: has no TLS"), "{clear:?}");
    let large = warnings(&text("max_body = \"9MiB\"", ""));
    assert!(large[0].contains("is more than redis.max_payload"), "{large:?}");

    let endpoint = "[[endpoint]]\nname = \"s\"\npath = \"/s/{room}\"\nstreams = [\"chat:{path.room}\"]\nauth = \"none\"\n";
    let added = "[[endpoint]]\nname = \"s\"\npath = \"/s\"\nchannels = [\"x\"]\nsubscribe_streams = [\"chat:{any}\"]\nformat = \"json\"\nauth = \"none\"\n";
    for endpoint in [endpoint, added] {
        let uncovered = warnings(&text("", endpoint));
        assert!(uncovered[0].contains("no [[http_publish.stream]] has them"), "{uncovered:?}");
    }
    let stream = "[[http_publish.stream]]\nchannels = [\"chat:*\"]\nkeep_entries = 1\n";
    assert_eq!(warnings(&text("", &format!("{stream}{endpoint}"))), Vec::<String>::new());
}

#[test]
fn a_route_by_which_no_token_may_publish_is_warned_of_and_one_by_which_one_could_is_not() {
    let tokens = |globs: &[&str]| {
        let token = |(number, glob): (usize, &&str)| {
            let hash = format!("{number:02}").repeat(32);
            format!("[[http_publish.token]]\nsha256 = \"{hash}\"\nchannels = [\"{glob}\"]\n")
        };
        globs.iter().enumerate().map(token).collect::<String>()
    };
    let of = |globs: &[&str], channel: &str| {
        let route =
            format!("[[http_publish.route]]\npath = \"/n/{{user}}\"\nchannel = \"{channel}\"\n");
        warnings(&format!("{LEAST}[http_publish]\n{}{route}", tokens(globs)))
    };
    const CHANNEL: &str = "user:{path.user}:notifications";
    for globs in [
        &["*"][..],
        &["user:*"],
        &["user:42:*"],
        &["user:42:notifications"],
        &["*:notifications"],
        &["chat:*", "user:*:notifications"],
    ] {
        assert_eq!(of(globs, CHANNEL), Vec::<String>::new(), "{globs:?}");
    }
    for globs in
        [&["chat:*"][..], &["user:*:inbox", "users:*"], &["user:*:x:notifications"], &["user:"]]
    {
        let said = of(globs, CHANNEL);
        assert_eq!(said.len(), 1, "{globs:?}: {said:?}");
        assert!(
            said[0].contains(
                "http_publish.route[0].channel: no [[http_publish.token]] has it among its channels"
            ),
            "{said:?}"
        );
    }
    assert_eq!(of(&["chat:*"], "chat:{path.user|escape}"), Vec::<String>::new());
    assert_eq!(of(&["chats:*"], "chat:{path.user|escape}").len(), 1);
}
