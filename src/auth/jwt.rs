//! Verifies a JSON Web Token and returns its identity.
//!
//! The key is our own, or one of the issuer's. Nothing in a token chooses how it is verified: `alg` only
//! selects among the configured algorithms, `kid` only among the keys that the configured issuer published,
//! and `jku`, `jwk`, `x5u` and `x5c` are not even looked at.
//!
//! Only the cryptography is a library's (`aws-lc-rs`). docs/security.md says what the usual JWT library
//! cannot do that is promised here.

use super::{
    Algorithm, KeyError, KeySet, KeySource, TokenFault, claims::Members, jwks::Lookup,
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

    /// Verifies a token and returns its identity. `exp` is checked last, so that [`TokenFault::Expired`]
    /// is only said of tokens that were once right.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenFault> {
        let claims = self.verified_claims(token)?;
        let identity = self.identity(claims, now)?;
        match identity.expires {
            Some(expires) if now < expires => Ok(identity),
            _ => Err(TokenFault::Expired),
        }
    }

    /// The claims, when the signature is right.
    fn verified_claims(&self, token: &str) -> Result<Members, TokenFault> {
        let parts = Parts::of(token)?;
        let algorithm = self.algorithm(&parts.header)?;
        let verifies = |key: &VerifyingKey| {
            key.verify_signature(algorithm, parts.message.as_bytes(), &parts.signature)
        };
        let verified = match &self.keys {
            Keys::Own(key) => verifies(key),
            Keys::Issuer(keys) => {
                let kid = parts.header.key_id().ok_or(TokenFault::Header)?;
                match keys.with_key(kid, algorithm, verifies) {
                    Lookup::Found(verified) => verified,
                    Lookup::Unknown => return Err(TokenFault::KeyUnknown),
                    Lookup::RuledOut => return Err(TokenFault::NoFittingKey),
                }
            }
        };
        if !verified {
            return Err(TokenFault::Signature);
        }
        Members::decode(parts.claims).ok_or(TokenFault::Claims)
    }

    /// The algorithm that a header asks for, when it is one of ours.
    fn algorithm(&self, header: &Members) -> Result<Algorithm, TokenFault> {
        // `crit` lists extensions that must be understood, and we understand none.
        if header.has("crit") {
            return Err(TokenFault::Header);
        }
        let algorithm = header.text("alg").and_then(Algorithm::from_alg);
        let ours = algorithm.filter(|one| self.settings.algorithms.contains(one));
        ours.ok_or(TokenFault::Algorithm)
    }

    fn identity(&self, claims: Members, now: SystemTime) -> Result<Identity, TokenFault> {
        let settings = &self.settings;
        let expires = claims.date("exp").flatten().ok_or(TokenFault::ExpiryMalformed)?;
        let expires = expires.checked_add(settings.leeway).ok_or(TokenFault::ExpiryMalformed)?;
        let too_early = |begins: SystemTime| {
            begins.duration_since(now).is_ok_and(|wait| wait > settings.leeway)
        };
        if claims.date("nbf").ok_or(TokenFault::BeginMalformed)?.is_some_and(too_early) {
            return Err(TokenFault::TooEarly);
        }
        if !claims.is_from(&settings.issuer) {
            return Err(TokenFault::Issuer);
        }
        if !claims.is_for(&settings.audience) {
            return Err(TokenFault::Audience);
        }
        let user = claims.user(&settings.user_claim).ok_or(TokenFault::User)?;
        let token_id = claims.token_id().ok_or(TokenFault::TokenId)?;
        let claims = claims.into_claims();
        Ok(Identity {
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
    fn of(token: &'a str) -> Result<Self, TokenFault> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::NotJwt)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::NotJwt)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::NotJwt)?;
        let header = Members::decode(header).ok_or(TokenFault::Header)?;
        Ok(Self { header, claims, message, signature })
    }
}

#[cfg(test)]
mod tests;
