//! The body of a refusal: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Every text here is a constant, so nothing that a client sent can come back in a body.

use super::HandshakeFault;
use crate::reason::Refusal;
use hyper::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'static str,
}

/// The body that tells of a refusal, and of what is wrong with a handshake.
pub(super) fn body(refusal: Refusal, fault: Option<HandshakeFault>) -> Vec<u8> {
    let detail = fault.map_or_else(|| detail(refusal), HandshakeFault::detail);
    problem(refusal.status(), refusal.label(), detail)
}

/// A problem with this status and code.
pub(in crate::server) fn problem(status: u16, code: &'static str, detail: &'static str) -> Vec<u8> {
    let problem = Problem { r#type: "about:blank", title: phrase(status), status, code, detail };
    serde_json::to_vec(&problem).expect("constant text always serialises")
}

/// The standard phrase of the refusal's status, which `about:blank` asks for as the title.
pub(super) fn title(refusal: Refusal) -> &'static str {
    phrase(refusal.status())
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Error")
}

/// One sentence for the person who reads the answer: what is wrong, and what would be right.
fn detail(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::BadHandshake => {
            "This is no HTTP/1.1 request that can be read in one way only, such as a WebSocket handshake is."
        }
        Refusal::TokenConflict => "The request carries different tokens in different places.",
        Refusal::TokenMissing => "This endpoint needs a token and the request carries none.",
        Refusal::TokenInvalid => "The token does not verify.",
        Refusal::TokenExpired => "The token has expired.",
        Refusal::OriginNotAllowed => "Pages of this origin may not connect here.",
        Refusal::ClaimMissing => "The token lacks a claim that this endpoint's channels need.",
        Refusal::ClaimUnusable => "A claim that this endpoint's channels need cannot be used.",
        Refusal::TooManyValues => "The values for this endpoint's channels are too many.",
        Refusal::ValueNotAllowed => "A value for this endpoint's channels is not allowed.",
        Refusal::NotFound => "There is no endpoint at this path.",
        Refusal::MethodNotAllowed => "Endpoints are opened with GET.",
        Refusal::UpgradeRequired => {
            "This is a WebSocket endpoint, and the request does not ask for an upgrade: a proxy on the way must be told to pass the headers Upgrade and Connection on (nginx: proxy_set_header Upgrade $http_upgrade)."
        }
        Refusal::RequestTimeout => "The request was not complete in time.",
        Refusal::UriTooLong => "The request line is longer than 8 KiB.",
        Refusal::HeadersTooLarge => "The headers are larger than 8 KiB or more than 64.",
        Refusal::AddressLimit => "There are too many connections from this address.",
        Refusal::UserLimit => "This user has too many sessions.",
        Refusal::AtCapacity => "The gateway is at capacity.",
        Refusal::Draining => "The gateway is stopping.",
        Refusal::RedisUnavailable => "Subscriptions cannot be confirmed now.",
        Refusal::ChannelRefused => "Redis refuses a channel of this endpoint.",
        Refusal::StreamLimit => "The gateway follows as many streams as it may.",
        Refusal::PatternLimit => "The gateway has as many patterns as it may.",
        Refusal::TrackingRefused => "Redis does not let streams be followed.",
        Refusal::SinceInvalid => "The position in since or last is malformed.",
        Refusal::SinceNotSupported => {
            "This endpoint has no streams, so there is no position to go on from."
        }
        Refusal::SubscriptionTimeout => "The subscription was not confirmed in time.",
        Refusal::KeysUnavailable => "The keys that prove tokens cannot be fetched now.",
        Refusal::InternalError => "The gateway failed; this is not the client's fault.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use strum::VariantArray as _;

    #[test]
    fn a_problem_names_its_status_and_its_stable_code() {
        let problem: Value = serde_json::from_slice(&body(Refusal::TokenExpired, None)).unwrap();
        assert_eq!(
            problem,
            json!({
                "type": "about:blank",
                "title": "Unauthorized",
                "status": 401,
                "code": "token_expired",
                "detail": "The token has expired.",
            })
        );
    }

    #[test]
    fn each_fault_of_a_handshake_is_told_in_words_of_its_own() {
        let said: BTreeSet<String> = HandshakeFault::VARIANTS
            .iter()
            .map(|&fault| {
                let body: Value =
                    serde_json::from_slice(&body(Refusal::BadHandshake, Some(fault))).unwrap();
                assert_eq!(body["code"], "bad_handshake");
                body["detail"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(said.len(), HandshakeFault::VARIANTS.len());
        assert!(said.iter().all(|detail| detail.ends_with('.')));
    }

    #[test]
    fn every_refusal_has_a_standard_title_and_a_sentence() {
        for &refusal in Refusal::ALL {
            assert_ne!(title(refusal), "Error", "{}", refusal.label());
            assert!(detail(refusal).ends_with('.'), "{}", refusal.label());
        }
    }
}
