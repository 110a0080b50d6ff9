//! What a session was opened with, as far as a client's later wishes depend on it.

use super::{PathParameters, Values};
use crate::identity::Identity;

/// The identity, path and query of one handshake. Kept only where a client may add channels.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Of the token that the session lives by now.
    pub identity: Option<Identity>,
    pub path: PathParameters,
    pub query: String,
}

impl Origin {
    /// What it offers for placeholders.
    #[must_use]
    pub fn values(&self) -> Values<'_> {
        Values { identity: self.identity.as_ref(), path: &self.path, query: &self.query }
    }
}
