//! Which values an escaped placeholder takes, and what they become.

use super::{
    tests::{NOT_ALLOWED, channels, with_claims},
    *,
};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn an_escaped_placeholder_takes_any_value_from_every_place() {
    let too_long = "a".repeat(129);
    let values = NOT_ALLOWED.into_iter().filter(|value| !value.is_empty());
    for value in values.chain(["auth0|5f", "ann@example.com", "a/b"]) {
        let escaped = Form::Escaped.write(value).unwrap();
        assert!(!escaped.contains(':') && escaped.is_ascii(), "{escaped}");
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let by_user = channels(&["u:{user|escape}"], Some(value), "/r").unwrap();
        assert_eq!(by_user, [format!("u:{escaped}")]);
        let claims = json!({"c": ["ok", value]});
        let by_claim = with_claims(&["c:{claim.c|escape}"], claims).unwrap();
        assert_eq!(by_claim, ["c:ok".to_owned(), format!("c:{escaped}")]);
        let by_path = channels(&["r:{path.room|escape}"], None, &format!("/r/{encoded}"));
        assert_eq!(by_path.unwrap(), [format!("r:{escaped}")]);
        let url = format!("/r?q=ok,{encoded}");
        let by_query = channels(&["e:{query.q|escape}"], None, &url).unwrap();
        assert_eq!(by_query, ["e:ok".to_owned(), format!("e:{escaped}")]);
    }
    for value in ["", &too_long] {
        let by_user = channels(&["u:{user|escape}"], Some(value), "/r");
        assert_eq!(by_user, Err(Refusal::ValueNotAllowed), "{value:?}");
        let by_query = channels(&["e:{query.q|escape}"], None, &format!("/r?q=ok,{value}"));
        assert_eq!(by_query, Err(Refusal::ValueNotAllowed), "{value:?}");
    }
}

#[test]
fn escaped_lists_multiply_up_to_the_same_bound() {
    let claims = json!({"c": ["a b", "c"], "many": (0..33).collect::<Vec<_>>()});
    let names = with_claims(&["{claim.c|escape}:{claim.c}"], json!({"c": ["a", "b"]})).unwrap();
    assert_eq!(names, ["a:a", "a:b", "b:a", "b:b"]);
    let names = with_claims(&["{claim.c|escape}"], claims.clone()).unwrap();
    assert_eq!(names, ["a%20b", "c"]);
    let (refusal, cause) = with_claims(&["{claim.many|escape}"], claims).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyValues);
    assert!(cause.contains("{claim.many}"), "{cause}");
}

#[test]
fn braces_of_a_hash_tag_are_the_template_s_own() {
    let templates = ["{{{user}}}:x", "room:{{all}}"];
    assert_eq!(channels(&templates, Some("7"), "/r").unwrap(), ["{7}:x", "room:{all}"]);
    assert_eq!(channels(&templates, Some("}7"), "/r"), Err(Refusal::ValueNotAllowed));
}

proptest! {
    #[test]
    fn different_users_never_meet_escaped_or_plain(one in any::<String>(), other in any::<String>()) {
        prop_assume!(one != other);
        let of = |user: &str, form: &str| channels(&[&format!("u:{{user{form}}}:n")], Some(user), "/r");
        for (form, other_form) in [("|escape", "|escape"), ("|escape", ""), ("", "|escape")] {
            if let (Ok(one), Ok(other)) = (of(&one, form), of(&other, other_form)) {
                prop_assert_ne!(one, other);
            }
        }
    }
}
