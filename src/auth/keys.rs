//! What tokens are verified with: a shared secret, a public key in PEM, or the keys of an issuer.
//!
//! A key is checked against every algorithm when the configuration is read: one that does not fit would
//! refuse every client, one by one, with nothing to show for it but 401.

use super::{Algorithm, JwksUrl, verifying_key::VerifyingKey};
use crate::secret::Secret;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey},
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use std::{fmt, mem};

/// What the signatures are checked against.
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

/// Verification checks the size with each signature; the key for encryption does so when it is read.
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
    // Kinds that the parser does not know, such as an encrypted key, it skips without a word.
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::PrivateKey);
    }
    // An RSA key under the label of PKCS #1: `KeyKind::of` reads both forms.
    let text = text.replace(" RSA PUBLIC KEY-----", " PUBLIC KEY-----");
    let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
        PemObject::pem_slice_iter(text.as_bytes()).collect();
    match sections.map_err(|_| KeyError::NotPem)?.as_mut_slice() {
        [(SectionKind::PublicKey, der)] => Ok(mem::take(der)),
        [(SectionKind::Certificate, _), ..] => Err(KeyError::Certificate),
        _ => Err(KeyError::NotPem),
    }
}

#[cfg(test)]
mod tests;
