//! Every `[[endpoint]]` that is refused, with the position and the words of its refusal.

use super::{SECRET, problems};

/// Each text is added to an endpoint that is complete but for this, from line 7 on; the problem must
/// be the only one.
fn endpoint_refuses(cases: &[(&str, &str)]) {
    for (keys, problem) in cases {
        let text = format!(
            "[auth.jwt]\nsecret = \"{SECRET}\"\n\n[[endpoint]]\nname = \"a\"\n\
             path = \"/{{room}}\"\n{keys}\n"
        );
        let complete =
            if keys.contains("channels =") { text } else { text + "channels = [\"a\"]\n" };
        assert_eq!(problems(&complete), [format!("FILE:{problem}")], "{keys}");
    }
}

#[test]
fn wrong_endpoint_values() {
    let whole = "must be a whole number from 1 to 1000000";
    endpoint_refuses(&[
        ("auth = \"maybe\"", "7:1 endpoint[0].auth: must be \"required\" or \"none\""),
        ("format = \"xml\"", "7:1 endpoint[0].format: must be \"raw\" or \"json\""),
        (
            "on_slow = \"wait\"",
            "7:1 endpoint[0].on_slow: must be \"close\", \"skip\" or \"latest\"",
        ),
        ("on_gap = \"\"", "7:1 endpoint[0].on_gap: must be \"notice\", \"close\" or \"ignore\""),
        ("inbound = \"echo\"", "7:1 endpoint[0].inbound: must be \"ignore\" or \"close\""),
        ("queue_messages = 0", &format!("7:1 endpoint[0].queue_messages: {whole}")),
        ("queue_bytes = \"0B\"", "7:1 endpoint[0].queue_bytes: must be more than zero"),
        ("max_message = \"0KiB\"", "7:1 endpoint[0].max_message: must be more than zero"),
        (
            "gap_notice = \"\"",
            "7:1 endpoint[0].gap_notice: must not be empty; on_gap = \"ignore\" tells nothing",
        ),
        ("ping_interval = \"0s\"", "7:1 endpoint[0].ping_interval: must be longer than zero"),
        ("ping_timeout = \"0s\"", "7:1 endpoint[0].ping_timeout: must be longer than zero"),
        ("write_timeout = \"0s\"", "7:1 endpoint[0].write_timeout: must be longer than zero"),
        ("heartbeat = \"25h\"", "7:1 endpoint[0].heartbeat: must be at most \"24h\""),
        (
            "heartbeat_notice = '{\"type\":\"gap\"}'",
            "7:1 endpoint[0].heartbeat_notice: must differ from gap_notice: a client cannot tell them apart",
        ),
        (
            "ping_interval = 25",
            "7:1 endpoint[0].ping_interval: must be a string such as \"25s\", not an integer",
        ),
        ("on_slw = \"close\"", "7:1 endpoint[0].on_slw: unknown key; did you mean \"on_slow\"?"),
    ]);
    let long = format!("gap_notice = \"{}\"", "x".repeat(65_537));
    endpoint_refuses(&[(&long, "7:1 endpoint[0].gap_notice: must be at most 65536 bytes")]);
}

#[test]
fn wrong_channels() {
    endpoint_refuses(&[
        ("channels = []", "7:1 endpoint[0].channels: must have at least one element"),
        ("channels = \"a\"", "7:1 endpoint[0].channels: must be a list of strings, not a string"),
        ("channels = [\"a\", \"a\"]", "7:18 endpoint[0].channels[1]: is in the list already"),
        (
            "channels = [\"{path.rom}\"]",
            "7:13 endpoint[0].channels[0]: {path.rom} is not in the path \"/{room}\"",
        ),
        (
            "auth = \"none\"\nchannels = [\"{user}\"]",
            "8:13 endpoint[0].channels[0]: {user} needs a token, but this endpoint has auth = \"none\"",
        ),
        (
            "auth = \"none\"\nchannels = [\"{claim.a}\"]",
            "8:13 endpoint[0].channels[0]: {claim.a} needs a token, but this endpoint has auth = \"none\"",
        ),
        (
            "channels = [\"sockway:control\"]",
            "7:13 endpoint[0].channels[0]: can become \"sockway:control\", which redis.control_channel keeps for Sockway itself",
        ),
        (
            "channels = [\"sockway:{path.room}\"]\n[redis]\nprobe_channel = \"\"",
            "7:13 endpoint[0].channels[0]: can become \"sockway:control\", which redis.control_channel keeps for Sockway itself",
        ),
    ]);
}

#[test]
fn a_channel_that_breaks_the_grammar_is_refused_at_its_place() {
    for channel in [
        "",
        "{",
        "a}",
        "{}",
        "{path}",
        "{host}",
        "{claim.}",
        "b*",
        "a {user}",
        "__keyevent@0__:{user}",
    ] {
        let text = format!(
            "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nauth = \"none\"\nchannels = [\"good\", \"{channel}\"]"
        );
        let problems = problems(&text);
        assert!(problems[0].starts_with("FILE:5:21 endpoint[0].channels[1]: "), "{problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn wrong_names_and_paths() {
    let endpoint = |name: &str, path: &str| {
        format!(
            "[[endpoint]]\nname = {name:?}\npath = {path:?}\nchannels = [\"a\"]\nauth = \"none\"\n"
        )
    };
    let name = "must be 1 to 64 characters of a-z, 0-9, \"_\" and \"-\": it is the metric label";
    assert_eq!(problems(&endpoint("A", "/a")), [format!("FILE:2:1 endpoint[0].name: {name}")]);
    assert_eq!(problems(&endpoint("a", "a")), ["FILE:3:1 endpoint[0].path: must start with \"/\""]);
    assert_eq!(
        problems(&(endpoint("a", "/a") + &endpoint("a", "/b") + &endpoint("c", "/a"))),
        [
            "FILE:7:1 endpoint[1].name: conflicts with endpoint[0].name, \"a\"",
            "FILE:13:1 endpoint[2].path: conflicts with endpoint[0].path, \"/a\"",
        ]
    );
    assert_eq!(
        problems("[[endpoint]]\n"),
        [
            "FILE:1:1 endpoint[0].auth: \"required\" needs [auth.jwt] or [[auth.token]]; no token could be valid",
            "FILE:1:1 endpoint[0].channels: is missing",
            "FILE:1:1 endpoint[0].name: is missing",
            "FILE:1:1 endpoint[0].path: is missing",
        ]
    );
}
