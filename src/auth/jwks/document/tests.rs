//! Which keys of a document are used, in which forms, and what is said of the others.

use super::{
    super::tests::{PUBLIC, auth, document, keys, made, made_by, publish, shared, verify},
    *,
};
use crate::auth::{
    Algorithm::*,
    TokenError,
    tests::keys::{TestKeys, token},
};
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::Value;

/// Why each key of a document is not used, in its order, and how many are.
fn judged(jwks: &[String], algorithms: &[Algorithm]) -> (usize, Vec<SkipReason>) {
    let (keys, skipped) = match KeyList::read(document(jwks).as_bytes(), algorithms) {
        Ok(list) => (list.keys.len(), list.skipped),
        Err(JwksError::NoKey(skipped)) => (0, skipped),
        Err(JwksError::NotKeySet) => panic!("no key set"),
    };
    (keys, skipped.iter().map(|one| one.reason).collect())
}

#[test]
fn a_key_is_used_only_for_what_it_allows() {
    let all = &PUBLIC;
    for (members, used) in [
        ("", true),
        (r#""use":"sig""#, true),
        (r#""use":"enc""#, false),
        (r#""use":"sig","alg":"RS512""#, true),
        (r#""alg":"RSA-OAEP""#, false),
        (r#""alg":"HS256""#, false),
        (r#""alg":"ES256""#, false),
        (r#""key_ops":["verify"]"#, true),
        (r#""key_ops":["encrypt"]"#, false),
        (r#""key_ops":[]"#, false),
        (r#""use":"enc","alg":"RSA-OAEP-256""#, false),
        (r#""x5u":"http://127.0.0.1:9/","x5c":["AAAA"]"#, true),
    ] {
        let expected = if used { (1, vec![]) } else { (0, vec![SkipReason::OtherUse]) };
        assert_eq!(judged(&[shared(RS256, members)], all), expected, "{members}");
    }
    let auth = auth(&[RS256, RS512]);
    publish(&auth, &[shared(RS256, r#""kid":"a","alg":"RS512""#)]);
    assert!(verify(&auth, &made(RS512, r#""kid":"a""#)).is_ok());
    assert_eq!(verify(&auth, &made(RS256, r#""kid":"a""#)), Err(TokenError::Invalid));
}

#[test]
fn a_bad_key_is_skipped_and_the_good_ones_beside_it_are_used() {
    let good = || shared(ES256, r#""kid":"good""#);
    let secret = r#"{"kty":"oct","kid":"s","k":"c2VjcmV0","alg":"HS256"}"#;
    let small = r#"{"kty":"RSA","kid":"small","e":"AQAB","n":"xcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcU"}"#;
    let ec = |x: &str, y: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    for (bad, reason) in [
        ("7".to_owned(), SkipReason::Malformed),
        ("null".to_owned(), SkipReason::Malformed),
        ("{}".to_owned(), SkipReason::Malformed),
        (r#"{"kty":7}"#.to_owned(), SkipReason::Malformed),
        (shared(ES256, r#""kid":7"#), SkipReason::Malformed),
        (shared(ES256, r#""kty":"EC""#), SkipReason::Malformed),
        (r#"{"kty":"EC","crv":"P-256"}"#.to_owned(), SkipReason::Member("x")),
        (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), SkipReason::Member("n")),
        (r#"{"kty":"RSA","e":"AA","n":"AQ"}"#.to_owned(), SkipReason::Member("e")),
        (r#"{"kty":"RSA","e":"","n":""}"#.to_owned(), SkipReason::Member("n")),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(), SkipReason::Member("x")),
        (ec(&"A".repeat(43), &"A".repeat(43)), SkipReason::Member("x")),
        (ec("AQEB", "AQEB"), SkipReason::NotOfKind),
        (ec("AQEB", "*"), SkipReason::Member("y")),
        (ec("*", "="), SkipReason::Member("x")),
        (shared(ES384, "").replace("P-384", "P-256"), SkipReason::Member("x")),
        (shared(ES256, r#""d":"AAAA""#), SkipReason::Private),
        (shared(RS256, r#""d":"AAAA","p":"AAAA""#), SkipReason::Private),
        (secret.to_owned(), SkipReason::Secret),
        (small.to_owned(), SkipReason::RsaSize),
        (good(), SkipReason::Duplicate),
        (shared(ES256, r#""use":"""#), SkipReason::Odd("use")),
        (shared(ES256, r#""use":"SIG""#), SkipReason::Odd("use")),
        (shared(ES256, r#""alg":"""#), SkipReason::Odd("alg")),
        (shared(ES256, r#""alg":"es256""#), SkipReason::Odd("alg")),
        (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(), SkipReason::OtherUse),
        (r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_owned(), SkipReason::OtherUse),
    ] {
        let judged = judged(&[good(), bad.clone()], &PUBLIC);
        assert_eq!(judged, (1, vec![reason]), "{bad}");
    }
}

#[test]
fn a_list_is_neither_a_key_nor_a_set_whatever_it_has() {
    let key: Value = serde_json::from_str(&shared(ES256, "")).unwrap();
    let members = ["kty", "kid", "alg", "use", "key_ops", "crv", "n", "e", "x", "y", "d"];
    let list = Value::Array(members.map(|name| key[name].clone()).to_vec()).to_string();
    assert_eq!(judged(&[list, key.to_string()], &PUBLIC), (1, vec![SkipReason::Malformed]));
    let set = format!("[[{key}]]");
    let read = KeyList::read(set.as_bytes(), &PUBLIC);
    assert!(matches!(read, Err(JwksError::NotKeySet)));
}

#[test]
fn no_damaged_document_panics() {
    let good = document(&[
        shared(RS256, r#""kid":"r""#),
        shared(ES384, r#""kid":"e""#),
        shared(EdDSA, ""),
    ]);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..500 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..random.usize(1..5) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        let _ = KeyList::read(&bytes, &PUBLIC);
    }
}

#[test]
fn a_kid_is_shown_cut_and_without_control_characters() {
    let kid = "\\u001b[31m\\n".to_owned() + &"x".repeat(200);
    let jwk = format!(r#"{{"kty":"oct","kid":"{kid}"}}"#);
    let good = shared(ES256, "");
    let list = KeyList::read(document(&[good, jwk]).as_bytes(), &PUBLIC).unwrap();
    assert_eq!(list.skipped[0].position, 2);
    let shown = &list.skipped[0].kid;
    assert!(shown.starts_with(r"\u{1b}[31m\nx") && shown.len() < 100, "{shown}");
}

#[test]
fn a_kid_that_is_no_text_is_shown_as_it_is_written() {
    for (kid, shown) in [("7", "7"), ("7.0", "7.0"), ("null", "null"), ("[1]", "[1]")] {
        let jwk = format!(r#"{{"kty":"oct","kid":{kid}}}"#);
        let list = KeyList::read(document(&[shared(ES256, ""), jwk]).as_bytes(), &PUBLIC).unwrap();
        assert_eq!(list.skipped[0].kid, shown);
    }
}

/// The key with each member of bytes written in another form.
fn rewritten(jwk: &str, write: impl Fn(Vec<u8>) -> String) -> String {
    let mut jwk: serde_json::Map<String, Value> = serde_json::from_str(jwk).unwrap();
    for (name, value) in &mut jwk {
        if ["n", "e", "x", "y"].contains(&name.as_str()) {
            *value = write(URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()).into();
        }
    }
    Value::Object(jwk).to_string()
}

fn wrapped(base64: &str) -> String {
    format!(" {}\r\n{}\n", &base64[..2], &base64[2..])
}

fn with_zero(mut bytes: Vec<u8>) -> String {
    bytes.insert(0, 0);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn without_zeros(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    URL_SAFE_NO_PAD.encode(&bytes[zeros..])
}

/// A key of which a coordinate begins with a zero, as one of 128 does.
fn with_small_coordinate() -> (TestKeys, String) {
    loop {
        let keys = TestKeys::generate_p256();
        let jwk = keys.jwk(ES256, r#""kid":"a""#);
        let short = rewritten(&jwk, |bytes| without_zeros(&bytes));
        if short != rewritten(&jwk, |bytes| URL_SAFE_NO_PAD.encode(bytes)) {
            return (keys, short);
        }
    }
}

#[test]
fn a_key_is_used_in_every_form_in_which_issuers_write_it() {
    for algorithm in [RS256, ES256, ES384, EdDSA] {
        let jwk = shared(algorithm, r#""kid":"a""#);
        let mut forms = vec![
            ("padded", rewritten(&jwk, |bytes| URL_SAFE.encode(bytes))),
            ("plain base64", rewritten(&jwk, |bytes| STANDARD.encode(bytes))),
            ("wrapped", rewritten(&jwk, |bytes| wrapped(&STANDARD.encode(bytes)))),
            ("plain without padding", rewritten(&jwk, |bytes| STANDARD_NO_PAD.encode(bytes))),
        ];
        if algorithm != EdDSA {
            // Numbers; what an Ed25519 key is made of is a string of bytes.
            forms.push(("with a sign byte", rewritten(&jwk, with_zero)));
        }
        for (form, jwk) in forms {
            let auth = auth(&[algorithm]);
            publish(&auth, &[jwk]);
            assert!(verify(&auth, &made(algorithm, r#""kid":"a""#)).is_ok(), "{algorithm} {form}");
        }
    }
    let (keys, jwk) = with_small_coordinate();
    let auth = auth(&[ES256]);
    publish(&auth, &[jwk]);
    assert!(verify(&auth, &made_by(&keys, ES256, r#""kid":"a""#)).is_ok(), "zeros left out");
}

#[test]
fn an_ed25519_key_and_its_tokens_may_use_the_newer_name_of_the_algorithm() {
    let auth = auth(&[EdDSA]);
    publish(&auth, &[shared(EdDSA, r#""kid":"a","alg":"Ed25519""#)]);
    let claims = r#"{"sub":"42","exp":9999999999}"#;
    let newer = token(r#"{"alg":"Ed25519","kid":"a"}"#, claims, |message| {
        TestKeys::shared().sign(EdDSA, message)
    });
    assert!(verify(&auth, &newer).is_ok());
    assert!(verify(&auth, &made(EdDSA, r#""kid":"a""#)).is_ok());
}

#[test]
fn a_byte_order_mark_before_the_document_is_no_part_of_it() {
    let auth = auth(&[ES256]);
    keys(&auth).begin();
    let marked = format!("\u{feff}{}", document(&[shared(ES256, r#""kid":"a""#)]));
    assert_eq!(keys(&auth).replace(marked.as_bytes()).unwrap().used, 1);
}

#[test]
fn when_no_key_can_be_used_it_is_said_of_each_which_it_is_and_why() {
    let auth = auth(&[ES256]);
    let bad = shared(ES256, r#""kid":"first""#).replace("\"x\":\"", "\"x\":\"!");
    keys(&auth).begin();
    let error = keys(&auth).replace(document(&[bad, shared(RS256, "")]).as_bytes()).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("first") && told.contains("\"x\""), "{told}");
    assert!(told.contains("key 2") && told.contains("not for signatures"), "{told}");
    assert!(keys(&auth).missing().unwrap().contains("first"));
}
