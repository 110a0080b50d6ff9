//! Where a request carries its token, and the search for it.
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

    /// Tells every token that this source of a request carries.
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
    pub fn find_token(&self, request: &Parts) -> Result<Option<Found>, SourceConflict> {
        let mut first: Option<Found> = None;
        let mut conflict = false;
        for source in &self.sources {
            let in_subprotocol = *source == Source::Subprotocol;
            source.search(request, &mut |token| match &mut first {
                Some(found) => {
                    conflict |= found.token.expose() != token;
                    found.in_subprotocol |= in_subprotocol;
                }
                None => {
                    let token = Secret::new(token.into_owned());
                    first = Some(Found { token, in_subprotocol });
                }
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
mod tests {
    use super::{super::Reject, *};
    use hyper::Request;
    use proptest::prelude::*;

    fn request(uri: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The token that a request carries for these sources; `None`: conflict, `Some("-")`: none at all.
    fn find(sources: &[&str], uri: &str, headers: &[(&str, &[u8])]) -> Option<(String, bool)> {
        let sources = sources.iter().map(|source| Source::parse(source).unwrap()).collect();
        let auth = Auth::new(sources, Reject::Status, None, Vec::new());
        let found = auth.find_token(&request(uri, headers)).ok()?;
        Some(found.map_or(("-".to_owned(), false), |found| {
            (found.token.expose().to_owned(), found.in_subprotocol)
        }))
    }

    const ALL: [&str; 4] = ["query:token", "header", "subprotocol", "cookie:session"];
    const AUTH: &str = "Authorization";
    const PROTOCOL: &str = "Sec-WebSocket-Protocol";

    #[test]
    fn a_source_is_one_of_four_with_a_plain_name() {
        assert_eq!(Source::parse("header"), Ok(Source::Header));
        assert_eq!(Source::parse("subprotocol"), Ok(Source::Subprotocol));
        assert_eq!(
            Source::parse("query:access_token"),
            Ok(Source::Query("access_token".to_owned()))
        );
        assert_eq!(Source::parse("cookie:__Host-s.1"), Ok(Source::Cookie("__Host-s.1".to_owned())));
        for text in ["", "Header", "header:x", "query", "cookie", "body:x", " header"] {
            assert_eq!(Source::parse(text), Err(SourceError::Unknown), "{text:?}");
        }
        for name in ["", " ", "a b", "a=b", "a;b", "a:b", "é", "a&b", "%74"] {
            let error = Err(SourceError::Name(name.to_owned()));
            assert_eq!(Source::parse(&format!("query:{name}")), error);
            assert_eq!(Source::parse(&format!("cookie:{name}")), error);
        }
    }

    #[test]
    fn a_token_is_found_in_every_place_where_it_may_stand() {
        for (uri, headers, token, in_subprotocol) in [
            ("/?token=abc", vec![], "abc", false),
            ("/?x=1&t%6Fken=a%2Bb%3D&y", vec![], "a+b=", false),
            ("/?token=a+b", vec![], "a+b", false),
            ("/", vec![(AUTH, &b"Bearer abc"[..])], "abc", false),
            ("/", vec![(AUTH, b"bEaReR   abc")], "abc", false),
            ("/", vec![(PROTOCOL, b"bearer, abc")], "abc", true),
            ("/", vec![(PROTOCOL, b"json.v1,bearer,abc,json.v2")], "abc", true),
            ("/", vec![(PROTOCOL, b"bearer"), (PROTOCOL, b" abc ")], "abc", true),
            ("/", vec![("Cookie", b"a=b; session=abc; c=d")], "abc", false),
            ("/", vec![("Cookie", b"a=b"), ("Cookie", b"session=\"abc\"")], "abc", false),
        ] {
            let found = find(&ALL, uri, &headers);
            assert_eq!(found, Some((token.to_owned(), in_subprotocol)), "{uri} {headers:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_missing_and_an_empty_one_is_found() {
        for (uri, headers) in [
            ("/", vec![]),
            ("/?Token=abc&tokens=abc&x=token", vec![]),
            ("/", vec![(AUTH, &b"Basic YTpi"[..])]),
            ("/", vec![(AUTH, b"Bearerabc")]),
            ("/", vec![(PROTOCOL, b"bearer")]),
            ("/", vec![(PROTOCOL, b"Bearer, abc")]),
            ("/", vec![(PROTOCOL, b"abc")]),
            ("/", vec![("Cookie", b"Session=abc; sessions=abc; x=session=abc")]),
        ] {
            assert_eq!(
                find(&ALL, uri, &headers),
                Some(("-".to_owned(), false)),
                "{uri} {headers:?}"
            );
        }
        for (uri, headers) in [
            ("/?token", vec![]),
            ("/?token=", vec![]),
            ("/", vec![(AUTH, &b"Bearer"[..])]),
            ("/", vec![("Cookie", b"session")]),
        ] {
            assert_eq!(
                find(&ALL, uri, &headers),
                Some((String::new(), false)),
                "{uri} {headers:?}"
            );
        }
        assert_eq!(find(&ALL, "/", &[(PROTOCOL, b"bearer,,x")]), Some((String::new(), true)));
    }

    #[test]
    fn a_source_that_is_not_configured_is_not_looked_at() {
        let headers: [(&str, &[u8]); 3] =
            [(AUTH, b"Bearer b"), (PROTOCOL, b"bearer, c"), ("Cookie", b"session=d")];
        for (source, token) in
            [("query:token", "a"), ("header", "b"), ("subprotocol", "c"), ("cookie:session", "d")]
        {
            let found = find(&[source], "/?token=a", &headers);
            assert_eq!(found, Some((token.to_owned(), source == "subprotocol")));
        }
        assert_eq!(find(&["query:other"], "/?token=a", &headers), Some(("-".to_owned(), false)));
    }

    #[test]
    fn different_tokens_conflict_wherever_they_stand() {
        for (uri, headers) in [
            ("/?token=a", vec![(AUTH, &b"Bearer b"[..])]),
            ("/?token=a", vec![(PROTOCOL, b"bearer, b")]),
            ("/?token=a", vec![("Cookie", b"session=b")]),
            ("/?token=", vec![(AUTH, b"Bearer b")]),
            ("/?token=a&token=b", vec![]),
            ("/?token=a&token=a&%74oken=b", vec![]),
            ("/", vec![(AUTH, b"Bearer a"), (AUTH, b"Bearer b")]),
            ("/", vec![(PROTOCOL, b"bearer, a, bearer, b")]),
            ("/", vec![(PROTOCOL, b"bearer, a"), (PROTOCOL, b"bearer, b")]),
            ("/", vec![("Cookie", b"session=a; session=b")]),
            ("/", vec![("Cookie", b"session=a"), ("Cookie", b"session=b")]),
        ] {
            assert_eq!(find(&ALL, uri, &headers), None, "{uri} {headers:?}");
        }
    }

    #[test]
    fn the_same_token_in_several_places_is_one_token() {
        let headers: [(&str, &[u8]); 3] =
            [(AUTH, b"Bearer a"), (PROTOCOL, b"bearer, a"), ("Cookie", b"session=a; session=a")];
        assert_eq!(find(&ALL, "/?token=a&token=a", &headers), Some(("a".to_owned(), true)));
    }

    proptest! {
        #[test]
        fn no_header_or_query_panics(
            query in "[!-~&&[^#]]{0,40}",
            lines in proptest::collection::vec(proptest::collection::vec(0x20_u8..0x7f, 0..40), 3),
        ) {
            let names = [AUTH, PROTOCOL, "Cookie"];
            let headers: Vec<_> = names.into_iter().zip(lines.iter().map(Vec::as_slice)).collect();
            if format!("/?token={query}").parse::<hyper::Uri>().is_ok() {
                find(&ALL, &format!("/?token={query}"), &headers);
            }
            find(&ALL, "/", &[(AUTH, b"Bearer \xff\xfe"), ("Cookie", b"session=\x80")]);
        }
    }
}
