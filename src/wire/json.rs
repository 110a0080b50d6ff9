//! Every JSON shape that a client gets or sends.

use super::{Gap, StreamReady};
use crate::{channel::ChannelName, message::Message, reason::ReplayResult, stream_id::StreamId};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::{fmt::Display, time::Duration};

/// What tells a client that the connection is alive, where nothing else does.
pub(super) const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// `{"type":"ready","session":"…","channels":["…"],"streams":{…},"heartbeat_ms":25000}`; members that would be
/// empty are left out.
pub(super) fn ready(
    session: impl Display,
    channels: &[ChannelName],
    streams: &[StreamReady],
    heartbeat: Option<Duration>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ready<'a> {
        r#type: &'static str,
        session: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        channels: Vec<&'a str>,
        #[serde(skip_serializing_if = "Streams::is_empty")]
        streams: Streams<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
    }
    encode(&Ready {
        r#type: "ready",
        session: session.to_string(),
        channels: channels.iter().map(ChannelName::as_str).collect(),
        streams: Streams(streams),
        // The configuration allows a day at the most.
        heartbeat_ms: heartbeat.map(|heartbeat| heartbeat.as_millis() as u64),
    })
}

/// `{"chat:7":{"id":"5-0","recovered":true,"replayed":2}}`: each stream by its name, in order.
struct Streams<'a>(&'a [StreamReady]);

impl Streams<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Streams<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|one| (one.stream.as_str(), Stream::from(one))))
    }
}

/// `reason` and `missed` are there only where a position does not recover.
#[derive(Serialize)]
struct Stream {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<usize>,
}

impl From<&StreamReady> for Stream {
    fn from(stream: &StreamReady) -> Self {
        let lost = stream.recovery.filter(|_| stream.is_lost());
        Self {
            id: stream.id.as_ref().map(StreamId::to_string),
            recovered: stream.recovery.map(|it| it.result == ReplayResult::Recovered),
            reason: lost.map(|it| it.result.label()),
            missed: lost.map(|it| it.missed),
            replayed: stream.replayed,
        }
    }
}

/// `{"type":"message","channel":"…","data":…}`: a payload that is JSON as it is, other text as a
/// string; bytes that are not UTF-8 as `"data_base64":"…"` in place of `data`. A stream's entry has its
/// `"id":"…"` behind the channel.
pub(super) fn message(message: &Message) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        r#type: &'static str,
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Data<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_base64: Option<String>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Data<'a> {
        /// Byte by byte, so that numbers keep every digit.
        Json(&'a RawValue),
        Text(&'a str),
    }
    let text = std::str::from_utf8(message.payload()).ok();
    encode(&Envelope {
        r#type: "message",
        channel: &message.channel,
        id: message.id.as_ref().map(StreamId::to_string),
        data: text.map(|text| serde_json::from_str(text).map_or(Data::Text(text), Data::Json)),
        data_base64: text.is_none().then(|| STANDARD.encode(message.payload())),
    })
}

/// `{"type":"gap","channel":"…","reason":"…","missed":…}`; `missed` is null where nobody can know. A gap of a
/// stream has the place behind it as `"id":"…"`.
pub(super) fn gap(gap: &Gap) -> Vec<u8> {
    #[derive(Serialize)]
    struct Notice<'a> {
        r#type: &'static str,
        channel: &'a str,
        reason: &'static str,
        missed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    }
    encode(&Notice {
        r#type: "gap",
        channel: &gap.channel,
        reason: gap.loss.reason.label(),
        missed: gap.loss.missed,
        id: gap.loss.id.as_ref().map(StreamId::to_string),
    })
}

/// `{"code":1012,"reason":"restarting"}`: what a close frame says, where there are none.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Close<'a> {
        code: u16,
        reason: &'a str,
    }
    encode(&Close { code, reason })
}

/// The token of `{"type":"refresh","token":"…"}`; `None` for anything else.
pub(super) fn refresh_token(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Refresh {
        r#type: String,
        token: String,
    }
    let refresh: Refresh = serde_json::from_str(text).ok()?;
    (refresh.r#type == "refresh").then_some(refresh.token)
}

pub(super) fn encode(shape: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(shape).expect("strings, numbers and checked JSON always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reason::GapReason,
        wire::{self, Loss, Recovery},
    };
    use std::time::Instant;

    fn text(shape: Vec<u8>) -> String {
        String::from_utf8(shape).unwrap()
    }

    #[test]
    fn the_envelope_carries_json_as_json_text_as_text_and_bytes_as_base64() {
        for (payload, data) in [
            (&br#"{"a": [1.50, null]}"#[..], r#""data":{"a": [1.50, null]}"#),
            (b"null", r#""data":null"#),
            (b" 42 ", r#""data":42"#),
            (b"12345678901234567890.10", r#""data":12345678901234567890.10"#),
            (b"{broken", r#""data":"{broken""#),
            (b"a \"quote\"\n", r#""data":"a \"quote\"\n""#),
            ("grüß".as_bytes(), r#""data":"grüß""#),
            (b"", r#""data":"""#),
            (&[0xFF, 0x00], r#""data_base64":"/wA=""#),
        ] {
            let message = wire::message(ChannelName::new("orders"), payload, Instant::now());
            let expected = format!(r#"{{"type":"message","channel":"orders",{data}}}"#);
            assert_eq!(text(super::message(&message)), expected);
        }
    }

    #[test]
    fn a_gap_names_its_channel_its_reason_and_how_many_or_null() {
        for (reason, missed, end) in [
            (GapReason::SlowConsumer, Some(3), r#""reason":"slow_consumer","missed":3}"#),
            (GapReason::RedisReconnected, None, r#""reason":"redis_reconnected","missed":null}"#),
        ] {
            let loss = Loss { reason, missed, id: None };
            let gap = Gap { channel: ChannelName::new("a\"b"), loss };
            assert_eq!(text(super::gap(&gap)), format!(r#"{{"type":"gap","channel":"a\"b",{end}"#));
        }
    }

    #[test]
    fn what_comes_of_a_stream_has_its_place() {
        let (stream, id) = (ChannelName::new("chat:7"), StreamId::parse("5-1").unwrap());
        let entry = wire::entry(stream.clone(), id, b"{}", Instant::now());
        assert_eq!(
            text(message(&entry)),
            r#"{"type":"message","channel":"chat:7","id":"5-1","data":{}}"#
        );
        let loss = Loss { reason: GapReason::StreamTrimmed, missed: Some(12), id: Some(id) };
        let end = r#""reason":"stream_trimmed","missed":12,"id":"5-1"}"#;
        assert_eq!(
            text(gap(&Gap { channel: stream, loss })),
            format!(r#"{{"type":"gap","channel":"chat:7",{end}"#)
        );
    }

    #[test]
    fn ready_says_of_each_stream_where_it_goes_on_and_what_came_of_a_position() {
        let id = StreamId::parse("5-0");
        let recovery = |result, missed| Some(Recovery { result, missed });
        let stream = |id, recovery, replayed| StreamReady {
            stream: ChannelName::new("s"),
            id,
            recovery,
            replayed,
        };
        for (stream, shown) in [
            (stream(id, None, None), r#"{"id":"5-0"}"#),
            (stream(None, None, Some(3)), r#"{"replayed":3}"#),
            (
                stream(id, recovery(ReplayResult::Recovered, None), Some(2)),
                r#"{"id":"5-0","recovered":true,"replayed":2}"#,
            ),
            (
                stream(id, recovery(ReplayResult::TooMany, None), Some(0)),
                r#"{"id":"5-0","recovered":false,"reason":"too_many","missed":null,"replayed":0}"#,
            ),
            (
                stream(id, recovery(ReplayResult::Trimmed, Some(7)), Some(1)),
                r#"{"id":"5-0","recovered":false,"reason":"trimmed","missed":7,"replayed":1}"#,
            ),
        ] {
            let expected =
                format!(r#"{{"type":"ready","session":"0a","streams":{{"s":{shown}}}}}"#);
            assert_eq!(text(ready("0a", &[], &[stream], None)), expected);
        }
    }

    #[test]
    fn ready_names_the_session_its_channels_in_order_and_its_heartbeat_if_any() {
        let channels = ["b", "a"].map(ChannelName::new);
        for (heartbeat, end) in [
            (None, "}"),
            (Some(Duration::from_millis(250)), r#","heartbeat_ms":250}"#),
            (Some(Duration::from_secs(86_400)), r#","heartbeat_ms":86400000}"#),
        ] {
            let expected = format!(r#"{{"type":"ready","session":"0a","channels":["b","a"]{end}"#);
            assert_eq!(text(ready("0a", &channels, &[], heartbeat)), expected);
        }
    }

    #[test]
    fn only_a_refresh_with_a_token_is_one() {
        for (text, token) in [
            (r#"{"type":"refresh","token":"t"}"#, Some("t")),
            (r#" {"token":"t","more":[1],"type":"refresh"} "#, Some("t")),
            (r#"{"type":"refresh","token":""}"#, Some("")),
            (r#"{"type":"refresh"}"#, None),
            (r#"{"type":"refresh","token":null}"#, None),
            (r#"{"type":"refresh","token":"t","token":"u"}"#, None),
            (r#"{"type":"Refresh","token":"t"}"#, None),
            (r#"{"type":"publish","token":"t"}"#, None),
            (r#"{"type":"refresh","token":"t"}{}"#, None),
            ("refresh", None),
            ("", None),
        ] {
            assert_eq!(refresh_token(text).as_deref(), token, "{text}");
        }
    }
}
