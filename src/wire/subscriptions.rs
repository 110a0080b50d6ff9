//! What answers a client that adds channels and streams to its session, or gives them back.

use super::{Reference, StreamReady, frame, json};
use crate::{
    channel::ChannelName,
    reason::{NotSubscribed, TakenAway},
};
use bytes::Bytes;
use serde::Serialize;
use std::time::Duration;

/// `{"type":"subscribed","channel":"chat:7","ref":"b"}`: every message from here on comes. Of a stream it says
/// where that is, as `ready` does.
#[must_use]
pub fn subscribed(
    channel: &str,
    stream: Option<&StreamReady>,
    reference: Option<&Reference>,
) -> Bytes {
    #[derive(Serialize)]
    struct Subscribed<'a> {
        r#type: &'static str,
        channel: &'a str,
        #[serde(flatten)]
        stream: Option<json::Stream>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    }
    text(&Subscribed {
        r#type: "subscribed",
        channel,
        stream: stream.map(json::Stream::from),
        reference: reference.map(Reference::as_str),
    })
}

/// `{"type":"unsubscribed","channel":"chat:7","ref":"b"}`: nothing of it comes after this.
#[must_use]
pub fn unsubscribed(channel: &str, reference: Option<&Reference>) -> Bytes {
    encode_unsubscribed(channel, None, reference)
}

/// `{"type":"unsubscribed","channel":"chat:7","reason":"not_permitted"}`: the
/// gateway has taken it away.
#[must_use]
pub fn taken_away(channel: &ChannelName, why: TakenAway) -> Bytes {
    encode_unsubscribed(channel, Some(why.label()), None)
}

fn encode_unsubscribed(
    channel: &str,
    reason: Option<&str>,
    reference: Option<&Reference>,
) -> Bytes {
    #[derive(Serialize)]
    struct Unsubscribed<'a> {
        r#type: &'static str,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    }
    let reference = reference.map(Reference::as_str);
    text(&Unsubscribed { r#type: "unsubscribed", channel, reason, reference })
}

/// `{"type":"refused","channel":"chat:7","ref":"b","code":"rate_limited","retry_after_ms":180}`.
#[must_use]
pub fn not_subscribed(
    channel: &str,
    code: NotSubscribed,
    retry_after: Option<Duration>,
    reference: Option<&Reference>,
) -> Bytes {
    #[derive(Serialize)]
    struct Refused<'a> {
        r#type: &'static str,
        channel: &'a str,
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    }
    text(&Refused {
        r#type: "refused",
        channel,
        reference: reference.map(Reference::as_str),
        code: code.label(),
        // Seconds at the most.
        retry_after_ms: retry_after.map(|after| after.as_millis() as u64 + 1),
    })
}

fn text(shape: &impl Serialize) -> Bytes {
    frame::text(&json::encode(shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reason::ReplayResult, stream_id::StreamId, wire::Recovery};

    fn shown(frame: &Bytes) -> String {
        String::from_utf8(frame[2..].to_vec()).unwrap()
    }

    #[test]
    fn each_answer_names_its_channel_and_the_clients_own_name_for_it() {
        let reference = Reference::new("b".to_owned());
        let (some, none) = (reference.as_ref(), None);
        for (frame, expected) in [
            (subscribed("c", None, some), r#"{"type":"subscribed","channel":"c","ref":"b"}"#),
            (subscribed("a\"b", None, none), r#"{"type":"subscribed","channel":"a\"b"}"#),
            (unsubscribed("c", some), r#"{"type":"unsubscribed","channel":"c","ref":"b"}"#),
            (
                taken_away(&ChannelName::new("c"), TakenAway::NotPermitted),
                r#"{"type":"unsubscribed","channel":"c","reason":"not_permitted"}"#,
            ),
            (
                not_subscribed("c", NotSubscribed::ChannelNotAllowed, None, some),
                r#"{"type":"refused","channel":"c","ref":"b","code":"channel_not_allowed"}"#,
            ),
            (
                not_subscribed(
                    "c",
                    NotSubscribed::RateLimited,
                    Some(Duration::from_millis(9)),
                    none,
                ),
                r#"{"type":"refused","channel":"c","code":"rate_limited","retry_after_ms":10}"#,
            ),
        ] {
            assert_eq!(shown(&frame), expected);
        }
    }

    #[test]
    fn a_stream_says_where_it_goes_on() {
        let stream = StreamReady {
            stream: ChannelName::new("s"),
            id: StreamId::parse("5-0"),
            recovery: Some(Recovery { result: ReplayResult::Recovered, missed: None }),
            replayed: Some(2),
        };
        assert_eq!(
            shown(&subscribed("s", Some(&stream), None)),
            r#"{"type":"subscribed","channel":"s","id":"5-0","recovered":true,"replayed":2}"#
        );
    }
}
