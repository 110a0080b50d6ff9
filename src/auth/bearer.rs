//! Where a request carries its token, and the search for it.

use crate::secret::Secret;

/// One place where a request may carry its token (`auth.sources`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `query:NAME`
    Query(String),
    /// `Authorization: Bearer …`
    Header,
    /// `Sec-WebSocket-Protocol: bearer, <token>`
    Subprotocol,
    /// `cookie:NAME`
    Cookie(String),
}

/// A token and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub token: Secret,
    /// The answer must then select the subprotocol `bearer`.
    pub in_subprotocol: bool,
}

/// Two sources of one request carry different tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceConflict;
