//! Authenticates clients: from a request's token to its [`Identity`].

mod algorithm;
mod bearer;
mod claims;
mod fault;
mod jwks;
mod jwt;
mod keys;
mod mint;
mod strict_json;
mod tokens;
mod verifying_key;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use bearer::Source;
pub use fault::TokenFault;
pub use jwks::{
    FetchError, FetchKeysError, JwksError, JwksRefresher, JwksUrl, JwksUrlError, KeySet,
    SkippedKey, fetch_keys_once,
};
pub use jwt::{JwtSettings, JwtVerifier};
pub use keys::{KeyError, KeyKind, KeySource};
pub use mint::{MintError, mint};
pub use tokens::StaticToken;

use crate::identity::{Identity, TokenFingerprint};
use std::{sync::Arc, time::SystemTime};

/// `[auth]`, checked: where tokens are looked for, what makes one valid, how a refusal is told.
#[derive(Debug)]
pub struct Auth {
    /// In the order of search.
    pub sources: Vec<Source>,
    pub reject: Reject,
    jwt: Option<JwtVerifier>,
    tokens: tokens::StaticTokens,
}

/// How a client learns that its token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// By the HTTP status.
    Status,
    /// By a close frame after a 101, so that a browser can read why.
    Close,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token does not verify")]
    Invalid,
    #[error("the token has expired")]
    Expired,
    /// The issuer's keys are not here, or not the one that the token names. From
    /// [`Auth::authenticate`]: and they could not be fetched, so nobody can say whether it verifies.
    #[error("the token's key is not known")]
    KeyUnknown,
}

/// A longer token is not even looked at: sending it costs more than refusing it.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

impl Auth {
    /// Puts together what was checked.
    #[must_use]
    pub fn new(
        sources: Vec<Source>,
        reject: Reject,
        jwt: Option<JwtVerifier>,
        tokens: Vec<StaticToken>,
    ) -> Self {
        Self { sources, reject, jwt, tokens: tokens::StaticTokens::new(tokens) }
    }

    /// `[auth.jwt]`, when there is one.
    #[must_use]
    pub fn jwt_settings(&self) -> Option<&JwtSettings> {
        self.jwt.as_ref().map(JwtVerifier::settings)
    }

    /// Who the static token with this SHA-256 stands for; `None` when there is none any more.
    #[must_use]
    pub fn static_identity(&self, sha256: &[u8; 32]) -> Option<&Identity> {
        self.tokens.by_hash(sha256)
    }

    /// The keys of the issuer, when `auth.jwt.jwks_url` is set.
    #[must_use]
    pub fn key_set(&self) -> Option<&Arc<KeySet>> {
        self.jwt.as_ref().and_then(JwtVerifier::key_set)
    }

    /// Goes on with the keys that were fetched for another one, when it would fetch the same ones.
    #[must_use]
    pub fn with_keys_of(self: Arc<Self>, other: &Self) -> Arc<Self> {
        let kept =
            self.jwt.as_ref().zip(other.key_set()).and_then(|(jwt, keys)| jwt.with_keys(keys));
        let Some(jwt) = kept else { return self };
        let Self { sources, reject, tokens, .. } = &*self;
        let (sources, tokens) = (sources.clone(), tokens.clone());
        Arc::new(Self { sources, reject: *reject, jwt: Some(jwt), tokens })
    }

    /// [`Auth::verify`], but for a key that is not here it waits for the fetch that may bring it. It
    /// waits no longer than that fetch takes, and not at all when none is due. Cancel-safe.
    ///
    /// # Errors
    /// As [`Auth::verify`]; [`TokenError::KeyUnknown`] only when the issuer could not be asked.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, TokenError> {
        Ok(self.authenticate_within(token, || Some(())).await?)
    }

    /// [`Auth::authenticate`] for those of whom not all may wait: `place` is asked before this waits, and
    /// what it gives is kept meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// In full; [`TokenFault::TooManyWait`] when it would have to wait and has no place.
    pub async fn authenticate_within<P>(
        &self,
        token: &str,
        place: impl FnOnce() -> Option<P>,
    ) -> Result<Identity, TokenFault> {
        let verify = || self.check(token, SystemTime::now());
        let first = verify();
        let (Err(TokenFault::KeyUnknown), Some(keys)) = (&first, self.key_set()) else {
            return first;
        };
        let fetch = keys.request_fetch().unwrap_or(0);
        let waits = keys.ended() < fetch;
        let _place = if waits { Some(place().ok_or(TokenFault::TooManyWait)?) } else { None };
        loop {
            let ended = keys.ended();
            match verify() {
                Err(TokenFault::KeyUnknown) if ended < fetch => keys.ended_after(ended).await,
                Err(TokenFault::KeyUnknown) if keys.is_fresh() => {
                    return Err(TokenFault::NoSuchKey);
                }
                verified => return verified,
            }
        }
    }

    /// Verifies a token and returns its identity. Never waits.
    ///
    /// # Errors
    /// [`TokenError::Expired`] when everything but the time is right, [`TokenError::KeyUnknown`] when
    /// the issuer's key is not here (yet), else [`TokenError::Invalid`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        Ok(self.check(token, now)?)
    }

    /// [`Auth::verify`], but the error says what is wrong with the token: for the log, not for a client.
    ///
    /// # Errors
    /// The one fault that was found first.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<Identity, TokenFault> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::Size);
        }
        let verified = match (self.tokens.find(token), &self.jwt) {
            (Some(identity), _) => Ok(identity),
            (None, Some(jwt)) => jwt.verify(token, now),
            (None, None) => Err(TokenFault::NotListed),
        };
        let fingerprint = Some(TokenFingerprint::of(token));
        verified.map(|identity| Identity { fingerprint, ..identity })
    }
}
