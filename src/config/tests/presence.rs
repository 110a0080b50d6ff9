//! `[endpoint.presence]`: what is refused, what is warned about, and what it is by default.

use super::{SECRET, loaded, problems};
use crate::endpoint::PresenceChannel;
use std::time::Duration;

fn file(endpoint: &str, presence: &str) -> String {
    format!(
        "[auth.jwt]\nsecret = \"{SECRET}\"\n\n[[endpoint]]\nname = \"a\"\npath = \"/{{room}}\"\n\
         channels = [\"chat:{{path.room}}\", \"q:{{query.q}}\"]\nformat = \"json\"\n{endpoint}\n\
         [endpoint.presence]\n{presence}\n"
    )
}

const CHANNEL: &str = "channel = \"chat:{path.room}\"";

#[test]
fn the_channel_is_enough_and_the_rest_has_defaults() {
    let config = loaded(&file("", CHANNEL)).config;
    let presence = config.endpoints[0].presence.as_ref().unwrap();
    assert!(matches!(presence.channel, PresenceChannel::Template(_)));
    let rules = &presence.rules;
    assert_eq!((rules.ttl, rules.leave_after), (Duration::from_secs(30), Duration::from_secs(15)));
    assert_eq!(rules.roster, 1_000);
    loaded(&file("", "channel = \"chat:{any}\"\nleave_after = \"0s\""));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let of = "endpoint[0].presence";
    for (keys, problem) in [
        ("", format!("10:1 {of}.channel: is missing")),
        (
            "channel = \"chat:7\"",
            format!(
                "11:1 {of}.channel: must be one of this endpoint's channels or streams, or have {{any}}"
            ),
        ),
        (
            "channel = \"q:{query.q}\"",
            format!("11:1 {of}.channel: {{query.q}} is a list: a session has one room"),
        ),
        (
            "channel = \"{any}:{any}\"",
            format!("11:1 {of}.channel: has more to fill in than one {{any}}"),
        ),
        (
            "channel = \"other:{any}\"",
            format!("11:1 {of}.channel: is the name of nothing that a session here can have"),
        ),
        (
            "channel = \"chat:{any}\"\nttl = \"999ms\"\nleave_after = \"0s\"",
            format!("12:1 {of}.ttl: must be at least \"1s\""),
        ),
        (
            "channel = \"chat:{any}\"\nttl = \"10s\"",
            format!("10:1 {of}.leave_after: must be at most ttl: the keys could expire before"),
        ),
        (
            "channel = \"chat:{any}\"\nroster = 10001",
            format!("12:1 {of}.roster: must be a whole number from 1 to 10000"),
        ),
    ] {
        assert_eq!(problems(&file("", keys)), [format!("FILE:{problem}")], "{keys}");
    }
}

#[test]
fn it_needs_users_and_json() {
    let open = problems(&file("auth = \"none\"", CHANNEL));
    assert!(open[0].contains("presence: needs a user to show"), "{open:?}");
    let raw = file("", CHANNEL).replace("\"json\"", "\"raw\"");
    assert!(problems(&raw)[0].contains("presence: needs format = \"json\""));
}

#[test]
fn two_endpoints_cannot_keep_one_channel_in_two_ways() {
    let second = |ttl: &str| {
        format!(
            "[[endpoint]]\nname = \"b\"\npath = \"/b/{{x}}\"\nchannels = [\"chat:{{path.x}}\"]\n\
             format = \"json\"\n[endpoint.presence]\nchannel = \"chat:{{any}}\"\nttl = \"{ttl}\"\n"
        )
    };
    loaded(&(file("", CHANNEL) + &second("30s")));
    let problems = problems(&(file("", CHANNEL) + &second("31s")));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("than endpoint[0].presence could give it"), "{problems:?}");
}

#[test]
fn a_time_to_come_back_that_no_rolling_restart_leaves_is_warned_of() {
    let warnings = |keys: &str| {
        let all = loaded(&file("", &format!("{CHANNEL}\n{keys}"))).warnings;
        all.iter().filter(|it| it.contains("presence.leave_after")).count()
    };
    assert_eq!(warnings("leave_after = \"10s\""), 0);
    assert_eq!(warnings("leave_after = \"9s\""), 1);
}
