//! Keys and signatures for tests, made anew in each run; no real key is or ever was among them.
//!
//! Signs with `aws-lc-rs` directly, so that verification is not tested with its own counterpart.

use crate::{
    auth::{Algorithm, JwtSettings, JwtVerifier, KeyKind, KeySource},
    secret::Secret,
};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

pub(in crate::auth) const SECRET: &str = "a test secret, and nothing else but a test secret";

pub(in crate::auth) struct TestKeys {
    rsa: Arc<rsa::KeyPair>,
    p256: EcdsaKeyPair,
    p384: Arc<EcdsaKeyPair>,
    ed25519: Arc<Ed25519KeyPair>,
}

impl TestKeys {
    /// The keys of the issuer whom the tests trust.
    pub(in crate::auth) fn shared() -> &'static Self {
        static KEYS: LazyLock<TestKeys> = LazyLock::new(TestKeys::generate);
        &KEYS
    }

    pub(in crate::auth) fn generate() -> Self {
        Self {
            rsa: rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap().into(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().into(),
            ed25519: Ed25519KeyPair::generate().unwrap().into(),
        }
    }

    /// The same with another key on P-256: quick, for tests that try many.
    pub(in crate::auth) fn generate_p256() -> Self {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let shared = Self::shared();
        let (rsa, p384, ed25519) = (&shared.rsa, &shared.p384, &shared.ed25519);
        Self { rsa: Arc::clone(rsa), p256, p384: Arc::clone(p384), ed25519: Arc::clone(ed25519) }
    }

    pub(in crate::auth) fn public_der(&self, algorithm: Algorithm) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match algorithm.key_kind().unwrap() {
            KeyKind::Rsa => self.rsa.public_key().as_der().unwrap(),
            KeyKind::P256 => self.p256.public_key().as_der().unwrap(),
            KeyKind::P384 => self.p384.public_key().as_der().unwrap(),
            KeyKind::Ed25519 => self.ed25519.public_key().as_der().unwrap(),
        };
        der.as_ref().to_vec()
    }

    pub(in crate::auth) fn public_pem(&self, algorithm: Algorithm) -> String {
        let body = STANDARD.encode(self.public_der(algorithm));
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    pub(in crate::auth) fn source(&self, algorithm: Algorithm) -> KeySource {
        match algorithm.is_hmac() {
            true => KeySource::HmacSecret(Secret::new(SECRET.to_owned())),
            false => KeySource::PublicKeyPem(self.public_pem(algorithm).into_bytes()),
        }
    }

    /// A 1024-bit RSA public key in PKCS #1: an odd modulus of that size and the exponent 65537.
    pub(in crate::auth) fn small_rsa(&self) -> Vec<u8> {
        let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        der.extend([0xc5; 128]);
        der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        der
    }

    /// The signature of a message under this key.
    pub(in crate::auth) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::HS256 => hmac_sign(hmac::HMAC_SHA256, SECRET.as_bytes(), message),
            Algorithm::HS384 => hmac_sign(hmac::HMAC_SHA384, SECRET.as_bytes(), message),
            Algorithm::HS512 => hmac_sign(hmac::HMAC_SHA512, SECRET.as_bytes(), message),
            Algorithm::RS256 => self.sign_rsa(&RSA_PKCS1_SHA256, message),
            Algorithm::RS384 => self.sign_rsa(&RSA_PKCS1_SHA384, message),
            Algorithm::RS512 => self.sign_rsa(&RSA_PKCS1_SHA512, message),
            Algorithm::PS256 => self.sign_rsa(&RSA_PSS_SHA256, message),
            Algorithm::PS384 => self.sign_rsa(&RSA_PSS_SHA384, message),
            Algorithm::PS512 => self.sign_rsa(&RSA_PSS_SHA512, message),
            Algorithm::ES256 => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::ES384 => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::EdDSA => self.ed25519.sign(message).as_ref().to_vec(),
        }
    }

    fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// The public key as an issuer publishes it, with these further members.
    pub(in crate::auth) fn jwk(&self, algorithm: Algorithm, members: &str) -> String {
        let der = self.public_der(algorithm);
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let curve = |name: &str, length: usize| {
            let (x, y) = der[der.len() - 2 * length..].split_at(length);
            format!(r#""kty":"EC","crv":"{name}","x":"{}","y":"{}""#, encode(x), encode(y))
        };
        let key = match algorithm.key_kind().unwrap() {
            KeyKind::P256 => curve("P-256", 32),
            KeyKind::P384 => curve("P-384", 48),
            KeyKind::Ed25519 => {
                let x = encode(&der[der.len() - 32..]);
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#)
            }
            KeyKind::Rsa => {
                // The encoding ends with a modulus of 256 bytes, two bytes of header, and the exponent.
                let (n, e) = der[der.len() - 261..].split_at(256);
                let (n, e) = (encode(n), encode(&e[2..]));
                format!(r#""kty":"RSA","n":"{n}","e":"{e}""#)
            }
        };
        format!("{{{key}{}{members}}}", if members.is_empty() { "" } else { "," })
    }

    /// A token as an issuer with these keys makes it.
    pub(in crate::auth) fn token(&self, algorithm: Algorithm, claims: &str) -> String {
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
        token(&header, claims, |message| self.sign(algorithm, message))
    }
}

pub(in crate::auth) fn hmac_sign(
    algorithm: hmac::Algorithm,
    secret: &[u8],
    message: &[u8],
) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}

/// A token of any header and payload.
pub(in crate::auth) fn token(
    header: &str,
    claims: &str,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> String {
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A verifier with the keys of [`TestKeys::shared`], no audience or issuer, and 30 s of leeway.
pub(in crate::auth) fn verifier(
    algorithms: &[Algorithm],
    change: impl FnOnce(&mut JwtSettings),
) -> JwtVerifier {
    let mut settings = JwtSettings {
        algorithms: algorithms.to_vec(),
        audience: Vec::new(),
        issuer: Vec::new(),
        user_claim: "sub".to_owned(),
        leeway: Duration::from_secs(30),
        key: TestKeys::shared().source(algorithms[0]),
    };
    change(&mut settings);
    JwtVerifier::new(settings).unwrap()
}
