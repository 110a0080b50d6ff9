//! Which streams a request gets, and what is refused of streams alone.

use super::{super::Routes, *};
use crate::{
    identity::Claims,
    testing::{AUTH, config},
};
use serde_json::{Value, json};

/// What a request to `/r/ROOM` with these claims gets from an endpoint with these keys, or the cause and the
/// words of its refusal.
fn streams(keys: &str, claims: Value, room: &str) -> Result<Vec<String>, (Refusal, String)> {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    let identity = Identity {
        user: "1".into(),
        claims: Claims::new(claims),
        token_id: None,
        static_token: None,
        expires: None,
        fingerprint: None,
    };
    let text = format!("[[endpoint]]\nname = \"test\"\npath = \"/r/{{room}}\"\n{keys}\n{AUTH}");
    let matched = Routes::new(config(&text).endpoints).find(&format!("/r/{room}")).unwrap();
    let values = Values { identity: Some(&identity), path: &matched.parameters, query: "" };
    let topics = matched.endpoint.topics_for(&values);
    topics
        .map(|topics| topics.streams.iter().map(ToString::to_string).collect())
        .map_err(|error| (error.refusal, error.to_string()))
}

#[test]
fn a_list_of_claims_gives_a_stream_an_item_but_only_one_where_there_are_events() {
    let keys = "streams = [\"team:{claim.teams}\"]";
    let (two, one) = (json!({"teams": ["a", "b"]}), json!({"teams": ["a"]}));
    assert_eq!(streams(keys, two.clone(), "7").unwrap(), ["team:a", "team:b"]);
    let keys = format!("{keys}\nsse = true");
    let (refusal, cause) = streams(&keys, two, "7").unwrap_err();
    assert_eq!(refusal, Refusal::ClaimUnusable);
    assert!(cause.contains("team:{claim.teams}") && cause.contains("more than one"), "{cause}");
    assert_eq!(streams(&keys, one, "7").unwrap(), ["team:a"]);
    assert_eq!(streams(&keys, json!({"teams": ["a", "a"]}), "7").unwrap(), ["team:a"], "is one");
}

#[test]
fn no_value_makes_a_stream_that_is_sockway_s_own_or_tells_of_redis_s_events() {
    let keys = "streams = [\"{path.room}:probe:stream:1\"]";
    assert_eq!(streams(keys, json!({}), "mine").unwrap(), ["mine:probe:stream:1"]);
    for room in ["sockway", "__keyspace@0__", "__keyevent@0__"] {
        let (refusal, cause) = streams(keys, json!({}), room).unwrap_err();
        assert_eq!(refusal, Refusal::ValueNotAllowed, "{room}");
        let told = cause.contains("for itself") || cause.contains("its own events");
        assert!(told && cause.contains("{path.room}"), "{cause}");
    }
    assert!(streams("streams = [\"x:{path.room}\"]", json!({}), "sockway").is_ok());
}
