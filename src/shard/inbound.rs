//! Parser of a client's bytes: tungstenite, with bounds of ours.
//!
//! An idle session keeps no parser. Between two messages there is nothing to remember, so a parser
//! is made when bytes arrive and kept only while a frame or a fragmented message is incomplete.

use crate::{endpoint::Endpoint, reason::CloseReason, wire::frame::FrameWalk};
use bytes::Bytes;
use std::io::{self, Read, Write};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

/// Frames one message may come in.
const MAX_FRAGMENTS: u32 = 1_024;

/// Frames a client may send at once, and how many it regains in each tick of the wheel. What is published, or
/// asked for within the limit of subscribes, does not count.
pub(super) const FRAME_BURST: u16 = 1_000;
pub(super) const FRAMES_PER_TICK: u32 = 10;

/// A parser in the middle of something.
pub(super) struct Parser {
    context: WebSocketContext,
    frames: FrameWalk,
}

/// What one piece of input came to.
pub(super) struct Input {
    /// Whole messages, pings and pongs left out: tungstenite answers pings by itself.
    pub(super) messages: Vec<Message>,
    /// What tungstenite wants to send: pongs, the echo of a close.
    pub(super) replies: Vec<Bytes>,
    /// Frames that began in this piece.
    pub(super) frames: u32,
    /// The client may not go on: it broke the protocol.
    pub(super) violation: Option<CloseReason>,
}

impl Parser {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        let max_message = endpoint.max_message.get();
        let config = WebSocketConfig::default()
            .read_buffer_size(0)
            .write_buffer_size(0)
            .max_message_size(Some(max_message))
            // Control frames may be as large as the protocol allows, however small messages are.
            .max_frame_size(Some(max_message.max(125)));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            frames: FrameWalk::default(),
        }
    }

    /// Takes a piece of input, whole.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Input {
        let frames = self.frames.walk(bytes);
        let mut adapter = Adapter { input: bytes, replies: Vec::new() };
        let mut messages = Vec::new();
        let violation = loop {
            match self.context.read(&mut adapter) {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(Some(close))) if is_objection(&close) => {
                    break Some(CloseReason::ProtocolError);
                }
                Ok(message) => messages.push(message),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    break (self.frames.fragments() > MAX_FRAGMENTS)
                        .then_some(CloseReason::RateLimited);
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break None,
                Err(Error::Capacity(_)) => break Some(CloseReason::MessageTooBig),
                Err(Error::Utf8(_)) => break Some(CloseReason::InvalidUtf8),
                Err(_) => break Some(CloseReason::ProtocolError),
            }
        };
        Input { messages, replies: adapter.replies, frames, violation }
    }

    /// Whether nothing is incomplete, so that a new parser would do as well.
    pub(super) fn is_idle(&self) -> bool {
        self.frames.is_idle()
    }
}

/// Whether this is what tungstenite puts in the place of a close frame with a code that nobody may
/// send. (A client that says the very same is told so too; no harm is done.)
fn is_objection(close: &CloseFrame) -> bool {
    close.code == CloseCode::Protocol && close.reason.as_str() == "Protocol violation"
}

/// Input from memory; output appended, so that it keeps its place among the shared frames.
struct Adapter<'a> {
    input: &'a [u8],
    replies: Vec<Bytes>,
}

impl Read for Adapter<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buf)
    }
}

impl Write for Adapter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.replies.push(Bytes::copy_from_slice(buf));
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
