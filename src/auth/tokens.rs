//! Stand-in until the branch `auth` is merged.

use std::collections::BTreeMap;

/// One `[[auth.token]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticToken {
    pub sha256: [u8; 32],
    pub user: String,
    pub claims: BTreeMap<String, String>,
}
