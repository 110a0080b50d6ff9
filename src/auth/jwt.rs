//! Verifies a JSON Web Token and returns its identity.
//!
//! The key is our own, or one of the issuer's. Nothing in a token chooses how it is verified: `alg` only
//! selects among the configured algorithms, `kid` only among the keys that the configured issuer published,
//! and `jku`, `jwk`, `x5u` and `x5c` are not even looked at.
//!
//! Only the cryptography is a library's (`aws-lc-rs`). docs/security.md says what the usual JWT library
//! cannot do that is promised here.

use super::{
    Algorithm, KeyError, KeySet, KeySource, TokenError, claims::Members, jwks::Lookup,
    verifying_key::VerifyingKey,
};
use crate::identity::Identity;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// `[auth.jwt]`, checked one by one; [`JwtVerifier::new`] checks them against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// At least one; all of the same kind as the key. An issuer may have keys of several kinds.
    pub algorithms: Vec<Algorithm>,
    /// Empty: `aud` is not checked.
    pub audience: Vec<String>,
    /// Empty: `iss` is not checked.
    pub issuer: Vec<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// How far the clocks of issuer and gateway may differ.
    pub leeway: Duration,
    pub key: KeySource,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct JwtVerifier {
    settings: JwtSettings,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Own(VerifyingKey),
    Issuer(Arc<KeySet>),
}

impl JwtVerifier {
    /// Checks that the key serves every algorithm. Keys of an issuer are not fetched here.
    ///
    /// # Errors
    /// When it does not; the error names the algorithm.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        let own = settings.key.verifying_key(&settings.algorithms)?;
        let keys = match (own, &settings.key) {
            (None, KeySource::Jwks(url)) => {
                Keys::Issuer(Arc::new(KeySet::new(url.clone(), settings.algorithms.clone())))
            }
            (own, _) => Keys::Own(own.ok_or(KeyError::UnknownKind)?),
        };
        Ok(Self { settings, keys })
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &JwtSettings {
        &self.settings
    }

    /// The keys of the issuer, when there is one.
    pub(super) fn key_set(&self) -> Option<&Arc<KeySet>> {
        match &self.keys {
            Keys::Own(_) => None,
            Keys::Issuer(keys) => Some(keys),
        }
    }

    /// The same with these keys, which may have been fetched already; `None` when they are not those
    /// that it would fetch itself.
    pub(super) fn with_keys(&self, keys: &Arc<KeySet>) -> Option<Self> {
        let same = self.key_set()?.is_of_same(keys);
        same.then(|| Self { settings: self.settings.clone(), keys: Keys::Issuer(Arc::clone(keys)) })
    }

    /// Verifies a token and returns its identity. `exp` is checked last, so that [`TokenError::Expired`]
    /// is only said of tokens that were once right.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        let claims = self.verified_claims(token)?;
        let identity = self.identity(claims, now).ok_or(TokenError::Invalid)?;
        match identity.expires {
            Some(expires) if now < expires => Ok(identity),
            _ => Err(TokenError::Expired),
        }
    }

    /// The claims, when the signature is right.
    fn verified_claims(&self, token: &str) -> Result<Members, TokenError> {
        let parts = Parts::of(token).ok_or(TokenError::Invalid)?;
        let algorithm = self.algorithm(&parts.header).ok_or(TokenError::Invalid)?;
        let verifies = |key: &VerifyingKey| {
            key.verify_signature(algorithm, parts.message.as_bytes(), &parts.signature)
        };
        let verified = match &self.keys {
            Keys::Own(key) => verifies(key),
            Keys::Issuer(keys) => {
                let kid = parts.header.key_id().ok_or(TokenError::Invalid)?;
                match keys.with_key(kid, algorithm, verifies) {
                    Lookup::Found(verified) => verified,
                    Lookup::Unknown => return Err(TokenError::KeyUnknown),
                    Lookup::RuledOut => false,
                }
            }
        };
        let claims = if verified { Members::decode(parts.claims) } else { None };
        claims.ok_or(TokenError::Invalid)
    }

    /// The algorithm that a header asks for, when it is one of ours.
    fn algorithm(&self, header: &Members) -> Option<Algorithm> {
        // `crit` lists extensions that must be understood, and we understand none.
        if header.has("crit") {
            return None;
        }
        let algorithm = Algorithm::from_alg(header.text("alg")?)?;
        self.settings.algorithms.contains(&algorithm).then_some(algorithm)
    }

    fn identity(&self, claims: Members, now: SystemTime) -> Option<Identity> {
        let settings = &self.settings;
        let expires = claims.date("exp")??.checked_add(settings.leeway)?;
        let too_early = |begins: SystemTime| {
            begins.duration_since(now).is_ok_and(|wait| wait > settings.leeway)
        };
        let accepted = !claims.date("nbf")?.is_some_and(too_early)
            && claims.is_from(&settings.issuer)
            && claims.is_for(&settings.audience);
        let user = claims.user(&settings.user_claim)?;
        let token_id = claims.token_id();
        let claims = claims.into_claims();
        accepted.then_some(Identity {
            user,
            claims,
            token_id,
            static_token: None,
            expires: Some(expires),
            fingerprint: None,
        })
    }
}

/// The three parts of a token.
struct Parts<'a> {
    header: Members,
    /// Still encoded: read only after the signature was verified.
    claims: &'a str,
    /// What is signed.
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: Members::decode(header)?, claims, message, signature })
    }
}

#[cfg(test)]
mod tests;
