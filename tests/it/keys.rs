//! Public keys: every family of algorithms with a real key pair, and attempts to bypass it.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    settings::notifications,
    token::{self, now, signed_by},
};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A gateway that trusts only this key. The directory contains the key's file.
fn start(algorithm: &str, pem: &str) -> (Redis, Gateway, TempDir) {
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("key.pem");
    std::fs::write(&file, pem).expect("written");
    let settings = Settings::new(&redis)
        .without("auth.jwt.secret")
        .set("auth.jwt.algorithms", vec![algorithm])
        .set("auth.jwt.public_key_file", file.to_str().expect("UTF-8"))
        .endpoint(notifications());
    (redis, Gateway::start(&settings), directory)
}

fn pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    let der = key.as_der().expect("a public key can be written");
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": now() + 600})
}

/// The key's tokens are accepted; tokens made from its public half are not.
#[track_caller]
fn assert_trusted(algorithm: &str, pem: &str, sign: impl Fn(&[u8]) -> Vec<u8>) {
    let (redis, gateway, _directory) = start(algorithm, pem);
    let header = json!({ "alg": algorithm });
    let good = signed_by(&header, &claims(), &sign);
    let mut client = gateway.open_with(&good, "/ws/me");
    redis.publish("user:ann", algorithm);
    assert_eq!(client.text(), algorithm);

    let (body, _) = good.rsplit_once('.').expect("three parts");
    let (_, other) = good.split_once('.').expect("three parts");
    for forged in [
        token::made(&json!({"alg": "HS256"}), &claims(), pem.as_bytes()),
        token::made(&json!({"alg": "HS256"}), &claims(), pem.trim().as_bytes()),
        token::made(&header, &claims(), pem.as_bytes()),
        format!("{body}."),
        // The right signature under another header.
        format!("{}.{other}", "eyJhbGciOiJub25lIn0"),
        token::of("ann"),
    ] {
        let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&forged));
        answer.assert_refused(401, "token_invalid");
    }
}

#[test]
fn rsa_keys_verify_rs256_and_ps256() {
    let key = rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let sign = |encoding: &'static dyn RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("signed");
        signature
    };
    let pem = pem(key.public_key());
    assert_trusted("RS256", &pem, |message| sign(&signature::RSA_PKCS1_SHA256, message));
    assert_trusted("PS256", &pem, |message| sign(&signature::RSA_PSS_SHA256, message));
}

#[test]
fn elliptic_keys_verify_es256() {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    assert_trusted("ES256", &pem(key.public_key()), |message| {
        key.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec()
    });
}

#[test]
fn edwards_keys_verify_eddsa() {
    let key = Ed25519KeyPair::generate().expect("a key");
    assert_trusted("EdDSA", &pem(key.public_key()), |message| key.sign(message).as_ref().to_vec());
}

#[test]
fn the_claims_of_a_static_token_fill_templates() {
    let redis = Redis::start();
    let claims = toml::Table::from_iter([("tenant".to_owned(), "acme".into())]);
    let settings = Settings::new(&redis)
        .without("auth.jwt")
        .static_token_with("a-static-token", "bot", claims)
        .endpoint(Endpoint::new("tenants", "/ws/tenant", &["tenant:{claim.tenant}:{user}"]));
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open_with("a-static-token", "/ws/tenant");
    redis.publish("tenant:acme:bot", "hello");
    assert_eq!(client.text(), "hello");
    let answer = gateway.send(&Request::upgrade("/ws/tenant").bearer("another-token"));
    answer.assert_refused(401, "token_invalid");
}
