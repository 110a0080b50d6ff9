//! Tokens that attackers make: every one must be refused, and none may panic.

use super::keys::{SECRET, TestKeys, hmac_sign, token, verifier};
use crate::{
    auth::{
        Algorithm::{self, *},
        Auth, JwtVerifier, Reject, StaticToken, TokenError,
    },
    identity::Claims,
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac::HMAC_SHA256,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

/// Good in every respect, so that only the attack can be why a token is refused.
const CLAIMS: &str = r#"{"sub":"admin","exp":1800000060}"#;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn auth(jwt: JwtVerifier) -> Auth {
    let sha256 = digest(&SHA256, b"a static token").as_ref().try_into().unwrap();
    let token = StaticToken { sha256, user: "1".to_owned(), claims: Claims::default() };
    Auth::new(Vec::new(), Reject::Status, Some(jwt), vec![token])
}

/// A token with this header, signed with the right secret.
fn signed(header: &str) -> String {
    token(header, CLAIMS, |message| hmac_sign(HMAC_SHA256, SECRET.as_bytes(), message))
}

/// A token with this header, signed with a secret that the attacker knows.
fn forged(header: &str, secret: &[u8]) -> String {
    token(header, CLAIMS, |message| hmac_sign(HMAC_SHA256, secret, message))
}

fn unsigned(algorithm: &str) -> String {
    token(&format!(r#"{{"alg":{algorithm}}}"#), CLAIMS, |_| Vec::new())
}

fn attacks_on_a_secret() -> Vec<(&'static str, String)> {
    let stranger = TestKeys::generate();
    let good = TestKeys::shared().token(HS256, CLAIMS);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let jwk = r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YXR0YWNrZXI"}}"#;
    vec![
        ("alg none", unsigned(r#""none""#)),
        ("alg None", unsigned(r#""None""#)),
        ("alg NONE", unsigned(r#""NONE""#)),
        ("alg nOnE", unsigned(r#""nOnE""#)),
        ("alg empty", unsigned(r#""""#)),
        ("alg null", unsigned("null")),
        ("alg a list", unsigned(r#"["HS256"]"#)),
        ("alg none, the right signature", signed(r#"{"alg":"none"}"#)),
        ("alg in lower case", signed(r#"{"alg":"hs256"}"#)),
        ("alg missing", signed(r#"{"typ":"JWT"}"#)),
        ("alg twice", signed(r#"{"alg":"none","alg":"HS256"}"#)),
        ("alg not listed", TestKeys::shared().token(HS384, CLAIMS)),
        ("alg of a stranger's key", stranger.token(RS256, CLAIMS)),
        ("header no object", signed(r#"["HS256"]"#)),
        ("crit", signed(r#"{"alg":"HS256","crit":["exp"]}"#)),
        ("crit empty", signed(r#"{"alg":"HS256","crit":[]}"#)),
        ("crit with b64", signed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#)),
        ("kid with a path", forged(r#"{"alg":"HS256","kid":"../../dev/null"}"#, b"")),
        ("kid with an injection", forged(r#"{"alg":"HS256","kid":"x' UNION SELECT 'a"}"#, b"a")),
        ("jwk", forged(jwk, b"attacker")),
        ("jku", forged(r#"{"alg":"HS256","jku":"http://127.0.0.1:9/keys"}"#, b"attacker")),
        ("x5u", forged(r#"{"alg":"HS256","x5u":"http://127.0.0.1:9/cert"}"#, b"attacker")),
        ("x5c", forged(r#"{"alg":"HS256","x5c":["MIIB"]}"#, b"attacker")),
        ("no secret", forged(r#"{"alg":"HS256"}"#, b"")),
        ("another secret", forged(r#"{"alg":"HS256"}"#, b"secret")),
        ("no signature", format!("{message}.")),
        ("no signature, no dot", message.to_owned()),
        ("a signature cut to one byte", format!("{message}.{}", &signature[..2])),
        ("four parts", format!("{good}.{signature}")),
        ("five parts, as an encrypted token", format!("{good}.{signature}.{signature}")),
        ("padded", format!("{good}=")),
        ("a line break behind", format!("{good}\n")),
        ("a space before", format!(" {good}")),
        ("standard base64", good.replace(['-', '_'], "+") + "+/"),
        ("three dots", "...".to_owned()),
        ("no base64", "ä.ö.ü".to_owned()),
        ("payload no object", TestKeys::shared().token(HS256, "[1]")),
        ("payload no JSON", TestKeys::shared().token(HS256, "hello")),
        ("payload with more behind", TestKeys::shared().token(HS256, &format!("{CLAIMS}{CLAIMS}"))),
        ("payload nested too deep", TestKeys::shared().token(HS256, &"[".repeat(4000))),
        ("payload empty", TestKeys::shared().token(HS256, "")),
    ]
}

fn attacks_on_a_public_key() -> Vec<(&'static str, String)> {
    let stranger = TestKeys::generate();
    let (pem, der) = (TestKeys::shared().public_pem(RS256), TestKeys::shared().public_der(RS256));
    let hs256 = r#"{"alg":"HS256"}"#;
    let rs256 = r#"{"alg":"RS256"}"#;
    let jwk = r#"{"alg":"RS256","jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}}"#;
    vec![
        ("the PEM as secret", forged(hs256, pem.as_bytes())),
        ("the PEM as secret, trimmed", forged(hs256, pem.trim_end().as_bytes())),
        ("the DER as secret", forged(hs256, &der)),
        ("the DER as secret, but RS256 on it", forged(rs256, &der)),
        ("no secret", forged(hs256, b"")),
        ("alg none", unsigned(r#""none""#)),
        ("a stranger's key", stranger.token(RS256, CLAIMS)),
        ("a stranger's key in jwk", token(jwk, CLAIMS, |m| stranger.sign(RS256, m))),
        ("another RSA algorithm of the right key", TestKeys::shared().token(RS384, CLAIMS)),
        (
            "PSS under the name of PKCS #1",
            token(rs256, CLAIMS, |m| TestKeys::shared().sign(PS256, m)),
        ),
        ("a signature of zeros", token(rs256, CLAIMS, |_| vec![0; 256])),
        ("an empty signature", token(rs256, CLAIMS, |_| Vec::new())),
    ]
}

#[test]
fn every_made_attack_token_is_refused() {
    let secret = auth(verifier(&[HS256], |_| {}));
    let public = auth(verifier(&[RS256], |_| {}));
    assert!(secret.verify(&signed(r#"{"alg":"HS256"}"#), now()).is_ok(), "else nothing is shown");
    assert!(public.verify(&TestKeys::shared().token(RS256, CLAIMS), now()).is_ok());
    for (auth, attacks) in [(secret, attacks_on_a_secret()), (public, attacks_on_a_public_key())] {
        for (name, token) in attacks {
            assert_eq!(auth.verify(&token, now()), Err(TokenError::Invalid), "{name}: {token}");
        }
    }
}

#[test]
fn headers_that_name_keys_elsewhere_are_ignored_when_the_signature_is_right() {
    let auth = auth(verifier(&[HS256], |_| {}));
    let header =
        r#"{"alg":"HS256","kid":"1","jku":"http://127.0.0.1:9/","x5t":"a","typ":"at+jwt"}"#;
    assert!(auth.verify(&signed(header), now()).is_ok());
}

#[test]
fn an_elliptic_signature_of_zeros_is_refused() {
    for algorithm in [ES256, ES384, EdDSA] {
        let auth = auth(verifier(&[algorithm], |_| {}));
        for length in [0, 1, 63, 64, 65, 96, 97] {
            let header = format!(r#"{{"alg":"{algorithm}"}}"#);
            let token = token(&header, CLAIMS, |_| vec![0; length]);
            assert_eq!(
                auth.verify(&token, now()),
                Err(TokenError::Invalid),
                "{algorithm} {length}"
            );
        }
    }
}

#[test]
fn a_token_up_to_8_kib_is_looked_at_and_a_longer_one_is_not() {
    let auth = auth(verifier(&[HS256], |_| {}));
    let of_length = |padding: usize| {
        let claims = format!(r#"{{"sub":"42","exp":1800000060,"x":"{}"}}"#, "a".repeat(padding));
        TestKeys::shared().token(HS256, &claims)
    };
    let fits = (0..).map(of_length).take_while(|token| token.len() <= 8192).last().unwrap();
    assert!(fits.len() > 8188);
    assert!(auth.verify(&fits, now()).is_ok());
    let too_long = (0..).map(of_length).find(|token| token.len() > 8192).unwrap();
    assert_eq!(auth.verify(&too_long, now()), Err(TokenError::Invalid));
    assert_eq!(auth.verify(&"a".repeat(9 * 1024), now()), Err(TokenError::Invalid));
    assert_eq!(auth.verify("", now()), Err(TokenError::Invalid));
}

#[test]
fn static_tokens_and_web_tokens_live_side_by_side() {
    let auth = auth(verifier(&[HS256], |_| {}));
    assert_eq!(&*auth.verify("a static token", now()).unwrap().user, "1");
    assert_eq!(&*auth.verify(&signed(r#"{"alg":"HS256"}"#), now()).unwrap().user, "admin");
    let neither = Auth::new(Vec::new(), Reject::Status, None, Vec::new());
    assert_eq!(neither.verify("a static token", now()), Err(TokenError::Invalid));
}

#[test]
fn nothing_secret_is_in_the_debug_text() {
    let text = format!("{:?}", auth(verifier(&[HS256], |_| {})));
    assert!(!text.contains(SECRET) && !text.contains("a static token"), "{text}");
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!text.contains(bytes.trim_matches(['[', ']'])), "{text}");
}

/// One damage to a token: bits, bytes, cuts, doublings, swaps.
fn damaged(token: &str, random: &mut fastrand::Rng) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = random.usize(..bytes.len());
    match random.u8(..6) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, random.u8(0x21..0x7f)),
        4 => drop(bytes.remove(at)),
        _ => {
            let other = random.usize(..bytes.len());
            bytes.swap(at, other);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn of_ten_thousand_damaged_tokens_none_is_accepted() {
    let mut random = fastrand::Rng::with_seed(42);
    let algorithms: [(Algorithm, usize); 4] =
        [(HS256, 7_000), (RS256, 1_000), (ES256, 1_000), (EdDSA, 1_000)];
    for (algorithm, rounds) in algorithms {
        let auth = auth(verifier(&[algorithm], |_| {}));
        let good = TestKeys::shared().token(algorithm, CLAIMS);
        for _ in 0..rounds {
            let bad = damaged(&good, &mut random);
            if bad != good {
                assert_eq!(auth.verify(&bad, now()), Err(TokenError::Invalid), "{good}\n{bad}");
            }
        }
    }
}

#[test]
fn every_single_bit_of_a_token_counts() {
    let auth = auth(verifier(&[HS256], |_| {}));
    let good = TestKeys::shared().token(HS256, CLAIMS);
    for bit in 0..good.len() * 7 {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 7] ^= 1 << (bit % 7);
        let bad = String::from_utf8(bytes).unwrap();
        assert_eq!(auth.verify(&bad, now()), Err(TokenError::Invalid), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn no_text_at_all_panics_or_is_accepted(text in any::<String>(), ascii in "[ -~]{0,60}(\\.[ -~]{0,60}){0,4}") {
        let auth = auth(verifier(&[HS256], |_| {}));
        prop_assert_eq!(auth.verify(&text, now()), Err(TokenError::Invalid));
        prop_assert_eq!(auth.verify(&ascii, now()), Err(TokenError::Invalid));
    }

    #[test]
    fn no_signed_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..80), claims in "[{}\\[\\]\",:0-9a-z]{0,80}") {
        let auth = auth(verifier(&[HS256], |_| {}));
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        for part in [&payload[..], claims.as_bytes()] {
            let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(part));
            let signature = hmac_sign(HMAC_SHA256, SECRET.as_bytes(), message.as_bytes());
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
            prop_assert_eq!(auth.verify(&token, now()), Err(TokenError::Invalid));
        }
    }
}
