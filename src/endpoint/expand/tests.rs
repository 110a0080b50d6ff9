//! Which values become part of a channel's name, and which are refused.

use super::{super::Routes, *};
use crate::{identity::Claims, testing::endpoint_at};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn identity(user: &str, claims: Value) -> Identity {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    Identity {
        user: Arc::from(user),
        claims: Claims::new(claims),
        token_id: None,
        static_token: None,
        expires: None,
        fingerprint: None,
    }
}

/// What a request to `url` gets, with this user, from an endpoint at `/r/{room}` or `/r`.
pub(super) fn channels(
    templates: &[&str],
    user: Option<&str>,
    url: &str,
) -> Result<Vec<String>, Refusal> {
    let identity = user.map(|user| identity(user, json!({"tenant": "acme", "bad": "a:b"})));
    expanded(templates, identity.as_ref(), url).map_err(|error| error.refusal)
}

/// What a token with these claims gets from these templates, or the cause and the words of its refusal.
pub(super) fn with_claims(
    templates: &[&str],
    claims: Value,
) -> Result<Vec<String>, (Refusal, String)> {
    let identity = identity("1", claims);
    expanded(templates, Some(&identity), "/r").map_err(|error| (error.refusal, error.to_string()))
}

fn expanded(
    templates: &[&str],
    identity: Option<&Identity>,
    url: &str,
) -> Result<Vec<String>, Unfilled> {
    let of_path = templates.iter().any(|template| template.contains("{path."));
    let paths = if of_path { &["/r/{room}"][..] } else { &["/r/{room}", "/r"] };
    let endpoints = paths.iter().map(|path| Arc::new(endpoint_at(path, templates)));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let matched = Routes::new(endpoints.collect()).find(path).unwrap();
    let values = Values { identity, path: &matched.parameters, query };
    let topics = matched.endpoint.topics_for(&values)?;
    Ok(topics.channels.iter().map(ToString::to_string).collect())
}

/// Values that must never get into a channel's name, whatever brought them.
pub(super) const NOT_ALLOWED: [&str; 31] = [
    "*",
    "a*",
    "%",
    "%41",
    "a%2Fb",
    "?",
    "[a]",
    "a:b",
    ":",
    "{x}",
    "{user}",
    "}",
    "\\",
    "\"",
    "\r\n",
    "a\nb",
    "\0",
    "\t",
    " ",
    "a b",
    "\u{7f}",
    "\u{1b}[31m",
    "\u{202e}",
    "é",
    "日本",
    "../",
    "..",
    "a/../b",
    "/..",
    "",
    "\u{feff}a",
];

#[test]
fn each_placeholder_takes_its_value_from_its_place() {
    let templates = ["u:{user}:n", "t:{claim.tenant}", "r:{path.room}", "e:{query.types}", "all"];
    assert_eq!(
        channels(&templates, Some("42"), "/r/7?types=x.created,x.shipped").unwrap(),
        ["u:42:n", "t:acme", "r:7", "e:x.created", "e:x.shipped", "all"]
    );
}

#[test]
fn values_outside_the_grammar_are_refused_from_every_place() {
    let too_long = "a".repeat(129);
    for value in NOT_ALLOWED.into_iter().chain([too_long.as_str()]) {
        let refused = Err(Refusal::ValueNotAllowed);
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(channels(&["u:{user}"], Some(value), "/r"), refused, "{value:?}");
        let url = format!("/r?q=ok,{encoded}");
        assert_eq!(channels(&["e:{query.q}"], None, &url), refused, "{value:?}");
        if !value.is_empty() {
            let url = format!("/r/{encoded}");
            assert_eq!(channels(&["r:{path.room}"], None, &url), refused, "{value:?}");
        }
    }
    assert_eq!(channels(&["c:{claim.bad}"], Some("1"), "/r"), Err(Refusal::ValueNotAllowed));
}

#[test]
fn the_longest_and_strangest_allowed_values_pass() {
    let longest = "a".repeat(128);
    for value in
        [longest.as_str(), "a", "0", "user@example.com", "a/b", "a..b", "!#$&'()+,-./;<=>@^_`|~"]
    {
        assert_eq!(channels(&["u:{user}"], Some(value), "/r").unwrap(), [format!("u:{value}")]);
    }
}

#[test]
fn what_the_token_lacks_is_a_missing_claim() {
    for (template, user) in
        [("{claim.other}", Some("1")), ("{user}", None), ("{claim.tenant}", None)]
    {
        let refused = channels(&[template], user, "/r");
        assert_eq!(refused, Err(Refusal::ClaimMissing), "{template}");
    }
}

#[test]
fn a_claim_is_text_whatever_its_kind_and_a_list_gives_one_channel_an_item() {
    let claims = json!({
        "level": 7, "admin": true, "groups": ["a", 2], "one": ["x"], "none": [],
        "realm_access": {"roles": ["r", "s"]}, "https://example.com/t": "u",
    });
    for (template, names) in [
        ("l:{claim.level}", vec!["l:7"]),
        ("a:{claim.admin}", vec!["a:true"]),
        ("g:{claim.groups}", vec!["g:a", "g:2"]),
        ("o:{claim.one}", vec!["o:x"]),
        ("r:{claim.realm_access.roles}", vec!["r:r", "r:s"]),
        ("t:{claim.https://example.com/t}", vec!["t:u"]),
        ("g:{claim.groups}:{claim.realm_access.roles}", vec!["g:a:r", "g:a:s", "g:2:r", "g:2:s"]),
    ] {
        assert_eq!(with_claims(&[template], claims.clone()).unwrap(), names, "{template}");
    }
    // A template may give nothing as long as another gives something.
    assert_eq!(with_claims(&["n:{claim.none}:{claim.groups}", "all"], claims).unwrap(), ["all"]);
}

#[test]
fn a_claim_that_gives_no_channel_is_named_with_the_reason() {
    let claims = json!({
        "none": [], "null": null, "object": {"a": 1}, "mixed": ["a", null], "deep": [["a"]],
        "bad": ["ok", "a:b"], "empty": "", "many": (0..33).collect::<Vec<_>>(),
        "six": [1, 2, 3, 4, 5, 6],
    });
    for (template, refusal, named) in [
        ("{claim.other}", Refusal::ClaimMissing, "{claim.other}"),
        ("{claim.object.b}", Refusal::ClaimMissing, "{claim.object.b}"),
        ("{claim.none}", Refusal::ClaimMissing, "{claim.none}"),
        ("{claim.null}", Refusal::ClaimUnusable, "{claim.null}"),
        ("{claim.object}", Refusal::ClaimUnusable, "{claim.object}"),
        ("{claim.mixed}", Refusal::ClaimUnusable, "{claim.mixed}"),
        ("{claim.deep}", Refusal::ClaimUnusable, "{claim.deep}"),
        ("{claim.bad}", Refusal::ValueNotAllowed, "{claim.bad}"),
        ("{claim.empty}", Refusal::ValueNotAllowed, "{claim.empty}"),
        ("{claim.many}", Refusal::TooManyValues, "{claim.many}"),
        ("s:{claim.six}:{claim.six}", Refusal::TooManyValues, "{claim.six}"),
    ] {
        let (refused, cause) = with_claims(&[template], claims.clone()).unwrap_err();
        assert_eq!(refused, refusal, "{template}");
        assert!(cause.contains(named) && !cause.contains("a:b"), "{cause}");
    }
}

#[test]
fn a_query_list_is_there_once_complete_and_decoded() {
    let q = |url: &str| channels(&["{query.q}"], None, url);
    let item = |at: usize| format!("i{at}");
    for (url, expected) in [
        ("/r?q=a", vec!["a"]),
        ("/r?x=%zz&q=a%2Cb&y", vec!["a", "b"]),
        ("/r?%71=a", vec!["a"]),
        ("/r?q=a,a,b", vec!["a", "b"]),
        ("/r?Q=b&q=a=b", vec!["a=b"]),
    ] {
        assert_eq!(q(url).unwrap(), expected, "{url}");
    }
    for url in [
        "/r",
        "/r?",
        "/r?q",
        "/r?q=",
        "/r?q=,",
        "/r?q=a,",
        "/r?q=,a",
        "/r?q=a,,b",
        "/r?q=%2",
        "/r?q=%ff",
        "/r?q=a+b",
        "/r?q=a&q=a",
        "/r?q=a&%71=b",
        "/r?q=a&q",
        "/r?qq=a",
    ] {
        assert_eq!(q(url), Err(Refusal::ValueNotAllowed), "{url}");
    }
    let list = |items: usize| (0..items).map(item).collect::<Vec<_>>().join(",");
    assert_eq!(q(&format!("/r?q={}", list(32))).unwrap().len(), 32);
    assert_eq!(q(&format!("/r?q={}", list(33))), Err(Refusal::TooManyValues));
    assert_eq!(q(&format!("/r?q={}", "a,".repeat(4000))), Err(Refusal::TooManyValues));
}

#[test]
fn two_query_lists_multiply_up_to_the_same_bound() {
    let ab = |url: &str| channels(&["q:{query.a}:{query.b}"], None, url);
    assert_eq!(ab("/r?a=1,2&b=x,y").unwrap(), ["q:1:x", "q:1:y", "q:2:x", "q:2:y"]);
    assert_eq!(ab("/r?a=1,2,3,4&b=1,2,3,4,5,6,7,8").unwrap().len(), 32);
    assert_eq!(ab("/r?a=1,2,3&b=1,2,3,4,5,6,7,8,9,10,11"), Err(Refusal::TooManyValues));
}

#[test]
fn a_channel_is_there_once_however_many_templates_name_it() {
    let templates = ["b", "a:{user}", "a:{path.room}"];
    assert_eq!(channels(&templates, Some("7"), "/r/7").unwrap(), ["b", "a:7"]);
}

proptest! {
    #[test]
    fn no_request_panics_and_no_channel_leaves_the_structure_of_its_template(
        user in any::<String>(), room in "[^/?]{1,20}", query in any::<String>(),
    ) {
        let url = format!("/r/{room}?q={query}");
        if let Ok(names) = channels(&["u:{user}:{path.room}:{query.q}"], Some(&user), &url) {
            prop_assert!(!names.is_empty() && names.len() <= 32);
            for name in names {
                prop_assert_eq!(name.split(':').count(), 4);
                let starts = format!("u:{user}:");
                prop_assert!(name.starts_with(&starts));
                let kept = |b: u8| b.is_ascii_graphic() && !br#"*?[]{}\"%"#.contains(&b);
                prop_assert!(name.bytes().all(kept));
            }
        }
    }

    #[test]
    fn different_users_never_get_the_same_channel(
        one in "[ -~]{0,9}", other in "[ -~]{0,9}", room in "[a-z%0-9.-]{1,9}",
    ) {
        prop_assume!(one != other);
        let of = |user: &str| channels(&["u:{user}:{path.room}"], Some(user), &format!("/r/{room}"));
        if let (Ok(one), Ok(other)) = (of(&one), of(&other)) {
            prop_assert_ne!(one, other);
        }
    }
}
