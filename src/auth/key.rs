//! The key that verify_signature a token: a shared secret, a public key in PEM, or those of an issuer.
//!
//! A key is proven to fit every algorithm before the first token comes: a key that does not would
//! refuse every client, one by one, with nothing to show for it but 401.

use super::{Algorithm, JwksUrl, verifying_key::VerifyingKey};
use crate::secret::Secret;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt;

/// What the signatures are held against.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// For HS256, HS384 and HS512.
    HmacSecret(Secret),
    /// For all others: the content of a PEM file with one public key.
    PublicKeyPem(Vec<u8>),
    /// For all others too: whatever public keys the issuer publishes there.
    Jwks(JwksUrl),
}

/// The kinds of public keys, each of which serves some algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why a key cannot serve the algorithms it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("names no algorithm")]
    NoAlgorithm,
    #[error("{0} needs a public key (`public_key_file` or `jwks_url`), not a secret")]
    NeedsPublicKey(Algorithm),
    #[error("{0} needs a secret (`secret_file` or `secret`), not a public key")]
    NeedsSecret(Algorithm),
    #[error("{algorithm} needs {}, but the key is {found}", .algorithm.key_kind().map_or("a secret", KeyKind::name))]
    WrongKind { algorithm: Algorithm, found: KeyKind },
    #[error("the secret is empty")]
    EmptySecret,
    #[error("is not a PEM file with one \"PUBLIC KEY\"")]
    NotPem,
    #[error("holds a private key; Sockway verifies and needs only the public one")]
    PrivateKey,
    #[error("holds a certificate; take the public key out of it (openssl x509 -pubkey -noout)")]
    Certificate,
    #[error("holds no key of a known kind (RSA, EC on P-256 or P-384, Ed25519)")]
    UnknownKind,
    #[error("the RSA key must have 2048 to 8192 bits")]
    RsaSize,
}

impl KeySource {
    /// The key, once it is known to serve all of these algorithms. `None` when only the issuer has it.
    pub(super) fn verifying_key(
        &self,
        algorithms: &[Algorithm],
    ) -> Result<Option<VerifyingKey>, KeyError> {
        if algorithms.is_empty() {
            return Err(KeyError::NoAlgorithm);
        }
        match self {
            Self::HmacSecret(secret) => hmac_key(secret, algorithms).map(Some),
            Self::PublicKeyPem(pem) => public_key(pem, algorithms).map(Some),
            Self::Jwks(_) => no_hmac(algorithms).map(|()| None),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HmacSecret(secret) => f.debug_tuple("HmacSecret").field(secret).finish(),
            // Not the bytes: someone may have put a private key there.
            Self::PublicKeyPem(_) => f.write_str("PublicKeyPem(…)"),
            Self::Jwks(url) => f.debug_tuple("Jwks").field(url).finish(),
        }
    }
}

impl KeyKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "an EC key on P-256",
            Self::P384 => "an EC key on P-384",
            Self::Ed25519 => "an Ed25519 key",
        }
    }

    /// The kind of a public key in DER (`SubjectPublicKeyInfo`, for RSA also PKCS #1).
    fn of(der: &[u8]) -> Result<Self, KeyError> {
        if rsa::PublicKey::from_der(der).is_ok() {
            return if has_right_size(der) { Ok(Self::Rsa) } else { Err(KeyError::RsaSize) };
        }
        if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).is_ok() {
            return Ok(Self::P256);
        }
        if ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, der).is_ok() {
            return Ok(Self::P384);
        }
        ParsedPublicKey::new(&ED25519, der)
            .map(|_| Self::Ed25519)
            .map_err(|_| KeyError::UnknownKind)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Verification itself judges the size with each signature; the key for encryption does so when it is read.
pub(super) fn has_right_size(rsa_der: &[u8]) -> bool {
    let encoded = rsa::PublicKey::from_der(rsa_der)
        .and_then(|key| AsDer::<PublicKeyX509Der<'_>>::as_der(&key).map_err(Into::into));
    encoded.is_ok_and(|der| rsa::PublicEncryptingKey::from_der(der.as_ref()).is_ok())
}

fn hmac_key(secret: &Secret, algorithms: &[Algorithm]) -> Result<VerifyingKey, KeyError> {
    if let Some(&algorithm) = algorithms.iter().find(|algorithm| !algorithm.is_hmac()) {
        return Err(KeyError::NeedsPublicKey(algorithm));
    }
    if secret.expose().is_empty() {
        return Err(KeyError::EmptySecret);
    }
    Ok(VerifyingKey::from_secret(secret, algorithms))
}

/// A public key used as a secret is the oldest attack on JWT there is.
fn no_hmac(algorithms: &[Algorithm]) -> Result<(), KeyError> {
    let hmac = algorithms.iter().find(|algorithm| algorithm.is_hmac());
    hmac.map_or(Ok(()), |&algorithm| Err(KeyError::NeedsSecret(algorithm)))
}

fn public_key(pem: &[u8], algorithms: &[Algorithm]) -> Result<VerifyingKey, KeyError> {
    no_hmac(algorithms)?;
    let der = public_key_der(pem)?;
    let found = KeyKind::of(&der)?;
    if let Some(&algorithm) = algorithms.iter().find(|one| one.key_kind() != Some(found)) {
        return Err(KeyError::WrongKind { algorithm, found });
    }
    VerifyingKey::from_public(&der, found, algorithms).ok_or(KeyError::UnknownKind)
}

/// The bytes of the one public key in a PEM file. Text around it is allowed, as RFC 7468 says.
fn public_key_der(pem: &[u8]) -> Result<Vec<u8>, KeyError> {
    let text = str::from_utf8(pem).map_err(|_| KeyError::NotPem)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::PrivateKey);
    }
    let mut blocks = text.split("-----BEGIN ").skip(1);
    let (Some(block), None) = (blocks.next(), blocks.next()) else { return Err(KeyError::NotPem) };
    let (label, rest) = block.split_once("-----").ok_or(KeyError::NotPem)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => return Err(KeyError::Certificate),
        _ => return Err(KeyError::NotPem),
    }
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(KeyError::NotPem)?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|_| KeyError::NotPem)
}

#[cfg(test)]
mod tests {
    use super::{super::test_keys::TestKeys, *};
    use Algorithm::*;

    fn secret(secret: &str) -> KeySource {
        KeySource::HmacSecret(Secret::new(secret.to_owned()))
    }

    fn error(key: &KeySource, algorithms: &[Algorithm]) -> Option<KeyError> {
        key.verifying_key(algorithms).err()
    }

    #[test]
    fn a_key_serves_exactly_the_algorithms_of_its_kind() {
        let keys = TestKeys::shared();
        for algorithm in Algorithm::ALL {
            for other in Algorithm::ALL {
                let serves = error(&keys.source(algorithm), &[other]).is_none();
                assert_eq!(serves, algorithm.key_kind() == other.key_kind(), "{algorithm} {other}");
            }
        }
    }

    #[test]
    fn the_error_names_the_algorithm_that_the_key_cannot_serve() {
        let keys = TestKeys::shared();
        let wrong = |algorithm, found| Some(KeyError::WrongKind { algorithm, found });
        assert_eq!(error(&keys.source(RS256), &[RS256, PS512, ES256]), wrong(ES256, KeyKind::Rsa));
        assert_eq!(error(&keys.source(ES256), &[ES256, ES384]), wrong(ES384, KeyKind::P256));
        assert_eq!(error(&keys.source(EdDSA), &[RS256]), wrong(RS256, KeyKind::Ed25519));
        assert_eq!(error(&keys.source(RS256), &[RS256, HS256]), Some(KeyError::NeedsSecret(HS256)));
        assert_eq!(error(&secret("s"), &[HS256, RS256]), Some(KeyError::NeedsPublicKey(RS256)));
        assert_eq!(error(&secret(""), &[HS256]), Some(KeyError::EmptySecret));
        assert_eq!(error(&secret("s"), &[]), Some(KeyError::NoAlgorithm));
        let text = wrong(ES384, KeyKind::P256).map(|error| error.to_string());
        let expected = "ES384 needs an EC key on P-384, but the key is an EC key on P-256";
        assert_eq!(text.as_deref(), Some(expected));
    }

    #[test]
    fn a_file_that_is_no_single_public_key_is_refused_by_what_it_is() {
        let keys = TestKeys::shared();
        let good = keys.public_pem(ES256);
        let body = good.lines().nth(1).unwrap().to_owned();
        let block = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        for (pem, expected) in [
            (String::new(), KeyError::NotPem),
            ("hello".to_owned(), KeyError::NotPem),
            (body.clone(), KeyError::NotPem),
            (good.replace("-----END", "-----"), KeyError::NotPem),
            (good.replace("PUBLIC", "PGP PUBLIC"), KeyError::NotPem),
            (good.repeat(2), KeyError::NotPem),
            (block("PUBLIC KEY", "AAA*"), KeyError::NotPem),
            (block("PUBLIC KEY", ""), KeyError::UnknownKind),
            (block("PUBLIC KEY", "BgA="), KeyError::UnknownKind),
            (block("PUBLIC KEY", &STANDARD.encode([0x30; 91])), KeyError::UnknownKind),
            (block("PUBLIC KEY", &STANDARD.encode(keys.small_rsa())), KeyError::RsaSize),
            (block("PRIVATE KEY", &body), KeyError::PrivateKey),
            (block("ENCRYPTED PRIVATE KEY", &body), KeyError::PrivateKey),
            (good.clone() + &block("EC PRIVATE KEY", &body), KeyError::PrivateKey),
            (block("CERTIFICATE", &body), KeyError::Certificate),
        ] {
            let source = KeySource::PublicKeyPem(pem.clone().into_bytes());
            assert_eq!(error(&source, &[ES256]), Some(expected), "{pem}");
        }
        assert_eq!(
            error(&KeySource::PublicKeyPem(vec![0xff; 64]), &[ES256]),
            Some(KeyError::NotPem)
        );
        let framed = format!("key of the issuer\r\n{}\r\n", good.replace('\n', "\r\n"));
        assert_eq!(error(&KeySource::PublicKeyPem(framed.into_bytes()), &[ES256]), None);
    }

    #[test]
    fn no_damaged_key_panics() {
        let keys = TestKeys::shared();
        let mut random = fastrand::Rng::with_seed(7);
        for algorithm in [RS256, ES256, ES384, EdDSA] {
            for _ in 0..300 {
                let mut pem = keys.public_pem(algorithm).into_bytes();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..pem.len());
                    pem[at] = random.u8(..);
                }
                let _ = KeySource::PublicKeyPem(pem).verifying_key(&[algorithm]);
            }
        }
    }

    #[test]
    fn a_key_never_prints() {
        let private = KeySource::PublicKeyPem(b"-----BEGIN PRIVATE KEY-----".to_vec());
        let text = format!("{:?} {private:?}", secret("hunter2"));
        assert!(
            !text.contains("hunter2") && !text.contains("PRIVATE") && !text.contains("45"),
            "{text}"
        );
    }
}
