//! A fuzz target: what a server sends, through the read buffer as a connection uses it.

use super::{read_buffer::ReadBuffer, resp::Event, value::Value};
use std::ops::Range;

/// What a server's bytes came to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) events: Vec<Seen>,
    /// Whether it was called an error, after which nothing is read.
    pub(super) wrong: bool,
}

/// An event, with its names and payload copied.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Message { channel: String, pattern: Option<String>, payload: Vec<u8> },
    Oversized { channel: String, pattern: Option<String>, bytes: u64 },
    Confirmed(String),
    Released(String),
    Reply(Value),
}

/// Feeds the bytes behind the first two whole, and again in pieces of the first byte's length. The
/// second byte is the cap on payloads.
///
/// # Panics
/// When the pieces make a difference, a cap is exceeded, or more memory is taken than the caps allow.
pub(crate) fn resp(data: &[u8]) {
    let [piece, max_payload, bytes @ ..] = data else { return };
    let max_payload = usize::from(*max_payload);
    let (whole, _) = outcome(bytes, bytes.len(), max_payload);
    let (pieces, capacity) = outcome(bytes, usize::from(*piece), max_payload);
    // A double may be NaN, which equals nothing; so what is shown is compared.
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "in pieces of {piece}");
    // An answer of 1 MiB is the largest thing that is buffered here.
    assert!(capacity <= (1 << 20) + (64 << 10), "{capacity} bytes for {}", bytes.len());
    for event in &whole.events {
        match event {
            Seen::Message { payload, .. } => assert!(payload.len() <= max_payload),
            Seen::Oversized { bytes, .. } => assert!(*bytes > max_payload as u64),
            Seen::Confirmed(_) | Seen::Released(_) | Seen::Reply(_) => {}
        }
    }
}

/// The events of these bytes, received in pieces, and the largest buffer that they took.
pub(super) fn outcome(bytes: &[u8], piece: usize, max_payload: usize) -> (Outcome, usize) {
    let mut buffer = ReadBuffer::new(max_payload);
    let (mut outcome, mut capacity) = (Outcome::default(), 0);
    for mut piece in bytes.chunks(piece.max(1)) {
        while !piece.is_empty() {
            let room = buffer.room();
            let filled = room.len().min(piece.len());
            room[..filled].copy_from_slice(&piece[..filled]);
            buffer.filled(filled);
            piece = &piece[filled..];
            capacity = capacity.max(buffer.capacity());
            outcome.wrong = drain(&mut buffer, &mut outcome.events).is_err();
            if outcome.wrong {
                return (outcome, capacity);
            }
        }
    }
    (outcome, capacity)
}

fn drain(buffer: &mut ReadBuffer, events: &mut Vec<Seen>) -> Result<(), &'static str> {
    while let Some(event) = buffer.next()? {
        let text = |range: Range<usize>| String::from_utf8_lossy(buffer.bytes(range)).into_owned();
        events.push(match event {
            Event::Message { channel, pattern, payload } => Seen::Message {
                channel: text(channel),
                pattern: pattern.map(text),
                payload: buffer.bytes(payload).to_vec(),
            },
            Event::Oversized { channel, pattern, bytes } => {
                Seen::Oversized { channel: text(channel), pattern: pattern.map(text), bytes }
            }
            Event::Confirmed(_, name) => Seen::Confirmed(text(name)),
            Event::Released(_, name) => Seen::Released(text(name)),
            Event::Reply(value) => Seen::Reply(value),
            Event::Ignored { .. } => panic!("what is ignored is not handed out"),
        });
    }
    Ok(())
}
