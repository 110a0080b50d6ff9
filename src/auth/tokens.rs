//! Static bearer tokens, known by their SHA-256.
pub struct StaticToken;
#[derive(Debug)]
pub(super) struct StaticTokens;
