//! One Redis message, and how it looks to clients: each codec's encoding is kept here and made once.
//!
//! The payload is copied once, into its raw frame, by [`wire::message`](crate::wire::message). All
//! sessions of all shards share these bytes, however many there are.

use crate::{channel::ChannelName, stream_id::StreamId};
use bytes::Bytes;
use std::{sync::OnceLock, time::Instant};

/// One message from Redis.
#[derive(Debug)]
pub struct Message {
    /// The channel, without `redis.channel_prefix`.
    pub channel: ChannelName,
    /// When it came out of the Redis client; `sockway_delivery_seconds` counts from here.
    pub received: Instant,
    /// Its place in its stream; `None`: it came by pub/sub.
    pub id: Option<StreamId>,
    /// The pattern that it matched, and whose subscribers it is for alone; `None`: it is for its channel's.
    pub pattern: Option<ChannelName>,
    raw: Bytes,
    payload_len: usize,
    json: OnceLock<Bytes>,
    /// Boxed: most messages are never sent so.
    rare: OnceLock<Box<RareEncodings>>,
}

/// A message as most sessions do not get it.
#[derive(Debug, Default)]
struct RareEncodings {
    /// The binary WebSocket frame of a payload that is text.
    binary: OnceLock<Bytes>,
    /// As Server-Sent Events, each a chunk of a response's body.
    raw_event: OnceLock<Bytes>,
    json_event: OnceLock<Bytes>,
}

impl Message {
    /// A message whose raw frame ends with its payload of this many bytes.
    ///
    /// # Panics
    /// When the frame is shorter than that.
    #[must_use]
    pub fn framed(channel: ChannelName, raw: Bytes, payload_len: usize, received: Instant) -> Self {
        assert!(payload_len <= raw.len(), "a frame holds its payload");
        Self {
            channel,
            received,
            id: None,
            pattern: None,
            raw,
            payload_len,
            json: OnceLock::new(),
            rare: OnceLock::new(),
        }
    }

    /// What a session is subscribed to that gets it: its pattern, else its channel.
    #[must_use]
    pub fn topic(&self) -> &ChannelName {
        self.pattern.as_ref().unwrap_or(&self.channel)
    }

    /// The memory that it takes, its encodings included as far as they are made.
    #[must_use]
    pub fn memory(&self) -> usize {
        let made = |encoding: &OnceLock<Bytes>| encoding.get().map_or(0, Bytes::len);
        let rare = self.rare.get().map_or(0, |it| {
            let made = made(&it.binary) + made(&it.raw_event) + made(&it.json_event);
            size_of::<RareEncodings>() + made
        });
        size_of::<Self>() + self.raw.len() + made(&self.json) + rare
    }

    /// The payload as Redis sent it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.raw[self.raw.len() - self.payload_len..]
    }

    /// The WebSocket frame of the payload as it is.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The WebSocket frame of the JSON envelope, which the first call makes with `encode`.
    pub fn json(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.json.get_or_init(|| encode(self))
    }

    /// The binary WebSocket frame of the payload, which the first call makes with `encode`.
    pub fn binary(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.rare().binary.get_or_init(|| encode(self))
    }

    /// The event of the payload as it is, which the first call makes with `encode`.
    pub fn raw_event(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.rare().raw_event.get_or_init(|| encode(self))
    }

    /// The event of the JSON envelope, which the first call makes with `encode`.
    pub fn json_event(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.rare().json_event.get_or_init(|| encode(self))
    }

    fn rare(&self) -> &RareEncodings {
        self.rare.get_or_init(Box::default)
    }
}
