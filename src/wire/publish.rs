//! What clients publish: how it looks to others, and what its sender is told.

use super::{Reference, frame, json::encode};
use crate::{reason::PublishResult, stream_id::StreamId};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// The envelope around everything that one session publishes: who sent it, and from where. The sender's bytes
/// stand inside `data` as they are, so they cannot forge the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `{"type":"message","user":"42","room":"7","at":`
    head: Box<[u8]>,
    /// `,"claims":{…}`, or nothing.
    claims: Box<[u8]>,
}

/// What a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    /// JSON that was checked.
    Json(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Stamp {
    /// Makes the stamp of a session of this user, with these values of its path and these claims.
    #[must_use]
    pub fn new(user: &str, path: &[(String, String)], claims: &Map<String, Value>) -> Self {
        let mut head = br#"{"type":"message","user":"#.to_vec();
        head.extend(encode(&user));
        for (name, value) in path {
            head.push(b',');
            head.extend(encode(name));
            head.push(b':');
            head.extend(encode(value));
        }
        head.extend(br#","at":"#);
        let mut stamped = Vec::new();
        if !claims.is_empty() {
            stamped.extend(br#","claims":"#);
            stamped.extend(encode(claims));
        }
        Self { head: head.into(), claims: stamped.into() }
    }

    /// The message that others get.
    #[must_use]
    pub fn around(&self, sent: Sent<'_>, at: SystemTime) -> Bytes {
        let at =
            at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis().to_string();
        let (name, data): (&[u8], _) = match sent {
            Sent::Json(json) => (br#","data":"#, json.as_bytes().to_vec()),
            Sent::Text(text) => (br#","data":"#, encode(&text)),
            Sent::Bytes(bytes) => (br#","data_base64":"#, encode(&STANDARD.encode(bytes))),
        };
        let parts = [&self.head, at.as_bytes(), &self.claims, name, &data, b"}"];
        parts.concat().into()
    }
}

impl Sent<'_> {
    /// The message as it is, where it has no stamp.
    #[must_use]
    pub fn plain(self) -> Bytes {
        Bytes::copy_from_slice(match self {
            Sent::Json(text) | Sent::Text(text) => text.as_bytes(),
            Sent::Bytes(bytes) => bytes,
        })
    }
}

/// `{"type":"published","ref":"a1","id":"5-0"}`, or `"receivers":2`.
#[must_use]
pub fn published(reference: &Reference, id: Option<StreamId>, receivers: Option<u64>) -> Bytes {
    #[derive(Serialize)]
    struct Answer<'a> {
        r#type: &'static str,
        r#ref: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        receivers: Option<u64>,
    }
    let id = id.map(|id| id.to_string());
    let answer = Answer { r#type: "published", r#ref: reference.as_str(), id, receivers };
    frame::text(&encode(&answer))
}

/// `{"type":"refused","ref":"a1","code":"rate_limited","retry_after_ms":180}`; `ref` and `retry_after_ms`
/// where there are any.
#[must_use]
pub fn refused(
    reference: Option<&Reference>,
    code: PublishResult,
    retry_after: Option<Duration>,
) -> Bytes {
    #[derive(Serialize)]
    struct Answer<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        r#ref: Option<&'a str>,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    }
    frame::text(&encode(&Answer {
        r#type: "refused",
        r#ref: reference.map(Reference::as_str),
        code: code.label(),
        // Rounded up: never too early.
        retry_after_ms: retry_after.map(|after| after.as_millis() as u64 + 1),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stream_id::id, wire::inbound};
    use serde_json::json;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_stamp_says_who_from_where_and_when_and_leaves_what_was_sent_as_it_is() {
        let path = [("room".to_owned(), "7\"".to_owned())];
        let plain = Stamp::new("4\"2", &path, &Map::new());
        let at = AT + Duration::from_millis(1_795_769_040_539);
        let sent = r#"{"b" : 1.50,"user":"eve", "b":1e5}"#;
        let head = r#"{"type":"message","user":"4\"2","room":"7\"","at":1795769040539"#;
        assert_eq!(text(&plain.around(Sent::Json(sent), at)), format!(r#"{head},"data":{sent}}}"#));
        assert_eq!(
            text(&plain.around(Sent::Text("a \"q\""), at)),
            format!(r#"{head},"data":"a \"q\""}}"#)
        );
        assert_eq!(
            text(&plain.around(Sent::Bytes(&[0xFF, 0]), at)),
            format!(r#"{head},"data_base64":"/wA="}}"#)
        );
        let named = Stamp::new("42", &[], &claims(&json!({"name": "Ann", "tags": [1, true]})));
        assert_eq!(
            text(&named.around(Sent::Json("1"), AT)),
            r#"{"type":"message","user":"42","at":0,"claims":{"name":"Ann","tags":[1,true]},"data":1}"#
        );
        assert_eq!(text(&Sent::Json(sent).plain()), sent);
    }

    #[test]
    fn a_sender_is_told_by_its_reference_what_came_of_it() {
        let Err(inbound::InvalidFrame { reference: Some(reference) }) =
            inbound::json(r#"{"ref":"a\"1"}"#)
        else {
            panic!("it has a reference")
        };
        let told = |frame: Bytes| text(&frame.slice(2..)).to_owned();
        assert_eq!(
            told(published(&reference, Some(id(5)), None)),
            r#"{"type":"published","ref":"a\"1","id":"5-0"}"#
        );
        assert_eq!(
            told(published(&reference, None, Some(2))),
            r#"{"type":"published","ref":"a\"1","receivers":2}"#
        );
        let code = PublishResult::RateLimited;
        assert_eq!(
            told(refused(Some(&reference), code, Some(Duration::from_millis(179)))),
            r#"{"type":"refused","ref":"a\"1","code":"rate_limited","retry_after_ms":180}"#
        );
        assert_eq!(
            told(refused(None, PublishResult::FrameInvalid, None)),
            r#"{"type":"refused","code":"frame_invalid"}"#
        );
    }
}
