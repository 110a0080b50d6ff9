//! Where a request carries its token, and the search for it.

use super::Auth;
use crate::secret::Secret;
use hyper::http::request::Parts;

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

/// One request carries different tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request carries different tokens")]
pub struct SourceConflict;

/// Why a text is not a token source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("must be \"query:NAME\", \"header\", \"subprotocol\" or \"cookie:NAME\"")]
    Unknown,
}

impl Source {
    /// Reads one entry of `auth.sources`.
    ///
    /// # Errors
    /// When it is none of the four.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let _ = text;
        unimplemented!()
    }
}

impl Auth {
    /// Searches every source of a request for its token.
    ///
    /// # Errors
    /// [`SourceConflict`] when two places carry different tokens.
    pub fn find_token(&self, request: &Parts) -> Result<Option<Found>, SourceConflict> {
        let _ = request;
        unimplemented!()
    }
}
