use super::*;
use crate::{
    endpoint::PathParameters,
    identity::{Claims, Identity},
    testing::endpoint_at,
};
use proptest::prelude::*;
use serde_json::json;

fn identity(claims: serde_json::Value) -> Identity {
    let serde_json::Value::Object(claims) = claims else { panic!("an object") };
    Identity {
        user: "4".into(),
        claims: Claims::new(claims),
        token_id: None,
        static_token: None,
        expires: None,
        fingerprint: None,
    }
}

fn dynamic(channels: &[&str], streams: &[&str]) -> Dynamic {
    let all = |texts: &[&str]| texts.iter().map(|it| AllowTemplate::parse(it).unwrap()).collect();
    Dynamic { channels: all(channels), streams: all(streams), most: NonZeroUsize::MIN }
}

fn allowed(channels: &[&str], streams: &[&str], claims: serde_json::Value) -> Allowed {
    let (endpoint, identity) = (endpoint_at("/ws", &["a"]), identity(claims));
    let path = PathParameters::default();
    let values = Values { identity: Some(&identity), path: &path, query: "room=x" };
    Allowed::new(&endpoint, &dynamic(channels, streams), &values)
}

#[test]
fn a_client_may_add_what_a_template_becomes_with_its_own_values_and_one_of_its_choice() {
    let channels = [
        "chat:{any}",
        "user:{user}:{any}",
        "room:{claim.rooms}",
        "t:{any}:of-{any}-x",
        "{any}.end",
    ];
    let allowed = allowed(&channels, &["s:{query.room}:{any}"], json!({"rooms": ["a", "b"]}));
    for name in [
        "chat:7",
        "chat:a.b-c_d@e",
        "user:4:x",
        "room:a",
        "room:b",
        "t:1:of-2-x",
        "7.end",
        "a.end.end",
    ] {
        assert_eq!(allowed.find(name), Some(AllowedAs::Channel), "{name}");
    }
    assert_eq!(allowed.find("s:x:1"), Some(AllowedAs::Stream));
    let long = format!("chat:{}", "x".repeat(129));
    for name in [
        "",
        "chat:",
        "chat:7:8",
        "chat:*",
        "chat:a b",
        "chat:{7}",
        "chat:\u{e9}",
        &long,
        "chats:7",
        "user:42:x",
        "user:4",
        "user:4:",
        "room:c",
        "room:ab",
        "t:1:of--x",
        "t::of-2-x",
        ".end",
        "t:1:of-2",
        "s:y:1",
        "xchat:7",
        "chat:..",
        "chat:a\"b",
        "chat:7\n",
    ] {
        assert_eq!(allowed.find(name), None, "{name}");
    }
}

#[test]
fn a_claim_that_is_missing_or_of_no_use_allows_nothing_and_takes_nothing_from_the_others() {
    for claims in [json!({}), json!({"rooms": {}}), json!({"rooms": "a:b"}), json!({"rooms": []})] {
        let allowed = allowed(&["room:{claim.rooms}:{any}", "chat:{any}"], &[], claims);
        assert_eq!(allowed.find("room:a:b"), None);
        assert_eq!(allowed.find("room::b"), None);
        assert_eq!(allowed.find("chat:1"), Some(AllowedAs::Channel));
    }
    let many: Vec<_> = (0..33).collect();
    assert_eq!(allowed(&["{claim.many}"], &[], json!({"many": many})).find("1"), None);
}

#[test]
fn a_name_that_a_value_makes_reserved_is_not_allowed() {
    let allowed = allowed(&["{any}:{any}", "{any}event@0__:x"], &[], json!({}));
    assert_eq!(allowed.find("a:b"), Some(AllowedAs::Channel));
    assert_eq!(allowed.find("sockway:b"), None);
    assert_eq!(allowed.find("__keyevent@0__:x"), None);
}

#[test]
fn what_no_colon_parts_from_a_clients_choice_is_refused() {
    for (text, problem) in [
        ("", "must not be empty"),
        ("{user}{any}", "needs a \":\" between {user} and {any}"),
        ("{any}-{claim.a}", "needs a \":\" between {claim.a} and {any}"),
        ("{path.room}.{any}", "needs a \":\" between {path.room} and {any}"),
        ("{any}{any}", "needs a \":\" between two {any}"),
        ("{any}-{any}", "needs a \":\" between two {any}"),
        ("{anything}", "{anything} is none of"),
        ("chat:*", "must not contain '*'"),
        ("sockway:{any}", "begins with \"sockway:{any}\""),
    ] {
        let error = AllowTemplate::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
}

proptest! {
    /// The straightforward way: try every value at every place.
    #[test]
    fn a_name_is_read_as_one_that_tries_every_value_reads_it(
        pieces in prop::collection::vec("[a:]{0,3}", 1..4),
        name in "[ab:*]{0,8}",
    ) {
        let last = pieces.len() - 1;
        let parted = |(at, it): (usize, &String)| at == 0 || at == last || it.contains(':');
        prop_assume!(pieces.iter().enumerate().all(parted));
        prop_assert_eq!(is_filled(&pieces, &name), slowly(&pieces, &name));
    }
}

fn slowly(pieces: &[String], name: &str) -> bool {
    let [first, rest @ ..] = pieces else { return false };
    let Some(behind) = name.strip_prefix(first.as_str()) else { return false };
    if rest.is_empty() {
        return behind.is_empty();
    }
    (1..=behind.len()).any(|at| Form::Plain.writes(&behind[..at]) && slowly(rest, &behind[at..]))
}
