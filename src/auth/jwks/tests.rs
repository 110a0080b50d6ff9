//! The keys of an issuer: which of them are used, for which token, and when a fetch is asked for.

use super::set::{ASKED_APART, KeySet};
use crate::{
    auth::{
        Algorithm::{self, *},
        Auth, JwtSettings, JwtVerifier, KeyError, KeySource, MintError, Reject, TokenError, mint,
        tests::keys::{SECRET, TestKeys, hmac_sign, token},
    },
    identity::Identity,
};
use aws_lc_rs::hmac::HMAC_SHA256;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{advance, timeout};

pub(super) fn settings(algorithms: &[Algorithm]) -> JwtSettings {
    JwtSettings {
        algorithms: algorithms.to_vec(),
        audience: Vec::new(),
        issuer: Vec::new(),
        user_claim: "sub".to_owned(),
        leeway: Duration::ZERO,
        key: KeySource::Jwks("https://id.example/keys".parse().unwrap()),
    }
}

/// Who trusts an issuer, of whose keys nothing is known yet.
pub(super) fn auth(algorithms: &[Algorithm]) -> Auth {
    let verifier = JwtVerifier::new(settings(algorithms)).unwrap();
    Auth::new(Vec::new(), Reject::Status, Some(verifier), Vec::new())
}

pub(super) fn keys(auth: &Auth) -> &Arc<KeySet> {
    auth.key_set().unwrap()
}

/// A fetch that brought these keys.
pub(super) fn publish(auth: &Auth, jwks: &[String]) {
    keys(auth).begin();
    keys(auth).replace(document(jwks).as_bytes()).unwrap();
}

pub(super) fn document(jwks: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, jwks.join(","))
}

pub(super) fn shared(algorithm: Algorithm, members: &str) -> String {
    TestKeys::shared().jwk(algorithm, members)
}

/// A token of the issuer whose header has these further members.
pub(super) fn made_by(keys: &TestKeys, algorithm: Algorithm, members: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(r#"{{"sub":"42","exp":{}}}"#, now + 3600);
    let comma = if members.is_empty() { "" } else { "," };
    let header = format!(r#"{{"alg":"{algorithm}"{comma}{members}}}"#);
    token(&header, &claims, |message| keys.sign(algorithm, message))
}

pub(super) fn made(algorithm: Algorithm, members: &str) -> String {
    made_by(TestKeys::shared(), algorithm, members)
}

pub(super) fn verify(auth: &Auth, token: &str) -> Result<Identity, TokenError> {
    auth.verify(token, SystemTime::now())
}

pub(super) const PUBLIC: [Algorithm; 9] =
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];

#[test]
fn keys_of_every_kind_prove_the_tokens_of_their_algorithms() {
    let auth = auth(&PUBLIC);
    let jwk = |algorithm, kid| shared(algorithm, &format!(r#""kid":"{kid}","use":"sig""#));
    publish(&auth, &[jwk(RS256, "r"), jwk(ES256, "e"), jwk(ES384, "f"), jwk(EdDSA, "o")]);
    for algorithm in PUBLIC {
        let kid = match algorithm {
            ES256 => "e",
            ES384 => "f",
            EdDSA => "o",
            _ => "r",
        };
        let token = made(algorithm, &format!(r#""kid":"{kid}""#));
        assert_eq!(verify(&auth, &token).map(|who| who.user.to_string()), Ok("42".to_owned()));
        let stranger = made_by(&TestKeys::generate(), algorithm, &format!(r#""kid":"{kid}""#));
        assert_eq!(verify(&auth, &stranger), Err(TokenError::Invalid), "{algorithm}");
    }
}

#[test]
fn a_token_is_checked_against_the_key_that_it_names_and_no_other() {
    let auth = auth(&[ES256, EdDSA]);
    let other = TestKeys::generate();
    publish(
        &auth,
        &[
            shared(ES256, r#""kid":"old""#),
            other.jwk(ES256, r#""kid":"new""#),
            shared(EdDSA, r#""kid":"ed""#),
        ],
    );
    for (token, expected) in [
        (made(ES256, r#""kid":"old""#), None),
        (made_by(&other, ES256, r#""kid":"new""#), None),
        (made(ES256, r#""kid":"new""#), Some(TokenError::Invalid)),
        (made(ES256, r#""kid":"ed""#), Some(TokenError::Invalid)),
        (made(ES256, r#""kid":"none of them""#), Some(TokenError::KeyUnknown)),
        (made(ES256, r#""kid":"""#), Some(TokenError::KeyUnknown)),
        (made(ES256, r#""kid":7"#), Some(TokenError::Invalid)),
        (made(ES256, r#""kid":null"#), Some(TokenError::Invalid)),
        // Without a kid: one key fits EdDSA, and two fit ES256.
        (made(EdDSA, ""), None),
        (made(ES256, ""), Some(TokenError::Invalid)),
    ] {
        assert_eq!(verify(&auth, &token).err(), expected, "{token}");
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused_whatever_the_issuer_publishes() {
    let auth = auth(&[ES256]);
    publish(&auth, &[shared(ES256, r#""kid":"a""#), shared(RS256, r#""kid":"b""#)]);
    for algorithm in [RS256, PS256, EdDSA, ES384, HS256] {
        let token = made(algorithm, r#""kid":"b""#);
        assert_eq!(verify(&auth, &token), Err(TokenError::Invalid), "{algorithm}");
    }
    let public = TestKeys::shared().public_der(ES256);
    let header = r#"{"alg":"HS256","kid":"a"}"#;
    let confused =
        token(header, r#"{"sub":"1"}"#, |message| hmac_sign(HMAC_SHA256, &public, message));
    assert_eq!(verify(&auth, &confused), Err(TokenError::Invalid));
    assert_eq!(keys(&auth).request_fetch(), Some(2), "none of them was worth a fetch");
}

#[test]
fn a_secret_that_an_issuer_publishes_proves_nothing() {
    let auth = auth(&[ES256]);
    let secret = r#"{"kty":"oct","kid":"s","k":"c2VjcmV0"}"#.to_owned();
    publish(&auth, &[shared(ES256, r#""kid":"a""#), secret]);
    for header in [r#"{"alg":"HS256","kid":"s"}"#, r#"{"alg":"ES256","kid":"s"}"#] {
        let forged = token(header, r#"{"sub":"1","exp":9999999999}"#, |message| {
            hmac_sign(HMAC_SHA256, b"secret", message)
        });
        assert!(verify(&auth, &forged).is_err(), "{header}");
    }
}

#[test]
fn what_is_no_key_set_or_has_no_usable_key_leaves_the_keys_as_they_are() {
    let auth = auth(&[ES256]);
    publish(&auth, &[shared(ES256, r#""kid":"a""#)]);
    let token = made(ES256, r#""kid":"a""#);
    let deep = format!(r#"{{"keys":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    for document in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"keys":null}"#,
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
        "<html>sign in</html>",
        "\u{feff}{}",
        &deep,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        keys(&auth).begin();
        assert!(keys(&auth).replace(document.as_bytes()).is_err(), "{document:.40}");
        assert!(verify(&auth, &token).is_ok());
        assert!(!keys(&auth).is_fresh());
    }
    keys(&auth).begin();
    assert!(keys(&auth).replace(&[0xff; 100]).is_err());
}

#[test]
fn keys_of_an_issuer_are_for_no_shared_secret() {
    let error = JwtVerifier::new(settings(&[ES256, HS256])).err();
    assert_eq!(error, Some(KeyError::NeedsSecret(HS256)));
    let minted = mint(&settings(&[ES256]), "42", Duration::from_secs(60), &[], SystemTime::now());
    assert!(matches!(minted, Err(MintError::NotHmac)));
    assert!(!format!("{:?}", settings(&[ES256])).contains(SECRET));
}

#[tokio::test(start_paused = true)]
async fn a_token_waits_for_the_first_keys_and_is_told_when_they_do_not_come() {
    let auth = auth(&[ES256]);
    let token = made(ES256, r#""kid":"a""#);
    assert_eq!(keys(&auth).missing().as_deref(), Some("not fetched yet"));
    let failed = async {
        keys(&auth).begin();
        advance(Duration::from_secs(1)).await;
        keys(&auth).fail("no answer".to_owned());
    };
    let (verified, ()) = tokio::join!(auth.authenticate(&token), failed);
    assert_eq!(verified, Err(TokenError::KeyUnknown));
    assert_eq!(keys(&auth).missing().as_deref(), Some("no answer"));
    // No fetch is under way: there is nothing to wait for.
    assert_eq!(auth.authenticate(&token).await, Err(TokenError::KeyUnknown));
    let came = async { publish(&auth, &[shared(ES256, r#""kid":"a""#)]) };
    keys(&auth).begin();
    let (verified, ()) = tokio::join!(auth.authenticate(&token), came);
    assert!(verified.is_ok());
    assert_eq!(keys(&auth).missing(), None);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_asks_once_for_all_who_wait_and_at_most_every_thirty_seconds() {
    let auth = auth(&[ES256]);
    let other = TestKeys::generate();
    publish(&auth, &[shared(ES256, r#""kid":"old""#)]);
    let rotated = made_by(&other, ES256, r#""kid":"new""#);
    let made_up = made(ES256, r#""kid":"made up""#);
    let issuer = async {
        keys(&auth).next_request().await;
        publish(&auth, &[shared(ES256, r#""kid":"old""#), other.jwk(ES256, r#""kid":"new""#)]);
    };
    let (first, second, third, ()) = tokio::join!(
        auth.authenticate(&rotated),
        auth.authenticate(&rotated),
        auth.authenticate(&made_up),
        issuer
    );
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(third, Err(TokenError::Invalid));
    assert!(verify(&auth, &made(ES256, r#""kid":"old""#)).is_ok(), "the old key overlaps");

    for _ in 0..100 {
        advance(ASKED_APART / 101).await;
        assert_eq!(auth.authenticate(&made_up).await, Err(TokenError::Invalid));
    }
    assert!(timeout(Duration::ZERO, keys(&auth).next_request()).await.is_err(), "asked too soon");
    advance(ASKED_APART).await;
    assert_eq!(keys(&auth).request_fetch(), Some(3));
    assert!(timeout(Duration::ZERO, keys(&auth).next_request()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn while_the_issuer_is_down_known_keys_serve_and_unknown_ones_are_not_called_wrong() {
    let auth = auth(&[ES256]);
    publish(&auth, &[shared(ES256, r#""kid":"a""#)]);
    for _ in 0..1000 {
        advance(Duration::from_secs(60)).await;
        keys(&auth).begin();
        keys(&auth).fail("no answer".to_owned());
    }
    assert!(auth.authenticate(&made(ES256, r#""kid":"a""#)).await.is_ok());
    let down = async {
        keys(&auth).next_request().await;
        keys(&auth).begin();
        keys(&auth).fail("no answer".to_owned());
    };
    let unknown = made(ES256, r#""kid":"b""#);
    let (verified, ()) = tokio::join!(auth.authenticate(&unknown), down);
    assert_eq!(verified, Err(TokenError::KeyUnknown));
    assert_eq!(auth.authenticate(&unknown).await, Err(TokenError::KeyUnknown));
}

/// Another one that was put together from the configuration since, with nothing fetched.
fn reread(settings: JwtSettings) -> Arc<Auth> {
    let verifier = JwtVerifier::new(settings).unwrap();
    Arc::new(Auth::new(Vec::new(), Reject::Close, Some(verifier), Vec::new()))
}

#[test]
fn what_was_fetched_is_kept_for_the_same_issuer_and_algorithms_only() {
    let before = auth(&[ES256]);
    publish(&before, &[shared(ES256, r#""kid":"a""#)]);
    let token = made(ES256, r#""kid":"a""#);
    let strict = JwtSettings { audience: vec!["us".to_owned()], ..settings(&[ES256]) };
    let kept = reread(settings(&[ES256])).with_keys_of(&before);
    assert!(Arc::ptr_eq(keys(&kept), keys(&before)));
    assert!(verify(&kept, &token).is_ok());
    assert_eq!(kept.reject, Reject::Close, "all else is the new one's");
    let kept = reread(strict).with_keys_of(&before);
    assert_eq!(verify(&kept, &token), Err(TokenError::Invalid));

    let elsewhere = KeySource::Jwks("https://id.example/other".parse().unwrap());
    let elsewhere = JwtSettings { key: elsewhere, ..settings(&[ES256]) };
    let both = auth(&[ES256, EdDSA]);
    let reordered = reread(settings(&[EdDSA, ES256])).with_keys_of(&both);
    assert!(Arc::ptr_eq(keys(&reordered), keys(&both)), "an order is no other choice");
    for other in [settings(&[ES256, EdDSA]), elsewhere] {
        let anew = reread(other).with_keys_of(&before);
        assert!(keys(&anew).missing().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_keys_is_told_when_nobody_fetches_them_any_more() {
    let without_keys = auth(&[ES256]);
    let with_keys = auth(&[ES256]);
    publish(&with_keys, &[shared(ES256, r#""kid":"a""#)]);
    let unknown = made(ES256, r#""kid":"b""#);
    for auth in [without_keys, with_keys] {
        let stopped = async { keys(&auth).stop() };
        let (verified, ()) = tokio::join!(auth.authenticate(&unknown), stopped);
        assert_eq!(verified, Err(TokenError::KeyUnknown));
        advance(2 * ASKED_APART).await;
        assert_eq!(auth.authenticate(&unknown).await, Err(TokenError::KeyUnknown));
    }
}
