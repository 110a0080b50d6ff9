//! Whether a request is a correct one for Server-Sent Events.

use super::{
    headers::{has_body, single, tokens},
    upgrade::{self, require},
};
use crate::{
    server::{head::RequestHead, response::HandshakeFault},
    wire::sse::Body,
};
use hyper::{
    Version,
    header::{ACCEPT, HOST},
};

/// Whether a request asks for events, and for no WebSocket.
pub(super) fn is_asked_for(head: &RequestHead) -> bool {
    let is_events = |range: &str| {
        let kind = range.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    };
    tokens(&head.headers, &ACCEPT).any(is_events) && !upgrade::is_asked_for(head)
}

/// Checks a GET request that asks for events, and says how its answer goes on.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(head: &RequestHead) -> Result<Body, HandshakeFault> {
    let is_old = head.version == Version::HTTP_10;
    require(is_old || single(&head.headers, &HOST).is_some(), HandshakeFault::Host)?;
    require(!has_body(&head.headers), HandshakeFault::Body)?;
    Ok(if is_old { Body::UntilClose } else { Body::Chunked })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn head(version: Version, headers: &[(&str, &str)]) -> RequestHead {
        let mut request = Request::get("/ws").version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn events_are_asked_for_by_the_accept_header_and_not_beside_a_websocket() {
        for (headers, asked) in [
            (&[("Accept", "text/event-stream")][..], true),
            (&[("Accept", "application/json, Text/Event-Stream; q=0.5")], true),
            (&[("Accept", "*/*"), ("Accept", "text/event-stream")], true),
            (&[("Accept", "text/event-stream"), ("Upgrade", "h2c")], true),
            (&[("Accept", "text/event-stream"), ("Upgrade", "websocket")], false),
            (&[("Accept", "*/*")], false),
            (&[("Accept", "text/event-streams")], false),
            (&[], false),
        ] {
            assert_eq!(is_asked_for(&head(Version::HTTP_11, headers)), asked, "{headers:?}");
        }
    }

    #[test]
    fn the_body_is_chunked_for_http_1_1_and_what_is_wrong_is_told() {
        let host = ("Host", "x");
        for (version, headers, checked) in [
            (Version::HTTP_11, &[host][..], Ok(Body::Chunked)),
            (Version::HTTP_10, &[], Ok(Body::UntilClose)),
            (Version::HTTP_11, &[], Err(HandshakeFault::Host)),
            (Version::HTTP_11, &[host, ("Content-Length", "1")], Err(HandshakeFault::Body)),
            (Version::HTTP_11, &[host, ("Content-Length", "0")], Ok(Body::Chunked)),
        ] {
            assert_eq!(check(&head(version, headers)), checked, "{headers:?}");
        }
    }
}
