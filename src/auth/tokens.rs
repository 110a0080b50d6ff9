//! Static bearer tokens, known by their SHA-256.

use crate::identity::Identity;
use aws_lc_rs::digest::{SHA256, digest};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// One `[[auth.token]]`. The token itself is not here, only its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticToken {
    pub sha256: [u8; 32],
    pub user: String,
    pub claims: BTreeMap<String, String>,
}

/// Every static token. Looked up by the hash of what a client sent, so that the time a look-up
/// takes says nothing about the tokens.
#[derive(Debug)]
pub(super) struct StaticTokens(HashMap<[u8; 32], Identity>);

impl StaticTokens {
    pub(super) fn new(tokens: Vec<StaticToken>) -> Self {
        Self(tokens.into_iter().map(|token| (token.sha256, token.identity())).collect())
    }

    /// Who this token stands for; `None` when it is not one of ours.
    pub(super) fn find(&self, token: &str) -> Option<Identity> {
        // Without static tokens, do not make every JWT pay for a hash.
        if self.0.is_empty() {
            return None;
        }
        self.0.get(digest(&SHA256, token.as_bytes()).as_ref()).cloned()
    }
}

impl StaticToken {
    fn identity(self) -> Identity {
        let user = Arc::from(self.user);
        Identity { user, claims: self.claims, token_id: None, expires: None }
    }
}
