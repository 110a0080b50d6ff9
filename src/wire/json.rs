//! Every JSON shape that a client gets or sends.

use super::Gap;
use crate::{channel::ChannelName, message::Message};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{fmt::Display, time::Duration};

/// What tells a client that the connection is alive, where nothing else does.
pub(super) const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// `{"type":"ready","session":"…","channels":["…"],"heartbeat_ms":25000}`; without a heartbeat the
/// last member is left out.
pub(super) fn ready(
    session: impl Display,
    channels: &[ChannelName],
    heartbeat: Option<Duration>,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ready<'a> {
        r#type: &'static str,
        session: String,
        channels: Vec<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
    }
    encode(&Ready {
        r#type: "ready",
        session: session.to_string(),
        channels: channels.iter().map(ChannelName::as_str).collect(),
        // The configuration allows a day at the most.
        heartbeat_ms: heartbeat.map(|heartbeat| heartbeat.as_millis() as u64),
    })
}

/// `{"type":"message","channel":"…","data":…}`: a payload that is JSON as it is, other text as a
/// string; bytes that are not UTF-8 as `"data_base64":"…"` in place of `data`.
pub(super) fn message(message: &Message) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        r#type: &'static str,
        channel: &'a str,
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
        data: text.map(|text| serde_json::from_str(text).map_or(Data::Text(text), Data::Json)),
        data_base64: text.is_none().then(|| STANDARD.encode(message.payload())),
    })
}

/// `{"type":"gap","channel":"…","reason":"…","missed":…}`; `missed` is null where nobody can know.
pub(super) fn gap(gap: &Gap) -> Vec<u8> {
    #[derive(Serialize)]
    struct Notice<'a> {
        r#type: &'static str,
        channel: &'a str,
        reason: &'static str,
        missed: Option<u64>,
    }
    encode(&Notice {
        r#type: "gap",
        channel: &gap.channel,
        reason: gap.reason.label(),
        missed: gap.missed,
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

fn encode(shape: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(shape).expect("strings, numbers and checked JSON always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reason::GapReason, wire};
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
            let gap = Gap { channel: ChannelName::new("a\"b"), reason, missed };
            assert_eq!(text(super::gap(&gap)), format!(r#"{{"type":"gap","channel":"a\"b",{end}"#));
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
            assert_eq!(text(ready("0a", &channels, heartbeat)), expected);
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
