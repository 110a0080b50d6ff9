//! Server-Sent Events: encodes everything that a session over them is sent.
//!
//! An event is a few lines and an empty one. In the body of a response it is one chunk, whose bytes all
//! sessions share; HTTP/1.0 has no chunks, so there the event alone is taken out of it.
//!
//! A browser ends a line at LF, at CR and at CRLF, so data is split at all three: a payload that could
//! begin a line of its own could make an event of its own.

use super::{Gap, StreamReady, json};
use crate::{
    channel::ChannelName,
    message::Message,
    reason::{CloseReason, Refusal},
    stream_id::StreamId,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::{
    fmt::{Display, Write as _},
    sync::LazyLock,
    time::Duration,
};

/// How a response's body is told apart from what would follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// HTTP/1.1: in chunks, and an empty one is its end.
    Chunked,
    /// HTTP/1.0: the connection's end is its end.
    UntilClose,
}

/// When a browser comes back by itself, in milliseconds: at random, so that clients which were sent away
/// together do not come back together.
const RETRY: std::ops::RangeInclusive<u64> = 1_000..=5_000;

/// When a browser comes back that should not come back by itself: in a day.
const NO_RETRY: u64 = 86_400_000;

const LINE_END: &[u8] = b"\r\n";

/// The empty chunk that ends a body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// One event, line by line.
#[derive(Default)]
struct Event<'a> {
    /// In milliseconds.
    retry: Option<u64>,
    /// What listeners ask for; `None` is `message`.
    name: Option<&'static str>,
    /// What the browser says in `Last-Event-ID` when it comes back. Never an empty one, which would make it
    /// forget the one before.
    id: Option<StreamId>,
    data: &'a [u8],
}

impl Body {
    /// The part of a chunk that this body has: all of it, or the event alone.
    pub(super) fn part(self, chunk: &[u8]) -> &[u8] {
        match self {
            Self::Chunked => chunk,
            Self::UntilClose => {
                let size = chunk.windows(2).position(|bytes| bytes == LINE_END).unwrap_or(0);
                &chunk[size + LINE_END.len()..chunk.len() - LINE_END.len()]
            }
        }
    }

    fn part_of(self, chunk: &Bytes) -> Bytes {
        chunk.slice_ref(self.part(chunk))
    }
}

/// The chunk of a message whose data is its payload. A payload that a browser would change (one with CR, or
/// that is not UTF-8) is an event `base64`.
pub(super) fn raw_message(message: &Message) -> Bytes {
    let (payload, id) = (message.payload(), message.id);
    if std::str::from_utf8(payload).is_ok() && !payload.contains(&b'\r') {
        return chunk(&Event { id, data: payload, ..Event::default() });
    }
    let data = STANDARD.encode(payload);
    chunk(&Event { name: Some("base64"), id, data: data.as_bytes(), ..Event::default() })
}

/// The chunk of a message whose data is the JSON envelope, on one line: line ends between the tokens of a
/// JSON payload become spaces.
pub(super) fn json_message(message: &Message) -> Bytes {
    let mut data = json::message(message);
    for byte in data.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')) {
        *byte = b' ';
    }
    chunk(&Event { id: message.id, data: &data, ..Event::default() })
}

/// The first event, with the time after which the browser comes back when this response ends.
pub(super) fn ready(
    body: Body,
    session: impl Display,
    channels: &[ChannelName],
    streams: &[StreamReady],
    heartbeat: Option<Duration>,
) -> Bytes {
    let data = json::ready(session, channels, streams, heartbeat);
    let (retry, name) = (Some(fastrand::u64(RETRY)), Some("ready"));
    // A session over events has one stream at the most.
    let id = streams.first().and_then(|stream| stream.id);
    body.part_of(&chunk(&Event { retry, name, id, data: &data }))
}

/// A gap looks the same in every format: a page tells it from a message by the event's name.
pub(super) fn gap(body: Body, gap: &Gap) -> Bytes {
    let data = json::gap(gap);
    let (name, id) = (Some("gap"), gap.loss.id);
    body.part_of(&chunk(&Event { name, id, data: &data, ..Event::default() }))
}

/// An event that a page asks for by this name; its data has no line ends.
pub(super) fn named(body: Body, name: &'static str, data: &[u8]) -> Bytes {
    body.part_of(&chunk(&Event { name: Some(name), data, ..Event::default() }))
}

/// The same bytes for all sessions.
pub(super) fn heartbeat(body: Body) -> &'static Bytes {
    static CHUNK: LazyLock<Bytes> = LazyLock::new(|| {
        let data = json::HEARTBEAT.as_bytes();
        chunk(&Event { name: Some("heartbeat"), data, ..Event::default() })
    });
    static ALONE: LazyLock<Bytes> = LazyLock::new(|| Body::UntilClose.part_of(&CHUNK));
    match body {
        Body::Chunked => &CHUNK,
        Body::UntilClose => &ALONE,
    }
}

/// Our good-bye and the end of the body; `None` for a reason that leaves nobody to say it to. A browser
/// comes back by itself, so it is told not to where a client is asked for more than that.
#[must_use]
pub fn close(body: Body, reason: CloseReason) -> Option<Bytes> {
    let code = reason.code()?;
    let retry = needs_more_than_a_return(code).then_some(NO_RETRY);
    Some(last(body, retry, code, reason.label()))
}

/// Whether a client must change something before it comes back, or must not come back.
fn needs_more_than_a_return(code: u16) -> bool {
    matches!(code, 1003 | 1008 | 3000 | 3003 | 4011)
}

/// The whole body of the answer to a request that is refused for now: a status would end the browser's
/// attempts for good. `None`: it is refused for good.
#[must_use]
pub fn refused_for_now(body: Body, refusal: Refusal) -> Option<Bytes> {
    let code = match (refusal, refusal.status()) {
        (Refusal::Draining, _) => 1012,
        (_, 500) => 1011,
        (_, 429 | 503) => 1013,
        _ => return None,
    };
    let wait = refusal.retry_after().map_or(*RETRY.start(), |wait| wait.as_millis() as u64);
    Some(last(body, Some(fastrand::u64(wait..=*RETRY.end())), code, refusal.label()))
}

/// The event `close` and the end of the body.
fn last(body: Body, retry: Option<u64>, code: u16, reason: &str) -> Bytes {
    let data = json::close(code, reason);
    let event = chunk(&Event { retry, name: Some("close"), data: &data, ..Event::default() });
    match body {
        Body::Chunked => [&event, LAST_CHUNK].concat().into(),
        Body::UntilClose => body.part_of(&event),
    }
}

/// An event as one chunk: its length in hexadecimal, itself, and an end.
fn chunk(event: &Event<'_>) -> Bytes {
    let event = event.encode();
    let size = format!("{:x}\r\n", event.len());
    // Exactly as much as is needed: freezing a buffer with room to spare costs an allocation more.
    let mut chunk = BytesMut::with_capacity(size.len() + event.len() + LINE_END.len());
    chunk.put_slice(size.as_bytes());
    chunk.put_slice(&event);
    chunk.put_slice(LINE_END);
    chunk.freeze()
}

impl Event<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut head = String::new();
        // Writing into a string cannot fail.
        if let Some(retry) = self.retry {
            let _ = writeln!(head, "retry: {retry}");
        }
        if let Some(name) = self.name {
            let _ = writeln!(head, "event: {name}");
        }
        if let Some(id) = self.id {
            let _ = writeln!(head, "id: {id}");
        }
        let mut event = head.into_bytes();
        event.reserve(self.data.len() + 16);
        let mut rest = Some(self.data);
        while let Some(line) = rest {
            let (line, after) = split_line(line);
            event.extend_from_slice(b"data: ");
            event.extend_from_slice(line);
            event.push(b'\n');
            rest = after;
        }
        event.push(b'\n');
        event
    }
}

/// The first line, and what comes behind its end; `None`: it has none.
fn split_line(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(end) = data.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return (data, None);
    };
    let end_length = if data[end..].starts_with(LINE_END) { 2 } else { 1 };
    (&data[..end], Some(&data[end + end_length..]))
}

#[cfg(test)]
mod tests;
