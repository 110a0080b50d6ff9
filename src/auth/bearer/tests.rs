//! Where a token is found, and when two tokens conflict.

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
fn find(sources: &[&str], uri: &str, headers: &[(&str, &[u8])]) -> Option<String> {
    let sources = sources.iter().map(|source| Source::parse(source).unwrap()).collect();
    let auth = Auth::new(sources, Reject::Status, None, Vec::new());
    let found = auth.find_token(&request(uri, headers)).ok()?;
    Some(found.map_or("-".to_owned(), |token| token.expose().to_owned()))
}

const ALL: [&str; 4] = ["query:token", "header", "subprotocol", "cookie:session"];
const AUTH: &str = "Authorization";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

#[test]
fn a_source_is_one_of_four_with_a_plain_name() {
    assert_eq!(Source::parse("header"), Ok(Source::Header));
    assert_eq!(Source::parse("subprotocol"), Ok(Source::Subprotocol));
    assert_eq!(Source::parse("query:access_token"), Ok(Source::Query("access_token".to_owned())));
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
    for (uri, headers, token) in [
        ("/?token=abc", vec![], "abc"),
        ("/?x=1&t%6Fken=a%2Bb%3D&y", vec![], "a+b="),
        ("/?token=a+b", vec![], "a+b"),
        ("/", vec![(AUTH, &b"Bearer abc"[..])], "abc"),
        ("/", vec![(AUTH, b"bEaReR   abc")], "abc"),
        ("/", vec![(PROTOCOL, b"bearer, abc")], "abc"),
        ("/", vec![(PROTOCOL, b"json.v1,bearer,abc,json.v2")], "abc"),
        ("/", vec![(PROTOCOL, b"bearer"), (PROTOCOL, b" abc ")], "abc"),
        ("/", vec![("Cookie", b"a=b; session=abc; c=d")], "abc"),
        ("/", vec![("Cookie", b"a=b"), ("Cookie", b"session=\"abc\"")], "abc"),
    ] {
        let found = find(&ALL, uri, &headers);
        assert_eq!(found.as_deref(), Some(token), "{uri} {headers:?}");
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
        assert_eq!(find(&ALL, uri, &headers).as_deref(), Some("-"), "{uri} {headers:?}");
    }
    for (uri, headers) in [
        ("/?token", vec![]),
        ("/?token=", vec![]),
        ("/", vec![(AUTH, &b"Bearer"[..])]),
        ("/", vec![("Cookie", b"session")]),
    ] {
        assert_eq!(find(&ALL, uri, &headers).as_deref(), Some(""), "{uri} {headers:?}");
    }
    assert_eq!(find(&ALL, "/", &[(PROTOCOL, b"bearer,,x")]).as_deref(), Some(""));
}

#[test]
fn a_source_that_is_not_configured_is_not_looked_at() {
    let headers: [(&str, &[u8]); 3] =
        [(AUTH, b"Bearer b"), (PROTOCOL, b"bearer, c"), ("Cookie", b"session=d")];
    for (source, token) in
        [("query:token", "a"), ("header", "b"), ("subprotocol", "c"), ("cookie:session", "d")]
    {
        let found = find(&[source], "/?token=a", &headers);
        assert_eq!(found.as_deref(), Some(token));
    }
    assert_eq!(find(&["query:other"], "/?token=a", &headers).as_deref(), Some("-"));
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
    assert_eq!(find(&ALL, "/?token=a&token=a", &headers).as_deref(), Some("a"));
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
