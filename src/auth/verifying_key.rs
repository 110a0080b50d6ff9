//! Verifies signatures with a key that is parsed once, and not again for each token.
//!
//! A key is bound to its algorithms when it is parsed, so that a token can only choose among them.

use super::{Algorithm, KeyKind};
use crate::secret::Secret;
use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        VerificationAlgorithm,
    },
};
use std::fmt;

/// One key, once for each algorithm that it serves.
pub(super) struct VerifyingKey(Vec<(Algorithm, ParsedKey)>);

enum ParsedKey {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// How signatures of an algorithm are verified.
enum Method {
    Hmac(hmac::Algorithm),
    Signature(&'static dyn VerificationAlgorithm),
}

impl VerifyingKey {
    /// A shared secret for these algorithms; those that need a public key are left out.
    pub(super) fn from_secret(secret: &Secret, algorithms: &[Algorithm]) -> Self {
        let bytes = secret.expose().as_bytes();
        let key = |&algorithm| {
            let key = hmac::Key::new(hmac_hash(algorithm)?, bytes);
            Some((algorithm, ParsedKey::Secret(Box::new(key))))
        };
        Self(algorithms.iter().filter_map(key).collect())
    }

    /// A public key (in DER, or the bare point of an elliptic curve) of this kind, for those of the
    /// algorithms that need this kind. `None`: it does not parse.
    pub(super) fn from_public(key: &[u8], kind: KeyKind, algorithms: &[Algorithm]) -> Option<Self> {
        let fitting = algorithms.iter().filter(|algorithm| algorithm.key_kind() == Some(kind));
        let parsed = fitting.map(|&algorithm| match method(algorithm) {
            Method::Signature(method) => {
                Some((algorithm, ParsedKey::Public(ParsedPublicKey::new(method, key).ok()?)))
            }
            Method::Hmac(_) => None,
        });
        parsed.collect::<Option<_>>().map(Self)
    }

    /// Whether tokens of this algorithm can be verified with it.
    pub(super) fn serves(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|(served, _)| *served == algorithm)
    }

    /// The algorithms that it serves.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether this is a signature of the message, by this very algorithm.
    pub(super) fn verify_signature(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let key = self.0.iter().find(|(served, _)| *served == algorithm);
        key.is_some_and(|(_, key)| match key {
            ParsedKey::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            ParsedKey::Public(key) => key.verify_sig(message, signature).is_ok(),
        })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.algorithms().collect::<Vec<_>>()).finish()
    }
}

/// The hash of an HMAC algorithm; `None` for those that need a public key.
pub(super) fn hmac_hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match method(algorithm) {
        Method::Hmac(hash) => Some(hash),
        Method::Signature(_) => None,
    }
}

fn method(algorithm: Algorithm) -> Method {
    match algorithm {
        Algorithm::HS256 => Method::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => Method::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => Method::Hmac(hmac::HMAC_SHA512),
        Algorithm::RS256 => Method::Signature(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Method::Signature(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Method::Signature(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Method::Signature(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Method::Signature(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Method::Signature(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Method::Signature(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Method::Signature(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Method::Signature(&ED25519),
    }
}
