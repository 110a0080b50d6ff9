//! WebSocket frames: encodes those that we send, counts those that a client sends.
//!
//! Every frame of ours is final and unmasked. Headers are written and read by tungstenite.

use crate::reason::CloseReason;
use bytes::{BufMut as _, Bytes, BytesMut};
use std::io::Cursor;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

/// A text frame. The payload must be UTF-8.
#[must_use]
pub fn text(payload: &[u8]) -> Bytes {
    frame(OpCode::Data(Data::Text), payload)
}

/// A text frame when the payload is UTF-8, else a binary one.
#[must_use]
pub fn data(payload: &[u8]) -> Bytes {
    let is_text = std::str::from_utf8(payload).is_ok();
    frame(OpCode::Data(if is_text { Data::Text } else { Data::Binary }), payload)
}

/// A binary frame.
#[must_use]
pub fn binary(payload: &[u8]) -> Bytes {
    frame(OpCode::Data(Data::Binary), payload)
}

/// Whether a frame of ours is a binary one.
#[must_use]
pub fn is_binary(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0x0F == 0x02)
}

/// Whether a frame of ours carries data. A web page sees those alone: pings, pongs and closes are for
/// its browser.
#[must_use]
pub fn is_data(frame: &[u8]) -> bool {
    // The first of the four bits of an opcode marks control frames.
    frame.first().is_some_and(|first| first & 0x08 == 0)
}

/// A ping without a payload.
#[must_use]
pub fn ping() -> Bytes {
    frame(OpCode::Control(Control::Ping), &[])
}

/// The close frame of a reason: its code, and its label as the text. `None` for a reason that has
/// no code.
#[must_use]
pub fn close(reason: CloseReason) -> Option<Bytes> {
    let payload = [&reason.code()?.to_be_bytes()[..], reason.label().as_bytes()].concat();
    Some(frame(OpCode::Control(Control::Close), &payload))
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let len = payload.len() as u64;
    // Exactly as much as is needed: freezing a buffer with room to spare costs an allocation more.
    let mut buffer = BytesMut::with_capacity(header.len(len) + payload.len());
    header.format(len, &mut (&mut buffer).writer()).expect("memory takes every header");
    buffer.put_slice(payload);
    buffer.freeze()
}

/// The longest header: two bytes, eight of length, four of mask.
const LONGEST_HEADER: usize = 14;

/// Counts the frames and fragments in a client's bytes, in whatever pieces they come. Tungstenite
/// does not show them: it joins fragments by itself, without a bound on their number.
#[derive(Default)]
pub struct FrameWalk {
    /// The beginning of a header whose rest has not come.
    header: [u8; LONGEST_HEADER],
    header_len: u8,
    /// Payload bytes of the current frame still to come.
    payload: u64,
    fragments: u32,
}

impl FrameWalk {
    /// Walks over these bytes; returns how many frames began in them. A header that is none ends the
    /// walk: nothing behind it can be told apart.
    pub fn walk(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0;
        loop {
            bytes = self.skip_payload(bytes);
            if bytes.is_empty() {
                return frames;
            }
            frames += u32::from(self.header_len == 0);
            let Some(rest) = self.read_header(bytes) else { return frames };
            bytes = rest;
        }
    }

    /// Whether the walk stands between two messages, so that there is nothing to remember.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.header_len == 0 && self.payload == 0 && self.fragments == 0
    }

    /// Frames of the current message so far; 0 between messages.
    #[must_use]
    pub fn fragments(&self) -> u32 {
        self.fragments
    }

    fn skip_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
        self.payload -= skip as u64;
        &bytes[skip..]
    }

    /// Returns what follows the header; `None` when it is not whole yet, or none.
    fn read_header<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let known = usize::from(self.header_len);
        let more = bytes.len().min(LONGEST_HEADER - known);
        self.header[known..known + more].copy_from_slice(&bytes[..more]);
        let mut cursor = Cursor::new(&self.header[..known + more]);
        let parsed = FrameHeader::parse(&mut cursor).ok()?;
        let end = cursor.position() as usize;
        match parsed {
            Some((header, payload)) => {
                self.begin(&header, payload);
                Some(&bytes[end - known..])
            }
            None => {
                self.header_len = (known + more) as u8;
                None
            }
        }
    }

    fn begin(&mut self, header: &FrameHeader, payload: u64) {
        if matches!(header.opcode, OpCode::Data(_)) {
            self.fragments = if header.is_final { 0 } else { self.fragments + 1 };
        }
        self.header_len = 0;
        self.payload = payload;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_lengths_take_the_shortest_form() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let encoded = frame(OpCode::Data(Data::Binary), &vec![7; len]);
            assert_eq!(encoded[..header.len()], header);
            assert_eq!(encoded.len(), header.len() + len);
        }
    }

    #[test]
    fn a_page_sees_data_and_no_control_frame() {
        let close = close(CloseReason::Bye).unwrap();
        for (frame, seen) in
            [(text(b"a"), true), (data(&[0xFF]), true), (ping(), false), (close, false)]
        {
            assert_eq!(is_data(&frame), seen, "{frame:?}");
        }
    }

    #[test]
    fn a_close_frame_has_the_code_and_the_label_of_every_reason_that_has_one() {
        assert_eq!(
            close(CloseReason::TokenExpired).unwrap(),
            &b"\x88\x0f\x0b\xb8token_expired"[..]
        );
        for &reason in CloseReason::ALL {
            let Some(code) = reason.code() else {
                assert_eq!(close(reason), None);
                continue;
            };
            let frame = close(reason).unwrap();
            assert_eq!(frame[..2], [0x88, 2 + reason.label().len() as u8], "at most 125 bytes");
            assert_eq!(frame[2..4], code.to_be_bytes());
            assert_eq!(&frame[4..], reason.label().as_bytes());
        }
    }

    /// A client's masked frame.
    fn masked(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        let opcode = OpCode::from(first & 0x0F);
        let mask = Some([7; 4]);
        let header =
            FrameHeader { is_final: first & 0x80 != 0, opcode, mask, ..FrameHeader::default() };
        header.format(payload as u64, &mut frame).unwrap();
        frame.resize(frame.len() + payload, 0);
        frame
    }

    #[test]
    fn frames_and_fragments_are_counted_alike_in_pieces_of_any_size() {
        let frames = [(0x01, 3), (0x89, 125), (0x00, 126), (0x80, 70_000), (0x82, 0)];
        let bytes: Vec<u8> = frames.iter().flat_map(|&(first, len)| masked(first, len)).collect();
        for piece in [1, 2, 3, 13, 14, 15, 1_000, bytes.len()] {
            let mut walk = FrameWalk::default();
            let began: u32 = bytes.chunks(piece).map(|piece| walk.walk(piece)).sum();
            assert_eq!((began, walk.fragments()), (5, 0), "pieces of {piece}");
            assert!(walk.is_idle());
        }
    }

    #[test]
    fn a_walk_is_idle_only_between_two_messages() {
        let mut walk = FrameWalk::default();
        for (bytes, fragments) in [(&masked(0x01, 0)[..], 1), (&masked(0x00, 0), 2)] {
            assert_eq!((walk.walk(bytes), walk.fragments(), walk.is_idle()), (1, fragments, false));
        }
        let last = masked(0x80, 2);
        assert_eq!((walk.walk(&last[..1]), walk.is_idle()), (1, false));
        assert_eq!((walk.walk(&last[1..7]), walk.is_idle()), (0, false));
        assert_eq!((walk.walk(&last[7..]), walk.is_idle()), (0, true));
    }

    #[test]
    fn a_header_that_is_none_ends_the_walk() {
        let mut walk = FrameWalk::default();
        let bytes = [masked(0x81, 1), masked(0x83, 1), masked(0x81, 1)].concat();
        assert_eq!(walk.walk(&bytes), 2);
    }
}
