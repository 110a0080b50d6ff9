//! docs/openapi.json says what the code does: every status with its codes, and what a body may have.

use super::{body, fault::Fault};
use crate::reason::Refusal;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use strum::VariantArray as _;

fn document() -> Value {
    serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap()
}

/// Status and code of everything that a request can be refused with.
fn told() -> BTreeSet<(u16, String)> {
    let faults = Fault::VARIANTS.iter().map(|fault| (fault.status(), fault.code()));
    // What is refused before, or beside, what is asked for.
    let refusals = [
        Refusal::BadHandshake,
        Refusal::RequestTimeout,
        Refusal::UriTooLong,
        Refusal::HeadersTooLarge,
        Refusal::AtCapacity,
        Refusal::Draining,
    ];
    let refusals = refusals.iter().map(|refusal| (refusal.status(), refusal.label()));
    faults.chain(refusals).map(|(status, code)| (status, code.to_owned())).collect()
}

#[test]
fn the_document_has_every_status_and_code_and_no_other() {
    let document = document();
    let responses = document["components"]["responses"].as_object().unwrap();
    let mut documented = BTreeSet::new();
    for (status, response) in responses {
        let schema = &response["content"]["application/problem+json"]["schema"]["allOf"][1];
        let status: u16 = status.parse().unwrap();
        assert_eq!(schema["properties"]["status"]["const"], status);
        for code in schema["properties"]["code"]["enum"].as_array().unwrap() {
            documented.insert((status, code.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(documented, told());
    // Each item of a body has an outcome of its own, in an answer of 200.
    for (path, of_items) in [("/publish", &["403", "409", "504"][..]), ("/publish/{channel}", &[])]
    {
        let answers = document["paths"][path]["post"]["responses"].as_object().unwrap();
        let expected = responses.keys().map(String::as_str).chain(["200"]);
        let expected: BTreeSet<_> = expected.filter(|it| !of_items.contains(it)).collect();
        assert_eq!(answers.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{path}");
    }
}

#[test]
fn the_members_of_a_body_are_those_of_the_document() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let value = |name: &str| match name {
        "channels" => json!(["c"]),
        "batch" => json!([{"channel": "c", "data": 1}]),
        "data_base64" => json!(""),
        _ => json!("c"),
    };
    let is_read = |members: &[&str]| {
        let body: Value = members.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        body::items(&Bytes::from(body.to_string()), 10).is_ok()
    };
    let names = |schema: &str| {
        let properties = schemas[schema]["properties"].as_object().unwrap();
        properties.keys().map(String::as_str).collect::<BTreeSet<_>>()
    };
    assert_eq!(names("Message"), ["channel", "channels", "data", "data_base64"].into());
    assert_eq!(names("Batch"), ["batch"].into());
    for one in ["channel", "channels"] {
        for other in ["data", "data_base64"] {
            assert!(is_read(&[one, other]), "{one} {other}");
        }
    }
    assert!(is_read(&["batch"]));
    assert!(!is_read(&["batch", "more"]) && !is_read(&["channel", "data", "more"]));
}
