//! How everything looks to a client: one codec for each kind of session.
//!
//! Pure: bytes in, bytes out. It knows no sockets and no sessions. WebSocket frames are in
//! [`frame`], Server-Sent Events in [`sse`], every JSON shape is in `json` (those of presence in `presence`),
//! and what a client may say is in `inbound`.

use crate::{
    carrier::Carrier,
    channel::ChannelName,
    message::Message,
    reason::{CloseReason, GapReason, ReplayResult},
    stream_id::StreamId,
};
use bytes::Bytes;
use std::{
    fmt::Display,
    sync::LazyLock,
    time::{Duration, Instant},
};

mod entry;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbound;
mod json;
mod json_text;
mod presence;
mod publish;
pub mod sse;
pub mod subscriptions;

pub use entry::entry_object;
pub use inbound::{ClientFrame, InvalidFrame, Reference};
pub use json_text::is_sound as is_sound_json;
pub use publish::{Sent, Stamp, published, refused};

/// How a session's messages and notices are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// WebSocket frames with the payload exactly as Redis sent it: text when it is UTF-8, else binary.
    WsRaw,
    /// WebSocket frames with the payload exactly as Redis sent it, always binary.
    WsBinary,
    /// WebSocket text frames with a JSON object each.
    WsJson,
    /// Server-Sent Events whose data is the payload as Redis sent it, or in base64 where a browser would
    /// change it.
    SseRaw(sse::Body),
    /// Server-Sent Events whose data is a JSON object each.
    SseJson(sse::Body),
}

/// Messages of a channel or stream that a session does not get, or may not have got.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    pub channel: ChannelName,
    pub loss: Loss,
}

/// What is, or may be, missing at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub reason: GapReason,
    /// How many messages; `None` where nobody can know.
    pub missed: Option<u64>,
    /// Of a stream: the place behind what is missing.
    pub id: Option<StreamId>,
}

impl Loss {
    /// Takes in what is missing next, at the same place of a session's output.
    pub fn add(&mut self, next: Self) {
        self.missed = self.missed.zip(next.missed).map(|(missed, more)| missed + more);
        self.id = next.id.or(self.id);
    }
}

impl From<GapReason> for Loss {
    /// What a gap of this reason is on a pub/sub channel.
    fn from(reason: GapReason) -> Self {
        Self { reason, missed: reason.missed(), id: None }
    }
}

/// What `ready` says of one of the session's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReady {
    pub stream: ChannelName,
    /// The place just before the stream's next frame; `None` where nobody can know.
    pub id: Option<StreamId>,
    /// What came of the client's position; `None`: it gave none.
    pub recovery: Option<Recovery>,
    /// Entries that follow from before the session; `None`: none were asked for.
    pub replayed: Option<usize>,
}

/// What came of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    pub result: ReplayResult,
    /// Entries that do not come, where that is known; of a position that recovers there are none.
    pub missed: Option<u64>,
}

impl StreamReady {
    /// Of a stream that goes on from here, for a client without a position.
    #[must_use]
    pub fn at(stream: ChannelName, id: StreamId) -> Self {
        Self { stream, id: Some(id), recovery: None, replayed: None }
    }

    /// Whether the client gave a position, and does not get all that came after it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.recovery.is_some_and(|recovery| recovery.result != ReplayResult::Recovered)
    }
}

/// An endpoint's `gap_notice`: what tells a session without envelopes of a gap, in a text frame. Encoded once for all of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapNotice(Bytes);

impl GapNotice {
    /// A notice of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(frame::text(text.as_bytes()))
    }
}

/// An endpoint's `heartbeat_notice`: what a session without envelopes gets as its heartbeat, in a text
/// frame. Encoded once for all of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatNotice(Bytes);

impl HeartbeatNotice {
    /// A notice of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(frame::text(text.as_bytes()))
    }

    /// Whether a client could not tell it from this notice of a gap.
    #[must_use]
    pub fn looks_like(&self, gap: &GapNotice) -> bool {
        self.0 == gap.0
    }
}

/// Copies a payload into its raw frame, the only copy that is made of it.
#[must_use]
pub fn message(channel: ChannelName, payload: &[u8], received: Instant) -> Message {
    Message::framed(channel, frame::data(payload), payload.len(), received)
}

/// Makes the message that a pattern matched.
#[must_use]
pub fn matched(
    pattern: ChannelName,
    channel: ChannelName,
    payload: &[u8],
    received: Instant,
) -> Message {
    let mut matched = message(channel, payload, received);
    matched.pattern = Some(pattern);
    matched
}

/// Makes the message of a stream's entry.
#[must_use]
pub fn entry(stream: ChannelName, id: StreamId, payload: &[u8], received: Instant) -> Message {
    let mut entry = message(stream, payload, received);
    entry.id = Some(id);
    entry
}

impl Codec {
    /// What carries a session with this codec.
    #[must_use]
    pub const fn carrier(self) -> Carrier {
        match self {
            Self::WsRaw | Self::WsBinary | Self::WsJson => Carrier::WebSocket,
            Self::SseRaw(_) | Self::SseJson(_) => Carrier::EventStream,
        }
    }

    /// A message, encoded at most once for each codec.
    #[must_use]
    pub fn message(self, message: &Message) -> &[u8] {
        match self {
            Self::WsRaw => message.raw(),
            Self::WsBinary if frame::is_binary(message.raw()) => message.raw(),
            Self::WsBinary => message.binary(|message| frame::binary(message.payload())),
            Self::WsJson => message.json(|message| frame::text(&json::message(message))),
            Self::SseRaw(body) => body.part(message.raw_event(sse::raw_message)),
            Self::SseJson(body) => body.part(message.json_event(sse::json_message)),
        }
    }

    /// The first frame of a session; `None`: it has none. `heartbeat` is how long the session may be
    /// sent nothing before its heartbeat.
    #[must_use]
    pub fn ready(
        self,
        session: impl Display,
        channels: &[ChannelName],
        streams: &[StreamReady],
        heartbeat: Option<Duration>,
    ) -> Option<Bytes> {
        match self {
            Self::WsRaw | Self::WsBinary => None,
            Self::WsJson => Some(frame::text(&json::ready(session, channels, streams, heartbeat))),
            Self::SseRaw(body) | Self::SseJson(body) => {
                Some(sse::ready(body, session, channels, streams, heartbeat))
            }
        }
    }

    /// What tells a client that it does not get all that came after its position, where `ready` cannot.
    #[must_use]
    pub fn not_recovered(self, notice: &GapNotice) -> Option<Bytes> {
        match self {
            Self::WsRaw | Self::WsBinary => Some(notice.0.clone()),
            Self::WsJson | Self::SseRaw(_) | Self::SseJson(_) => None,
        }
    }

    /// What a page can see of a connection that is alive and has nothing to say; `None`: a session has
    /// no heartbeat. `notice` is what its endpoint says where a heartbeat has no shape of its own.
    #[must_use]
    pub fn heartbeat(self, notice: Option<&HeartbeatNotice>) -> Option<&Bytes> {
        static JSON: LazyLock<Bytes> = LazyLock::new(|| frame::text(json::HEARTBEAT.as_bytes()));
        match self {
            Self::WsRaw | Self::WsBinary => notice.map(|notice| &notice.0),
            Self::WsJson => Some(&JSON),
            Self::SseRaw(body) | Self::SseJson(body) => Some(sse::heartbeat(body)),
        }
    }

    /// A gap; `notice` is what the session's endpoint says where a gap has no shape of its own.
    #[must_use]
    pub fn gap(self, gap: &Gap, notice: &GapNotice) -> Bytes {
        match self {
            Self::WsRaw | Self::WsBinary => notice.0.clone(),
            Self::WsJson => frame::text(&json::gap(gap)),
            Self::SseRaw(body) | Self::SseJson(body) => sse::gap(body, gap),
        }
    }

    /// Whether a client that is told of `gap` need not be told of this one at the same place. Raw
    /// notices say nothing of channel or reason, so any one will do.
    #[must_use]
    pub fn gap_includes(self, gap: &Gap, channel: &ChannelName, reason: GapReason) -> bool {
        match self {
            Self::WsRaw | Self::WsBinary => true,
            Self::WsJson | Self::SseRaw(_) | Self::SseJson(_) => {
                gap.loss.reason == reason && gap.channel == *channel
            }
        }
    }

    /// Whether a gap says which channel it is of. If not, one is enough for all channels of a session.
    #[must_use]
    pub fn gap_names_channel(self) -> bool {
        match self {
            Self::WsRaw | Self::WsBinary => false,
            Self::WsJson | Self::SseRaw(_) | Self::SseJson(_) => true,
        }
    }

    /// A keepalive that the client must answer; `None`: there are none.
    #[must_use]
    pub fn ping(self) -> Option<Bytes> {
        match self.carrier() {
            Carrier::WebSocket => Some(frame::ping()),
            Carrier::EventStream => None,
        }
    }

    /// Whether a page sees this frame of its session: not one that is for its browser alone.
    #[must_use]
    pub fn is_seen(self, frame: &[u8]) -> bool {
        match self.carrier() {
            Carrier::WebSocket => frame::is_data(frame),
            Carrier::EventStream => true,
        }
    }

    /// Our good-bye; `None` for a reason that leaves nobody to say it to.
    #[must_use]
    pub fn close(self, reason: CloseReason) -> Option<Bytes> {
        match self {
            Self::WsRaw | Self::WsBinary | Self::WsJson => frame::close(reason),
            Self::SseRaw(body) | Self::SseJson(body) => sse::close(body, reason),
        }
    }

    /// What a whole message of the client asks for, where messages ask for anything.
    ///
    /// # Errors
    /// When it is not understood, on a session without frames of JSON always.
    pub fn client_frame(self, message: &tungstenite::Message) -> Result<ClientFrame, InvalidFrame> {
        match (self, message) {
            (Self::WsJson, tungstenite::Message::Text(text)) => inbound::json(text),
            _ => Err(InvalidFrame::default()),
        }
    }
}

#[cfg(test)]
mod tests;
