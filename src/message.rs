//! A Redis message and the WebSocket frames it goes out as.
//!
//! Each message is copied once, into its raw frame; its JSON envelope is made at most once, by the
//! first shard that needs it. However many sockets it goes to, they share those bytes.

use crate::channel::ChannelName;
use base64::Engine as _;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use std::{sync::OnceLock, time::Instant};

/// A server frame's opcode; every frame we send is final and unmasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// Encodes one whole server frame: header and payload.
///
/// Control frames (close, ping, pong) must carry at most 125 bytes; the caller sees to it.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    // Exactly as much as is needed: freezing a buffer with room to spare costs an allocation more.
    let mut buffer = BytesMut::with_capacity(header_len(payload.len()) + payload.len());
    put_header(&mut buffer, opcode, payload.len());
    buffer.put_slice(payload);
    buffer.freeze()
}

fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

fn put_header(buffer: &mut BytesMut, opcode: Opcode, len: usize) {
    buffer.put_u8(0x80 | opcode as u8);
    match len {
        0..=125 => buffer.put_u8(len as u8),
        126..=0xFFFF => {
            buffer.put_u8(126);
            buffer.put_u16(len as u16);
        }
        _ => {
            buffer.put_u8(127);
            buffer.put_u64(len as u64);
        }
    }
}

/// One message from Redis.
#[derive(Debug)]
pub struct Message {
    /// The channel, without `redis.channel_prefix`.
    pub channel: ChannelName,
    /// When it came out of the Redis client; `sockway_delivery_seconds` counts from here.
    pub received: Instant,
    raw: Bytes,
    payload_len: usize,
    json: OnceLock<Bytes>,
}

impl Message {
    /// Copies the payload into its raw frame: text when it is UTF-8, else binary.
    #[must_use]
    pub fn new(channel: ChannelName, payload: &[u8], received: Instant) -> Self {
        let opcode =
            if std::str::from_utf8(payload).is_ok() { Opcode::Text } else { Opcode::Binary };
        let raw = frame(opcode, payload);
        Self { channel, received, raw, payload_len: payload.len(), json: OnceLock::new() }
    }

    /// The payload as Redis sent it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.raw[self.raw.len() - self.payload_len..]
    }

    /// The frame of `format = "raw"`: exactly the payload's bytes.
    #[must_use]
    pub fn raw_frame(&self) -> &Bytes {
        &self.raw
    }

    /// The frame of `format = "json"`, made at the first call.
    #[must_use]
    pub fn json_frame(&self) -> &Bytes {
        self.json.get_or_init(|| frame(Opcode::Text, &self.envelope()))
    }

    fn envelope(&self) -> Vec<u8> {
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
            Json(&'a RawValue),
            Text(&'a str),
        }

        let text = std::str::from_utf8(self.payload()).ok();
        let envelope = Envelope {
            r#type: "message",
            channel: &self.channel,
            data: text.map(|text| serde_json::from_str(text).map_or(Data::Text(text), Data::Json)),
            data_base64: text
                .is_none()
                .then(|| base64::engine::general_purpose::STANDARD.encode(self.payload())),
        };
        serde_json::to_vec(&envelope).expect("strings and checked JSON always serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn message(payload: &[u8]) -> Message {
        Message::new(ChannelName::new("orders"), payload, Instant::now())
    }

    fn json_of(payload: &[u8]) -> Value {
        let message = message(payload);
        let frame = message.json_frame();
        assert_eq!(frame[0], 0x81, "a json frame is a final text frame");
        let start = frame.iter().position(|&byte| byte == b'{').unwrap();
        serde_json::from_slice(&frame[start..]).unwrap()
    }

    #[test]
    fn frame_lengths_take_the_shortest_form() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let encoded = frame(Opcode::Binary, &vec![7; len]);
            assert_eq!(encoded[..header.len()], header);
            assert_eq!(encoded.len(), header.len() + len);
        }
    }

    #[test]
    fn utf8_goes_out_as_text_and_other_bytes_as_binary() {
        assert_eq!(message("grüß".as_bytes()).raw_frame()[0], 0x81);
        assert_eq!(message(&[0xFF, 0x00]).raw_frame()[0], 0x82);
        assert_eq!(message(&[0xFF, 0x00]).payload(), [0xFF, 0x00]);
        assert_eq!(message(b"").raw_frame()[..], [0x81, 0]);
    }

    #[test]
    fn the_envelope_carries_json_as_json_text_as_text_and_bytes_as_base64() {
        assert_eq!(
            json_of(br#"{"a": [1.50, null]}"#),
            json!({"type": "message", "channel": "orders", "data": {"a": [1.5, null]}})
        );
        assert_eq!(json_of(b"{broken")["data"], "{broken");
        assert_eq!(json_of(b"")["data"], "");
        assert_eq!(json_of(&[0xFF, 0x00])["data_base64"], "/wA=");
        assert_eq!(json_of(&[0xFF]).get("data"), None);
    }

    #[test]
    fn json_numbers_keep_every_digit() {
        let message = message(b"12345678901234567890.10");
        let text = String::from_utf8_lossy(message.json_frame());
        assert!(text.ends_with(r#""data":12345678901234567890.10}"#), "{text}");
    }
}
