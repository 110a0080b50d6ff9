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

/// Not a place where a token can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a source")]
pub struct SourceError;

impl Source {
    /// # Errors
    /// When it is none of the four.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            None if text == "header" => Ok(Self::Header),
            None if text == "subprotocol" => Ok(Self::Subprotocol),
            Some(("query", name)) => Ok(Self::Query(name.to_owned())),
            Some(("cookie", name)) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(SourceError),
        }
    }
}
