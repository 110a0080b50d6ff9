//! JSON Web Tokens with local keys.

use super::{Algorithm, KeyError, KeySource, TokenError};
use crate::identity::Identity;
use std::time::{Duration, SystemTime};

/// `[auth.jwt]`, checked one by one; [`JwtVerifier::new`] checks them against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// At least one; all of the same kind as the key.
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

/// Verifies tokens against one key.
#[derive(Debug)]
pub struct JwtVerifier {
    settings: JwtSettings,
}

impl JwtVerifier {
    /// Checks that the key serves every algorithm.
    ///
    /// # Errors
    /// When it does not; the error names the algorithm.
    pub fn new(settings: JwtSettings) -> Result<Self, KeyError> {
        let _ = settings;
        unimplemented!()
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &JwtSettings {
        &self.settings
    }

    /// Finds out who a token says the client is.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        let _ = (token, now);
        unimplemented!()
    }
}
