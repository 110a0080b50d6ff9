//! Finds the token of a request.
//!
//! All sources are searched, not only up to the first hit: of two tokens that differ, a proxy before us may
//! have checked the one and we would take the other.

use super::Auth;
use crate::secret::Secret;
use hyper::{
    header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL},
    http::request::Parts,
};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

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

/// One request carries different tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request carries different tokens")]
pub struct SourceConflict;

/// Why a text is not a token source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("must be \"query:NAME\", \"header\", \"subprotocol\" or \"cookie:NAME\"")]
    Unknown,
    #[error("the name {0:?} must be made of letters, digits, \"-\", \"_\" and \".\"")]
    Name(String),
}

impl Source {
    /// Reads one entry of `auth.sources`.
    ///
    /// # Errors
    /// When it is none of the four, or the name is not made of letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            None if text == "header" => Ok(Self::Header),
            None if text == "subprotocol" => Ok(Self::Subprotocol),
            Some(("query", name)) => checked(name).map(Self::Query),
            Some(("cookie", name)) => checked(name).map(Self::Cookie),
            _ => Err(SourceError::Unknown),
        }
    }

    /// Whether a browser adds the token by itself.
    #[must_use]
    pub fn is_cookie(&self) -> bool {
        matches!(self, Self::Cookie(_))
    }

    /// Whether a page's `EventSource` can carry a token here: it asks for a URL and sets no headers.
    #[must_use]
    pub fn is_for_event_sources(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Cookie(_))
    }

    /// Calls `found` with every token that a request carries in this source.
    fn search(&self, request: &Parts, found: &mut impl FnMut(Cow<'_, str>)) {
        match self {
            Self::Query(name) => search_query(request.uri.query().unwrap_or(""), name, found),
            Self::Header => {
                lines(request, &AUTHORIZATION).for_each(|line| search_header(&line, found));
            }
            Self::Subprotocol => search_subprotocols(request, found),
            Self::Cookie(name) => {
                lines(request, &COOKIE).for_each(|line| search_cookies(&line, name, found));
            }
        }
    }
}

fn checked(name: &str) -> Result<String, SourceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(name.to_owned()),
        false => Err(SourceError::Name(name.to_owned())),
    }
}

impl Auth {
    /// Searches every source of a request for its token. A token that is there but empty is found: the
    /// client meant to send one, so it is invalid, not missing.
    ///
    /// # Errors
    /// [`SourceConflict`] when two places carry different tokens, of one source or of two.
    pub fn find_token(&self, request: &Parts) -> Result<Option<Secret>, SourceConflict> {
        let mut first: Option<Secret> = None;
        let mut conflict = false;
        for source in &self.sources {
            source.search(request, &mut |token| match &first {
                Some(found) => conflict |= found.expose() != token,
                None => first = Some(Secret::new(token.into_owned())),
            });
        }
        if conflict { Err(SourceConflict) } else { Ok(first) }
    }
}

/// The lines of a header. Bytes that are not UTF-8 become U+FFFD, which no token contains.
fn lines<'a>(request: &'a Parts, name: &HeaderName) -> impl Iterator<Item = Cow<'a, str>> {
    request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// `+` stays as it is: a token has no spaces, but one in base64 has a `+`.
fn search_query(query: &str, name: &str, found: &mut impl FnMut(Cow<'_, str>)) {
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decode_str(key).decode_utf8_lossy() == name {
            found(percent_decode_str(value).decode_utf8_lossy());
        }
    }
}

/// Another scheme is not for us: a proxy before us may have wanted it.
fn search_header(line: &str, found: &mut impl FnMut(Cow<'_, str>)) {
    let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        found(token.trim_matches(' ').into());
    }
}

/// `bearer, <token>`, in one header or over several. Exactly `bearer`: the answer must repeat what the client
/// offered, or a browser fails the handshake.
fn search_subprotocols(request: &Parts, found: &mut impl FnMut(Cow<'_, str>)) {
    let mut after_bearer = false;
    for line in lines(request, &SEC_WEBSOCKET_PROTOCOL) {
        for protocol in line.split(',').map(str::trim) {
            if after_bearer {
                found(protocol.into());
            }
            after_bearer = !after_bearer && protocol == "bearer";
        }
    }
}

fn search_cookies(line: &str, name: &str, found: &mut impl FnMut(Cow<'_, str>)) {
    for cookie in line.split(';') {
        let (key, value) = cookie.split_once('=').unwrap_or((cookie, ""));
        if key.trim() == name {
            let value = value.trim();
            let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            found(quoted.unwrap_or(value).into());
        }
    }
}

#[cfg(test)]
mod tests;
