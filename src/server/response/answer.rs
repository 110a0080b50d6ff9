//! The answers to a handshake, as bytes: the 101, and every refusal.
//!
//! An answer is built whole and written at once. Refusals always close the connection: a client
//! that was refused has nothing more to say on it.

use super::{Cors, HandshakeFault, problem, push};
use crate::{
    reason::{CloseReason, Refusal},
    wire::frame,
};
use std::{fmt::Write as _, time::SystemTime};

/// The 101 that ends a handshake well, with the value of `Sec-WebSocket-Accept`.
pub(in crate::server) fn switching(accept_key: &str, subprotocol: Option<&'static str>) -> Vec<u8> {
    let mut head = String::with_capacity(192);
    head.push_str(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    push(&mut head, "Sec-WebSocket-Accept", accept_key);
    if let Some(subprotocol) = subprotocol {
        push(&mut head, "Sec-WebSocket-Protocol", subprotocol);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The answer of `auth.reject = "close"`: a 101 with the close frame right behind it. `None` for a
/// reason that has no close frame.
pub(in crate::server) fn switching_and_closing(
    accept_key: &str,
    subprotocol: Option<&'static str>,
    reason: CloseReason,
) -> Option<Vec<u8>> {
    let close = frame::close(reason)?;
    let mut answer = switching(accept_key, subprotocol);
    answer.extend_from_slice(&close);
    Some(answer)
}

/// The HTTP answer to a refused handshake, with what is wrong with it where that is known. A `HEAD` is
/// answered without the body. `cors` is there where a page might read it.
pub(in crate::server) fn refused(
    refusal: Refusal,
    fault: Option<HandshakeFault>,
    is_head: bool,
    cors: Option<&Cors>,
    now: SystemTime,
) -> Vec<u8> {
    let body = problem::body(refusal, fault);
    let mut head = String::with_capacity(384);
    // Writing into a string cannot fail.
    let _ = write!(head, "HTTP/1.1 {} {}\r\n", refusal.status(), problem::title(refusal));
    push(&mut head, "Content-Type", "application/problem+json");
    push(&mut head, "Content-Length", &body.len().to_string());
    push(&mut head, "Cache-Control", "no-store");
    push(&mut head, "Date", &httpdate::fmt_http_date(now));
    if let Some(cors) = cors {
        cors.push(&mut head);
    }
    push_status_headers(&mut head, refusal, if cors.is_some() { "GET, OPTIONS" } else { "GET" });
    head.push_str("\r\n");
    let mut answer = head.into_bytes();
    if !is_head {
        answer.extend_from_slice(&body);
    }
    answer
}

/// The headers that a status asks for, `Connection` included. `methods` are those that are allowed.
fn push_status_headers(head: &mut String, refusal: Refusal, methods: &str) {
    if let Some(wait) = refusal.retry_after() {
        push(head, "Retry-After", &wait.as_secs().to_string());
    }
    match refusal.status() {
        400 | 426 => push(head, "Sec-WebSocket-Version", "13"),
        401 => push(head, "WWW-Authenticate", "Bearer"),
        405 => push(head, "Allow", methods),
        _ => {}
    }
    if refusal == Refusal::UpgradeRequired {
        push(head, "Upgrade", "websocket");
        push(head, "Connection", "Upgrade, close");
    } else {
        push(head, "Connection", "close");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refusal: Refusal) -> String {
        let answer = refused(refusal, None, false, None, SystemTime::UNIX_EPOCH);
        String::from_utf8(answer).unwrap()
    }

    const ACCEPT_KEY: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn a_refusal_is_a_whole_answer_with_its_length_and_close() {
        for &refusal in Refusal::ALL {
            let text = text(refusal);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
            assert!(head.contains("\r\nContent-Type: application/problem+json\r\n"), "{head}");
            assert!(head.ends_with("close"), "{head}");
            assert!(body.contains(&format!(r#""code":"{}""#, refusal.label())), "{body}");
        }
    }

    #[test]
    fn a_status_brings_the_headers_it_asks_for() {
        for (refusal, header) in [
            (Refusal::TokenMissing, "WWW-Authenticate: Bearer"),
            (Refusal::MethodNotAllowed, "Allow: GET"),
            (Refusal::UpgradeRequired, "Upgrade: websocket"),
            (Refusal::UpgradeRequired, "Connection: Upgrade, close"),
            (Refusal::BadHandshake, "Sec-WebSocket-Version: 13"),
            (Refusal::Draining, "Retry-After: 2"),
            (Refusal::UserLimit, "Retry-After: 2"),
            (Refusal::NotFound, "Date: Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert!(text(refusal).contains(&format!("\r\n{header}\r\n")), "{header}");
        }
        assert!(!text(Refusal::NotFound).contains("Retry-After"));
        assert!(!text(Refusal::OriginNotAllowed).contains("WWW-Authenticate"));
    }

    #[test]
    fn a_head_request_is_answered_without_the_body() {
        let refusal = Refusal::MethodNotAllowed;
        let answer = refused(refusal, None, true, None, SystemTime::UNIX_EPOCH);
        assert!(answer.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn the_101_selects_a_subprotocol_only_when_it_is_told_to() {
        let with = String::from_utf8(switching(ACCEPT_KEY, Some("bearer"))).unwrap();
        let without = String::from_utf8(switching(ACCEPT_KEY, None)).unwrap();
        assert!(with.contains("\r\nSec-WebSocket-Protocol: bearer\r\n\r\n"), "{with}");
        assert!(!without.contains("Sec-WebSocket-Protocol"), "{without}");
        assert!(without.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn a_refusal_by_close_is_a_101_and_one_close_frame() {
        let answer = switching_and_closing(ACCEPT_KEY, None, CloseReason::TokenExpired).unwrap();
        let frame = &answer[switching(ACCEPT_KEY, None).len()..];
        assert_eq!(frame, b"\x88\x0f\x0b\xb8token_expired");
    }
}
