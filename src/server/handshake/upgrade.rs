//! Whether a request is a correct WebSocket handshake (RFC 6455, section 4.2.1).

use super::headers::{has_body, has_token, single, tokens};
use crate::server::{head::RequestHead, response::HandshakeFault};
use base64::Engine as _;
use hyper::{
    Version,
    header::{
        CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};

/// The subprotocol of clients that send their token as one.
const BEARER: &str = "bearer";

/// What the 101 needs to know of a correct handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Upgrade {
    /// The value of `Sec-WebSocket-Accept`.
    pub(in crate::server) accept_key: Box<str>,
    /// `bearer` when the client offered it: a browser drops a connection whose 101 selects none of
    /// the subprotocols that it offered. Never the token, which is offered behind it.
    pub(in crate::server) subprotocol: Option<&'static str>,
}

/// Why a request is no correct handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum NoUpgrade {
    NotAsked,
    Faulty(HandshakeFault),
}

impl From<HandshakeFault> for NoUpgrade {
    fn from(fault: HandshakeFault) -> Self {
        Self::Faulty(fault)
    }
}

/// Whether a request asks for a WebSocket.
pub(in crate::server) fn is_asked_for(head: &RequestHead) -> bool {
    has_token(&head.headers, &UPGRADE, "websocket")
}

/// Checks a GET request of HTTP/1.1 against the rules of a handshake.
///
/// # Errors
/// [`NoUpgrade::NotAsked`]: it does not ask for a WebSocket at all. Else it does, but not correctly.
pub(in crate::server) fn check(head: &RequestHead) -> Result<Upgrade, NoUpgrade> {
    if !is_asked_for(head) {
        return Err(NoUpgrade::NotAsked);
    }
    let headers = &head.headers;
    require(single(headers, &HOST).is_some(), HandshakeFault::Host)?;
    require(has_token(headers, &CONNECTION, "upgrade"), HandshakeFault::Connection)?;
    require(single(headers, &SEC_WEBSOCKET_VERSION) == Some("13"), HandshakeFault::Version)?;
    require(!has_body(headers), HandshakeFault::Body)?;
    let key = single(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_sixteen_bytes(key));
    let key = key.ok_or(HandshakeFault::Key)?;
    let bearer = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).any(|token| token == BEARER);
    Ok(Upgrade {
        accept_key: tungstenite::handshake::derive_accept_key(key.as_bytes()).into(),
        subprotocol: bearer.then_some(BEARER),
    })
}

/// Checks that the request is HTTP/1.1: an upgrade is nothing that HTTP/1.0 has.
///
/// # Errors
/// [`HandshakeFault::Http10`].
pub(in crate::server) fn check_version(head: &RequestHead) -> Result<(), NoUpgrade> {
    Ok(require(head.version == Version::HTTP_11, HandshakeFault::Http10)?)
}

pub(in crate::server) fn require(
    correct: bool,
    fault: HandshakeFault,
) -> Result<(), HandshakeFault> {
    if correct { Ok(()) } else { Err(fault) }
}

/// Whether a key is the base64 of exactly 16 bytes.
fn is_sixteen_bytes(key: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
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
        assert_eq!(&*upgrade.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
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
            assert_eq!(check(&changed("Upgrade", value)), Err(NoUpgrade::NotAsked));
        }
    }

    #[test]
    fn every_incorrect_handshake_is_refused_for_what_is_wrong_with_it() {
        use HandshakeFault::{Body, Connection, Host, Key, Version};
        for (name, value, fault) in [
            ("Host", None, Host),
            ("Connection", None, Connection),
            ("Connection", Some("close"), Connection),
            ("Sec-WebSocket-Version", None, Version),
            ("Sec-WebSocket-Version", Some("8"), Version),
            ("Sec-WebSocket-Version", Some("13, 8"), Version),
            ("Sec-WebSocket-Key", None, Key),
            ("Sec-WebSocket-Key", Some(""), Key),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZQ=="), Key),
            ("Sec-WebSocket-Key", Some("dGhlIHNhbXBsZSBub25jZQ"), Key),
            ("Content-Length", Some("5"), Body),
            ("Transfer-Encoding", Some("chunked"), Body),
            ("Sec-WebSocket-Key", Some("not base64 at all!======"), Key),
        ] {
            let refused = check(&changed(name, value));
            assert_eq!(refused, Err(NoUpgrade::Faulty(fault)), "{name}: {value:?}");
        }
    }

    #[test]
    fn two_keys_are_refused() {
        let mut twice = CORRECT.to_vec();
        twice.push(KEY);
        assert_eq!(check(&parts(&twice)), Err(NoUpgrade::Faulty(HandshakeFault::Key)));
    }

    #[test]
    fn bearer_is_selected_only_when_it_was_offered_as_such() {
        for (value, offered) in [("bearer, abc", true), ("chat", false), ("bearer.abc", false)] {
            let upgrade = check(&changed("Sec-WebSocket-Protocol", Some(value))).unwrap();
            assert_eq!(upgrade.subprotocol.is_some(), offered, "{value}");
        }
    }
}
