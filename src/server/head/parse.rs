//! From the bytes of a complete head to a request, strictly.

use super::{RequestHead, scan::MAX_HEADERS};
use bytes::Bytes;
use httparse::{EMPTY_HEADER, Status};
use hyper::{
    HeaderMap, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING},
};

/// Parses a head, from its first byte to its empty line. `None`: it is malformed, or where its body
/// ends is not beyond doubt. Target and header values share the memory of `head`.
pub(super) fn parse(head: &Bytes) -> Option<RequestHead> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if !matches!(parsed.parse(head), Ok(Status::Complete(_))) {
        return None;
    }
    let (mut request, ()) = Request::new(()).into_parts();
    request.method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    request.uri = Uri::from_maybe_shared(head.slice_ref(parsed.path?.as_bytes())).ok()?;
    request.version = if parsed.version? == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    request.headers.reserve(parsed.headers.len());
    for header in &*parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).ok()?;
        request.headers.append(name, value);
    }
    body_is_clear(&request.headers).then_some(request)
}

/// Whether the headers say without a doubt where a body ends (RFC 9112, 6.3). What is doubtful is how
/// a request is smuggled past a proxy that reads it in another way.
fn body_is_clear(headers: &HeaderMap) -> bool {
    match (headers.get(TRANSFER_ENCODING), headers.get(CONTENT_LENGTH)) {
        (None, None) => true,
        (Some(_), Some(_)) => false,
        (None, Some(first)) => is_number(first) && same(headers, first),
        (Some(_), None) => is_chunked(headers),
    }
}

fn is_number(length: &HeaderValue) -> bool {
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    digits && length.to_str().is_ok_and(|length| length.parse::<u64>().is_ok())
}

fn same(headers: &HeaderMap, first: &HeaderValue) -> bool {
    headers.get_all(CONTENT_LENGTH).iter().all(|length| length == first)
}

/// Whether the last coding of all is `chunked`.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let codings = last.and_then(|codings| codings.to_str().ok()).unwrap_or_default();
    let last = codings.rsplit(',').next().unwrap_or_default();
    last.trim().eq_ignore_ascii_case("chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &str) -> Option<RequestHead> {
        let head = format!("GET /ws?a=b HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        parse(&Bytes::from(head))
    }

    #[test]
    fn every_part_of_a_head_is_taken_over_and_doubled_headers_stay_two() {
        let request = parsed("UPGRADE: websocket\r\nhost: \u{e9}\r\nempty:\r\n").unwrap();
        assert_eq!((request.method, request.version), (Method::GET, Version::HTTP_11));
        assert_eq!(request.uri, "/ws?a=b");
        assert_eq!(request.headers["upgrade"], "websocket");
        assert_eq!(request.headers["empty"], "");
        let hosts: Vec<_> =
            request.headers.get_all("host").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(hosts, [&b"x"[..], "\u{e9}".as_bytes()]);
    }

    #[test]
    fn a_body_whose_end_is_not_beyond_doubt_makes_no_request() {
        for (lines, clear) in [
            ("Content-Length: 5\r\n", true),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", true),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", false),
            ("Content-Length: 5, 5\r\n", false),
            ("Content-Length: +5\r\n", false),
            ("Content-Length: -1\r\n", false),
            ("Content-Length:\r\n", false),
            ("Content-Length: 18446744073709551616\r\n", false),
            ("Transfer-Encoding: Chunked\r\n", true),
            ("Transfer-Encoding: gzip, chunked\r\n", true),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", true),
            ("Transfer-Encoding: chunked, gzip\r\n", false),
            ("Transfer-Encoding: gzip\r\n", false),
            ("Transfer-Encoding:\r\n", false),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", false),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", false),
        ] {
            assert_eq!(parsed(lines).is_some(), clear, "{lines}");
        }
    }
}
