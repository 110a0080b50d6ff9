//! The key that proves a token: a shared secret, or a public key in PEM.

use super::Algorithm;
use crate::secret::Secret;

/// Where the signatures are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// For HS256, HS384 and HS512.
    HmacSecret(Secret),
    /// For all others: the content of a PEM file with one public key.
    PublicKeyPem(Vec<u8>),
}

/// Why a key cannot serve the algorithms it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("{0} needs a public key, not a secret")]
    NeedsPublicKey(Algorithm),
}
