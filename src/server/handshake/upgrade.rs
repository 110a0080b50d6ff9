//! Whether a request is a correct WebSocket handshake (RFC 6455, section 4.2.1).

use super::head::RequestHead;
use crate::reason::Refusal;
use base64::Engine as _;
use hyper::{
    HeaderMap,
    header::{
        CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
};

/// The subprotocol of clients that send their token as one.
const BEARER: &str = "bearer";

/// What the 101 needs to know of a correct handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub(super) accept_key: String,
    /// `bearer` when the client offered it: a browser drops a connection whose 101 selects none of
    /// the subprotocols that it offered. Never the token, which is offered behind it.
    pub(super) subprotocol: Option<&'static str>,
}

/// Checks a GET request of HTTP/1.1 against the rules of a handshake.
///
/// # Errors
/// - [`Refusal::UpgradeRequired`]: it does not ask for a WebSocket at all.
/// - [`Refusal::BadHandshake`]: it does, but not correctly.
pub(super) fn check(head: &RequestHead) -> Result<Upgrade, Refusal> {
    let headers = &head.headers;
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(Refusal::UpgradeRequired);
    }
    let correct = single(headers, &HOST).is_some()
        && has_token(headers, &CONNECTION, "upgrade")
        && single(headers, &SEC_WEBSOCKET_VERSION) == Some("13")
        && !has_body(headers);
    let key = single(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_sixteen_bytes(key));
    match key {
        Some(key) if correct => Ok(Upgrade {
            accept_key: tungstenite::handshake::derive_accept_key(key.as_bytes()),
            subprotocol: tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
                .any(|token| token == BEARER)
                .then_some(BEARER),
        }),
        _ => Err(Refusal::BadHandshake),
    }
}

/// Whether a body follows, whose bytes would be taken for frames.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

/// Whether a key is the base64 of exactly 16 bytes.
fn is_sixteen_bytes(key: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// The value of a header that must stand exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

/// Whether a list header contains a token, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The comma-separated tokens of a list header, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    const CORRECT: [(&str, &str); 5] = [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        KEY,
    ];

    fn parts(headers: &[(&str, &str)]) -> RequestHead {
        let mut request = Request::get("/ws");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The correct handshake with one header replaced, or left out.
    fn changed(name: &str, value: Option<&str>) -> RequestHead {
        let mut headers = CORRECT.to_vec();
        headers.retain(|(known, _)| *known != name);
        headers.extend(value.map(|value| (name, value)));
        parts(&headers)
    }

    #[test]
    fn a_correct_handshake_gets_the_accept_key_of_the_rfc() {
        let upgrade = check(&parts(&CORRECT)).unwrap();
        assert_eq!(upgrade.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(upgrade.subprotocol, None);
    }

    #[test]
    fn upgrade_and_connection_are_lists_in_any_case() {
        for (name, value) in [
            ("Upgrade", "WebSocket"),
            ("Upgrade", "h2c, WEBSOCKET"),
            ("Connection", "keep-alive, Upgrade"),
            ("Connection", "UPGRADE"),
        ] {
            assert!(check(&changed(name, Some(value))).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn a_request_for_nothing_or_for_something_else_must_upgrade() {
        for value in [None, Some("h2c"), Some("websockets")] {
            assert_eq!(check(&changed("Upgrade", value)), Err(Refusal::UpgradeRequired));
        }
    }

    #[test]
    fn every_incorrect_handshake_is_refused() {
        for (name, value) in [
            ("Host", None),
            ("Connection", None),
            ("Connection", Some("close")),
            ("Sec-WebSocket-Version", None),
            ("Sec-WebSocket-Version", Some("8")),
            ("Sec-WebSocket-Version", Some("13, 8")),
            ("Sec-WebSocket-Key", None),
            ("Sec-WebSocket-Key", Some("")),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZQ==")),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ")),
            ("Content-Length", Some("5")),
            ("Transfer-Encoding", Some("chunked")),
            ("Sec-WebSocket-Key", Some("not base64 at all!======")),
        ] {
            let refused = check(&changed(name, value));
            assert_eq!(refused, Err(Refusal::BadHandshake), "{name}: {value:?}");
        }
    }

    #[test]
    fn two_keys_are_refused() {
        let mut twice = CORRECT.to_vec();
        twice.push(KEY);
        assert_eq!(check(&parts(&twice)), Err(Refusal::BadHandshake));
    }

    #[test]
    fn bearer_is_selected_only_when_it_was_offered_as_such() {
        for (value, offered) in [("bearer, abc", true), ("chat", false), ("bearer.abc", false)] {
            let upgrade = check(&changed("Sec-WebSocket-Protocol", Some(value))).unwrap();
            assert_eq!(upgrade.subprotocol.is_some(), offered, "{value}");
        }
    }
}
