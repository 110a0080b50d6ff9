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
        ("format = \"xml\"", "7:1 endpoint[0].format: must be \"raw\", \"json\" or \"binary\""),
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
fn wrong_patterns_and_subscriptions() {
    let json = |keys: &str| format!("format = \"json\"\n{keys}");
    for (keys, problem) in [
        ("patterns = [\"a\"]", "patterns[0]: has no *: such a channel belongs under channels"),
        (
            "patterns = [\"u:{user}*\"]",
            "patterns[0]: needs a \":\" between {user} and *, or one user could hear what is for another",
        ),
        (
            "patterns = [\"u:{path.room}:*\"]",
            "patterns[0]: {path.room} cannot stand in a pattern: only {user} and {claim.NAME} can, which a token gives",
        ),
        (
            "patterns = [\"sockway:*\"]",
            "patterns[0]: must not name sockway:…, which is never delivered through a pattern",
        ),
        (
            "patterns = [\"*\"]",
            "patterns[0]: can meet \"a\" of channels: a message could come twice",
        ),
        (
            "subscribe = [\"{user}{any}\"]",
            "subscribe[0]: needs a \":\" between {user} and {any}, or a client could get what is for another",
        ),
        (
            "subscribe = [\"{any}:{any}\"]",
            "subscribe[0]: can become \"sockway:control\", which redis.control_channel keeps for Sockway itself",
        ),
        (
            "subscribe = [\"x:{path.other}\"]",
            "subscribe[0]: {path.other} is not in the path \"/{room}\"",
        ),
        (
            "subscribe_streams = [\"{any}\"]",
            "subscribe_streams[0]: can meet \"a\" of channels: a client cannot tell a channel from a stream",
        ),
        ("max_subscriptions = 0", "max_subscriptions: must be a whole number from 1 to 10000"),
    ] {
        let text = json(keys);
        let at = if keys.starts_with("max") { 1 } else { keys.find('[').unwrap() + 2 };
        let mut found = endpoint_problems(&text);
        found.truncate(1);
        assert_eq!(found, [format!("FILE:8:{at} endpoint[0].{problem}")], "{keys}");
    }
    for keys in
        ["patterns = [\"x:*\"]", "subscribe = [\"x:{any}\"]", "subscribe_streams = [\"x:{any}\"]"]
    {
        let key = keys.split(' ').next().unwrap();
        let expected = format!("FILE:7:1 endpoint[0].{key}: needs format = \"json\"");
        assert!(
            endpoint_problems(keys).contains(&expected),
            "{keys}: {:?}",
            endpoint_problems(keys)
        );
    }
    let both = json("patterns = [\"x:*\"]\nsubscribe = [\"x:{any}\"]");
    let twice = "patterns[0]: can meet \"x:{any}\" of subscribe: a message could come twice";
    assert_eq!(endpoint_problems(&both), [format!("FILE:8:13 endpoint[0].{twice}")]);
}

/// The problems of an endpoint with these keys from line 7 on.
fn endpoint_problems(keys: &str) -> Vec<String> {
    problems(&format!(
        "[auth.jwt]\nsecret = \"{SECRET}\"\n\n[[endpoint]]\nname = \"a\"\n\
         path = \"/{{room}}\"\n{keys}\nchannels = [\"a\"]\n"
    ))
}

#[test]
fn wrong_channels() {
    endpoint_refuses(&[
        (
            "channels = []",
            "7:1 endpoint[0].channels: at least one of channels, streams, patterns, subscribe and subscribe_streams is needed",
        ),
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
            "7:13 endpoint[0].channels[0]: begins with \"sockway:\", which Sockway keeps for itself",
        ),
        (
            "channels = [\"sockway:{path.room}\"]\n[redis]\nprobe_channel = \"\"",
            "7:13 endpoint[0].channels[0]: begins with \"sockway:\", which Sockway keeps for itself",
        ),
        (
            "channels = [\"ctl\"]\n[redis]\ncontrol_channel = \"ctl\"",
            "7:13 endpoint[0].channels[0]: is the redis.control_channel, which Sockway keeps for itself",
        ),
        (
            "channels = [\"event@{user}\"]\n[redis]\nchannel_prefix = \"__key\"",
            "7:13 endpoint[0].channels[0]: begins with \"__keyevent@\", where Redis publishes its own events",
        ),
    ]);
}

#[test]
fn wrong_streams() {
    endpoint_refuses(&[
        ("streams = \"b\"", "7:1 endpoint[0].streams: must be a list of strings, not a string"),
        ("streams = [\"b\", \"b\"]", "7:17 endpoint[0].streams[1]: is in the list already"),
        (
            "streams = [\"b*\"]",
            "7:12 endpoint[0].streams[0]: must not contain '*': literal text is printable ASCII without space, * ? [ ] and \\",
        ),
        (
            "streams = [\"{path.rom}\"]\nchannels = [\"a:b\"]",
            "7:12 endpoint[0].streams[0]: {path.rom} is not in the path \"/{room}\"",
        ),
        (
            "streams = [\"b\", \"{path.room}\"]",
            "7:17 endpoint[0].streams[1]: \"a\" of channels could be the same name: a client cannot tell a channel from a stream",
        ),
        (
            "channels = [\"{user}:b\"]\nstreams = [\"c:{path.room}\"]",
            "8:12 endpoint[0].streams[0]: \"{user}:b\" of channels could be the same name: a client cannot tell a channel from a stream",
        ),
        (
            "streams = [\"sockway:orders\"]",
            "7:12 endpoint[0].streams[0]: begins with \"sockway:\", which Sockway keeps for itself",
        ),
        (
            "channels = [\"a\"]\nstreams = [\"probe\"]\n[redis]\nprobe_channel = \"probe\"",
            "8:12 endpoint[0].streams[0]: is the redis.probe_channel, which Sockway keeps for itself",
        ),
        (
            "channels = [\"a:%2F\"]\nstreams = [\"a:{user|escape}\"]",
            "8:12 endpoint[0].streams[0]: \"a:%2F\" of channels could be the same name: a client cannot tell a channel from a stream",
        ),
        (
            "auth = \"none\"\nstreams = [\"user:{user}\"]",
            "8:12 endpoint[0].streams[0]: {user} needs a token, but this endpoint has auth = \"none\"",
        ),
    ]);
}

#[test]
fn the_query_s_names_for_a_position_are_no_channel_s_and_no_stream_s() {
    for name in ["since", "last", "last_event_id"] {
        let said = format!("{{query.{name}}} is taken: {name} in the query is a client's position");
        let (keys, place) = (format!("channels = [\"x:{{query.{name}}}\"]"), "7:13");
        endpoint_refuses(&[(&keys, &format!("{place} endpoint[0].channels[0]: {said}"))]);
        let (keys, place) = (format!("streams = [\"x:{{query.{name}}}\"]"), "7:12");
        endpoint_refuses(&[(&keys, &format!("{place} endpoint[0].streams[0]: {said}"))]);
    }
}

#[test]
fn wrong_replays() {
    let last = "endpoint[0].replay_last: must be at most replay_messages";
    let range = "must be a whole number from 0 to 1000000";
    endpoint_refuses(&[
        ("replay_last = 1001", &format!("7:1 {last}")),
        ("replay_messages = 0\nreplay_last = 1", &format!("8:1 {last}")),
        ("replay_messages = -1", &format!("7:1 endpoint[0].replay_messages: {range}")),
        ("replay_last = 1000001", &format!("7:1 endpoint[0].replay_last: {range}")),
        ("replay_bytes = \"0B\"", "7:1 endpoint[0].replay_bytes: must be more than zero"),
    ]);
}

#[test]
fn wrong_event_streams() {
    endpoint_refuses(&[
        ("sse = \"yes\"", "7:1 endpoint[0].sse: must be true or false, not a string"),
        (
            "sse = true\nstreams = [\"b\", \"c\"]",
            "8:17 endpoint[0].streams[1]: with sse = true a session has one stream at most: the id of an event is a position in that one",
        ),
        (
            "sse = true\nstreams = [\"b:{query.q}\"]",
            "8:12 endpoint[0].streams[0]: {query.q} is a list, and with sse = true a session has one stream at most",
        ),
        (
            "sse = true\nformat = \"binary\"",
            "8:1 endpoint[0].format: must not be \"binary\" with sse = true: an event is text",
        ),
        (
            "sse = true\non_gap = \"close\"",
            "8:1 endpoint[0].on_gap: must not be \"close\" with sse = true: a browser's EventSource would come back by itself, with its position",
        ),
        (
            "sse = true\nheartbeat = \"0s\"",
            "8:1 endpoint[0].heartbeat: must not be \"0s\" with sse = true: there are no pings, so only a heartbeat finds a client that is gone",
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
        "{user|quote}",
        "{{user}",
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
            "FILE:1:1 endpoint[0].channels: at least one of channels, streams, patterns, subscribe and subscribe_streams is needed",
            "FILE:1:1 endpoint[0].name: is missing",
            "FILE:1:1 endpoint[0].path: is missing",
        ]
    );
}

#[test]
fn wrong_publish_tables() {
    let one = "exactly one of channel and stream is needed";
    let stream = "stream = \"b\"\nkeep_entries = 0";
    let refuses = |endpoint: &str, publish: &str, problem: &str| {
        let text = format!(
            "[auth.jwt]\nsecret = \"{SECRET}\"\n\n[[endpoint]]\nname = \"a\"\npath = \"/{{room}}\"\n\
             {endpoint}\n[endpoint.publish]\n{publish}\n"
        );
        let found = problems(&text);
        assert!(
            found.len() == 1 && found[0].contains(problem),
            "{endpoint} {publish}: {found:#?}, not {problem}"
        );
    };
    let channels = "channels = [\"a\", \"chat:{path.room}\"]";
    let json = format!("{channels}\nformat = \"json\"");
    for (endpoint, publish, problem) in [
        (channels, "", one),
        (channels, "channel = \"\"\nstream = \"\"", one),
        (channels, "channel = \"a\"\nstream = \"b\"\nkeep_entries = 1", "not both"),
        (channels, "channel = \"a\"\ncreate = false", "create: is for a stream alone"),
        (channels, "stream = \"b\"", "keep_entries: is missing"),
        (channels, "channel = \"a\"\ndata = \"xml\"", "data: must be \"\", \"json\""),
        (channels, "channel = \"a\"\nburst = 0", "burst: must be a whole number from 1"),
        (channels, "channel = \"x:{query.q}\"", "{query.q} cannot stand here"),
        (channels, "channel = \"x:{path.rom}\"", "{path.rom} is not in the path"),
        (channels, "channel = \"chat:{any}\"", "{any} needs format = \"json\""),
        (&json, "channel = \"{any}:{any}\"", "is a duplicate"),
        (
            &json,
            "channel = \"sockway:{any}\"\n[redis]\nprobe_channel = \"\"\ncontrol_channel = \"\"",
            "which Sockway keeps",
        ),
        (&json, "channel = \"{claim.x}:control\"", "redis.control_channel keeps"),
        (&json, "stream = \"chat:{user}\"\nkeep_entries = 1", "among its channels"),
        (
            &format!("{json}\nsubscribe_streams = [\"log:{{any}}\"]"),
            "channel = \"log:{any}\"",
            "could be \"log:{any}\", which this endpoint has among its subscribe_streams",
        ),
        (
            "streams = [\"inbox\"]",
            "channel = \"inbox\"",
            "could be \"inbox\", which this endpoint has among its streams",
        ),
        (
            channels,
            "stream = \"b:{path.room}\"\nkeep_entries = 1",
            "expire_after: must not be \"0s\"",
        ),
        (channels, "channel = \"a\"\nstamp = false\nstamp_claims = [\"n\"]", "needs stamp = true"),
        (
            &format!("{channels}\ninbound = \"close\""),
            "channel = \"a\"",
            "inbound: must not be \"close\"",
        ),
        ("channels = [\"a\"]\nauth = \"none\"", stream, "cannot publish where auth"),
    ] {
        refuses(endpoint, publish, problem);
    }
    for name in ["user", "type", "at", "data", "data_base64", "claims"] {
        let text = format!(
            "[auth.jwt]\nsecret = \"{SECRET}\"\n[[endpoint]]\nname = \"a\"\npath = \"/{{{name}}}\"\n\
             channels = [\"a\"]\n[endpoint.publish]\nchannel = \"a\"\n"
        );
        assert!(problems(&text)[0].contains("would stand in the stamp"), "{name}");
        super::loaded(&format!("{text}stamp = false\n"));
    }
}
