//! What a JSON Web Token must say, claim by claim, and the exact edges of its times.

use super::{
    super::tests::keys::{TestKeys, verifier},
    *,
};
use crate::auth::TokenError;
use Algorithm::*;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verify(verifier: &JwtVerifier, claims: &str) -> Result<Identity, TokenError> {
    let algorithm = verifier.settings.algorithms[0];
    let verified = verifier.verify(&TestKeys::shared().token(algorithm, claims), at(NOW));
    verified.map_err(TokenError::from)
}

/// What becomes of an HS256 token that is good but for these additional members.
fn with(members: &str) -> Result<Identity, TokenError> {
    verify(&verifier(&[HS256], |_| {}), &format!(r#"{{"exp":{},{members}}}"#, NOW + 60))
}

#[test]
fn a_right_token_of_every_algorithm_says_who_the_client_is() {
    let claims = format!(
        r#"{{"sub":"42","exp":{},"nbf":{NOW},"iat":9999999999,"jti":"t1","tenant":"acme","level":-7,"admin":true,
        "ratio":1.5,"roles":["a"],"address":{{"x":1}},"nothing":null}}"#,
        NOW + 60
    );
    for algorithm in Algorithm::ALL {
        let identity = verify(&verifier(&[algorithm], |_| {}), &claims).unwrap();
        assert_eq!(&*identity.user, "42", "{algorithm}");
        assert_eq!(identity.token_id.as_deref(), Some("t1"));
        assert_eq!(identity.expires, Some(at(NOW + 90)));
        for (name, texts) in [
            ("admin", vec!["true"]),
            ("exp", vec!["1800000060"]),
            ("level", vec!["-7"]),
            ("tenant", vec!["acme"]),
            ("ratio", vec!["1.5"]),
            ("roles", vec!["a"]),
            ("address.x", vec!["1"]),
        ] {
            assert_eq!(identity.claims.texts(name).unwrap(), texts, "{name}");
        }
        assert!(identity.claims.texts("nothing").is_err());
    }
}

#[test]
fn every_listed_algorithm_is_taken_and_no_other() {
    let verifier = verifier(&[RS256, PS384], |_| {});
    let claims = format!(r#"{{"sub":"42","exp":{}}}"#, NOW + 60);
    for algorithm in Algorithm::ALL {
        let token = TestKeys::shared().token(algorithm, &claims);
        let taken = verifier.verify(&token, at(NOW)).is_ok();
        assert_eq!(taken, [RS256, PS384].contains(&algorithm), "{algorithm}");
    }
}

#[test]
fn expiry_is_exact_at_the_edge_of_the_leeway() {
    for (exp, expected) in [
        (NOW - 31, Err(TokenError::Expired)),
        (NOW - 30, Err(TokenError::Expired)),
        (NOW - 29, Ok(at(NOW + 1))),
        (NOW, Ok(at(NOW + 30))),
        (0, Err(TokenError::Expired)),
        (253_402_300_799, Ok(at(253_402_300_829))),
        (253_402_300_800, Err(TokenError::Invalid)),
        (u64::MAX, Err(TokenError::Invalid)),
    ] {
        let claims = format!(r#"{{"sub":"42","exp":{exp}}}"#);
        let verified = verify(&verifier(&[HS256], |_| {}), &claims);
        assert_eq!(verified.map(|identity| identity.expires.unwrap()), expected, "exp {exp}");
    }
}

#[test]
fn not_before_is_exact_at_the_edge_of_the_leeway() {
    for (nbf, accepted) in [(NOW, true), (NOW + 29, true), (NOW + 30, true), (NOW + 31, false)] {
        let verified = with(&format!(r#""sub":"42","nbf":{nbf}"#));
        assert_eq!(verified.is_ok(), accepted, "nbf {nbf}");
    }
    let claims = format!(r#"{{"sub":"42","exp":{},"nbf":{}}}"#, NOW - 99, NOW + 99);
    assert_eq!(verify(&verifier(&[HS256], |_| {}), &claims), Err(TokenError::Invalid));
}

#[test]
fn dates_are_numbers_of_this_era_and_exp_must_be_there() {
    for claims in [
        r#"{"sub":"42"}"#,
        r#"{"sub":"42","exp":null}"#,
        r#"{"sub":"42","exp":"1800000060"}"#,
        r#"{"sub":"42","exp":-1}"#,
        r#"{"sub":"42","exp":1e300}"#,
        r#"{"sub":"42","exp":[1800000060]}"#,
        r#"{"sub":"42","exp":true}"#,
        r#"{"sub":"42","exp":1800000060000}"#,
        r#"{"sub":"42","exp":1800000060,"nbf":"1800000000"}"#,
        r#"{"sub":"42","exp":1800000060,"nbf":null}"#,
        r#"{"sub":"42","exp":1800000060,"nbf":-1e9}"#,
    ] {
        let verified = verify(&verifier(&[HS256], |_| {}), claims);
        assert_eq!(verified, Err(TokenError::Invalid), "{claims}");
    }
    let half = verify(&verifier(&[HS256], |_| {}), r#"{"sub":"42","exp":1800000060.5}"#);
    assert_eq!(half.unwrap().expires, Some(at(NOW + 90) + Duration::from_millis(500)));
}

#[test]
fn issuer_and_audience_are_required_once_they_are_configured() {
    let strict = verifier(&[HS256], |settings| {
        settings.issuer = vec!["us".to_owned(), "them".to_owned()];
        settings.audience = vec!["sockway".to_owned()];
    });
    let good = r#""iss":"us","aud":"sockway""#;
    for (members, accepted) in [
        (good, true),
        (r#""iss":"them","aud":["other","sockway"]"#, true),
        (r#""iss":"us""#, false),
        (r#""aud":"sockway""#, false),
        (r#""iss":"other","aud":"sockway""#, false),
        (r#""iss":"US","aud":"sockway""#, false),
        (r#""iss":["us"],"aud":"sockway""#, false),
        (r#""iss":"","aud":"sockway""#, false),
        (r#""iss":null,"aud":"sockway""#, false),
        (r#""iss":"us","aud":"other""#, false),
        (r#""iss":"us","aud":"sockway2""#, false),
        (r#""iss":"us","aud":[]"#, false),
        (r#""iss":"us","aud":null"#, false),
        (r#""iss":"us","aud":["sockway",1]"#, false),
        (r#""iss":"us","aud":[["sockway"]]"#, false),
        (r#""iss":"us","aud":{"sockway":1}"#, false),
    ] {
        let claims = format!(r#"{{"sub":"42","exp":{},{members}}}"#, NOW + 60);
        assert_eq!(verify(&strict, &claims).is_ok(), accepted, "{members}");
    }
    assert!(with(&format!(r#""sub":"42",{good}"#)).is_ok(), "not configured, so not checked");
    let expired = format!(r#"{{"sub":"42","exp":1,{}}}"#, good.replace("us", "other"));
    assert_eq!(verify(&strict, &expired), Err(TokenError::Invalid), "a stranger learns nothing");
}

#[test]
fn the_user_is_a_text_or_a_whole_number() {
    for (sub, user) in [
        (r#""42""#, "42"),
        ("42", "42"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        (r#""ü""#, "ü"),
        ("42.0", "42"),
        ("4.2e1", "42"),
        ("1e3", "1000"),
        ("-0", "0"),
    ] {
        assert_eq!(&*with(&format!(r#""sub":{sub}"#)).unwrap().user, user, "{sub}");
    }
    for sub in [
        r#""""#,
        "1.5",
        "1e20",
        "18446744073709551616",
        "true",
        "null",
        r#"["42"]"#,
        r#"{"id":"42"}"#,
    ] {
        assert_eq!(with(&format!(r#""sub":{sub}"#)), Err(TokenError::Invalid), "{sub}");
    }
    assert_eq!(with(r#""name":"42""#), Err(TokenError::Invalid), "no sub");
    let by_id = verifier(&[HS256], |settings| settings.user_claim = "uid".to_owned());
    let claims = format!(r#"{{"sub":"42","uid":7,"exp":{}}}"#, NOW + 60);
    assert_eq!(&*verify(&by_id, &claims).unwrap().user, "7");
    let nested = verifier(&[HS256], |settings| settings.user_claim = "realm.user".to_owned());
    for (members, user) in [
        (r#""realm":{"user":"ann"}"#, "ann"),
        (r#""realm":{"user":7}"#, "7"),
        (r#""realm.user":"whole","realm":{"user":"ann"}"#, "whole"),
    ] {
        let claims = format!(r#"{{"exp":{},{members}}}"#, NOW + 60);
        assert_eq!(&*verify(&nested, &claims).unwrap().user, user, "{members}");
    }
}

#[test]
fn a_token_that_could_never_be_revoked_by_its_jti_is_refused() {
    let jti = |jti: &str| with(&format!(r#""sub":"42","jti":{jti}"#));
    for (written, id) in [(r#""t1""#, "t1"), ("7", "7"), ("7.0", "7"), ("1e3", "1000")] {
        assert_eq!(jti(written).unwrap().token_id.as_deref(), Some(id), "{written}");
    }
    for written in ["1e20", "18446744073709551616", r#"{"a":1}"#, "[1]", "null"] {
        assert_eq!(jti(written), Err(TokenError::Invalid), "{written}");
    }
    assert_eq!(with(r#""sub":"42""#).unwrap().token_id, None, "it may be absent");
}

#[test]
fn a_duplicate_claim_refuses_the_token() {
    for members in [
        r#""sub":"42","sub":"1""#,
        r#""sub":"42","sub":"42""#,
        r#""sub":"42","exp":1800000060"#,
        r#""sub":"42","tenant":"a","tenant":"b""#,
        r#""sub":"42","\u0073ub":"1""#,
        r#""sub":"42","realm":{"tenant":"a","tenant":"b"}"#,
    ] {
        assert_eq!(with(members), Err(TokenError::Invalid), "{members}");
    }
}
