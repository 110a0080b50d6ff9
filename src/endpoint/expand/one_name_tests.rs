//! The name of a template where only one can stand.

use super::{tests::identity, *};
use crate::testing::endpoint_at;
use serde_json::{Value, json};

#[test]
fn where_one_name_can_stand_a_list_gives_one_or_is_refused() {
    let endpoint = endpoint_at("/r", &["all"]);
    let name = |template: &str, claims: Value| {
        let identity = identity("1", claims);
        let template = ChannelTemplate::parse(template).unwrap();
        let path = PathParameters::default();
        let values = Values { identity: Some(&identity), path: &path, query: "" };
        let name = endpoint.name_for(&template, &values);
        name.map(|name| name.to_string()).map_err(|error| (error.refusal, error.to_string()))
    };
    assert_eq!(name("in:{claim.c}", json!({"c": "a"})).unwrap(), "in:a");
    assert_eq!(name("in:{claim.c}", json!({"c": ["a"]})).unwrap(), "in:a");
    for (template, claims, refusal, named) in [
        ("in:{claim.c}", json!({"c": ["a", "b"]}), Refusal::ClaimUnusable, "in:{claim.c}"),
        ("in:{claim.c}", json!({"c": []}), Refusal::ClaimMissing, "{claim.c}"),
        ("in:{claim.c}", json!({}), Refusal::ClaimMissing, "{claim.c}"),
        ("in:{claim.c}", json!({"c": {}}), Refusal::ClaimUnusable, "{claim.c}"),
        ("in:{claim.c}", json!({"c": "a:b"}), Refusal::ValueNotAllowed, "{claim.c}"),
        ("{claim.c}:x", json!({"c": "sockway"}), Refusal::ValueNotAllowed, "{claim.c}"),
    ] {
        let (refused, cause) = name(template, claims).unwrap_err();
        assert_eq!(refused, refusal, "{template} {cause}");
        assert!(cause.contains(named), "{cause}");
    }
}
