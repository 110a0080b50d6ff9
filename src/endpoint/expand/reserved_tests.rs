//! No value makes a name that is reserved.

use super::{super::Routes, tests::channels, *};
use crate::testing::{AUTH, config};

#[test]
fn no_value_makes_a_channel_that_is_sockway_s_own() {
    for (template, room) in [
        ("{path.room}:x", "sockway"),
        ("{path.room|escape}:x", "sockway"),
        ("sock{path.room}:x", "way"),
        ("{path.room}:probe", "sockway"),
    ] {
        let refused = channels(&[template], None, &format!("/r/{room}"));
        assert_eq!(refused, Err(Refusal::ValueNotAllowed), "{template}");
        assert!(channels(&[template], None, "/r/other").is_ok(), "{template}");
    }
    assert!(channels(&["x:{path.room}"], None, "/r/sockway").is_ok());
}

#[test]
fn no_value_makes_a_channel_that_a_key_names() {
    let text = format!(
        "[redis]\ncontrol_channel = \"room:ctl\"\nprobe_channel = \"room:probe\"\nchannel_prefix = \"__key\"\n\
         [[endpoint]]\nname = \"a\"\npath = \"/r/{{room}}\"\n\
         channels = [\"room:{{path.room}}\", \"{{query.q}}@0__:x\"]\n{AUTH}"
    );
    let routes = Routes::new(config(&text).endpoints);
    let get = |room: &str, query: &str| {
        let matched = routes.find(&format!("/r/{room}")).unwrap();
        let values = Values { identity: None, path: &matched.parameters, query };
        matched.endpoint.topics_for(&values).map_err(|error| (error.refusal, error.to_string()))
    };
    assert!(get("7", "q=a").is_ok());
    for (room, query, reason) in [
        ("ctl", "q=a", "redis.control_channel"),
        ("probe", "q=a", "redis.probe_channel"),
        ("7", "q=a,event", "Redis publishes its own events"),
        ("7", "q=space", "Redis publishes its own events"),
        ("7", "q=__keyevent", "Redis publishes its own events"),
    ] {
        let (refusal, cause) = get(room, query).unwrap_err();
        assert_eq!(refusal, Refusal::ValueNotAllowed, "{room} {query}");
        assert!(cause.contains(reason), "{cause}");
    }
}

#[test]
fn a_value_cannot_reach_the_events_of_redis() {
    for user in ["__keyspace@0__", "__keyevent@0__"] {
        assert_eq!(channels(&["{user}:x"], Some(user), "/r"), Err(Refusal::ValueNotAllowed));
    }
    assert_eq!(
        channels(&["__{path.room}:x"], None, "/r/keyspace@0__"),
        Err(Refusal::ValueNotAllowed)
    );
    assert!(channels(&["u:{user}"], Some("__keyspace@0__"), "/r").is_ok());
}
