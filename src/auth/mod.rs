//! Who a client is: from a request's token to an [`Identity`].

mod algorithm;
mod bearer;
mod jwt;
mod key;
mod mint;
mod tokens;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod test_keys;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use bearer::{Found, Source, SourceConflict, SourceError};
pub use jwt::{JwtSettings, JwtVerifier};
pub use key::{KeyError, KeyKind, KeySource};
pub use mint::{MintError, mint};
pub use tokens::StaticToken;

use crate::identity::Identity;
use std::time::SystemTime;

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
}

/// A longer token is not even looked at: whoever sends it pays more than we do.
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

    /// Whether both know the same static tokens.
    #[must_use]
    pub fn same_tokens(&self, other: &Self) -> bool {
        self.tokens == other.tokens
    }

    /// Finds out who a token says the client is.
    ///
    /// # Errors
    /// [`TokenError::Expired`] when everything but the time is right, else [`TokenError::Invalid`].
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        match (self.tokens.find(token), &self.jwt) {
            (Some(identity), _) => Ok(identity),
            (None, Some(jwt)) => jwt.verify(token, now),
            (None, None) => Err(TokenError::Invalid),
        }
    }
}
