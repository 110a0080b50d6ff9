//! Stand-in until the branch `auth` is merged.

use crate::secret::Secret;
use std::{str::FromStr, time::Duration};

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Not the name of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not an algorithm")]
pub struct UnknownAlgorithm;

const ALL: [(Algorithm, &str); 12] = [
    (Algorithm::HS256, "HS256"),
    (Algorithm::HS384, "HS384"),
    (Algorithm::HS512, "HS512"),
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
];

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        ALL.iter().find(|(_, name)| *name == text).map(|(it, _)| *it).ok_or(UnknownAlgorithm)
    }
}

impl Algorithm {
    #[must_use]
    pub fn is_hmac(self) -> bool {
        self.name().starts_with("HS")
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(it, _)| *it == self).map_or("", |(_, name)| name)
    }
}

/// Where the key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    HmacSecret(Secret),
    PublicKeyPem(Vec<u8>),
}

/// `[auth.jwt]`, checked.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    pub algorithms: Vec<Algorithm>,
    pub audience: Vec<String>,
    pub issuer: Vec<String>,
    pub user_claim: String,
    pub leeway: Duration,
    pub key: KeySource,
}

/// The key does not fit.
#[derive(Debug, thiserror::Error)]
#[error("is not a key")]
pub struct KeyError;

/// Verifies tokens.
#[derive(Debug)]
pub struct JwtVerifier {
    pub(super) settings: JwtSettings,
}

impl JwtVerifier {
    /// # Errors
    /// When the key does not fit the algorithms.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        match &settings.key {
            KeySource::PublicKeyPem(pem) if !pem.starts_with(b"-----BEGIN") => Err(KeyError),
            _ => Ok(Self { settings }),
        }
    }
}
