//! A fuzz target: a client's frames, through the parser as a session's task uses it.

use super::inbound::{Input, Parser};
use crate::{endpoint::Endpoint, reason::CloseReason};
use tungstenite::Message;

/// What a client's bytes came to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    messages: Vec<Message>,
    replies: Vec<u8>,
    frames: u32,
    violation: Option<CloseReason>,
}

/// Feeds the bytes behind the first whole, and again in pieces of the first byte's length.
///
/// # Panics
/// When the pieces make a difference, or the parser takes or says what it must not.
pub(crate) fn frames(endpoint: &Endpoint, data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    // As large as a session's reads: what fits in one of them is the same in any pieces.
    let bytes = &bytes[..bytes.len().min(4 * 1024)];
    let whole = outcome(endpoint, bytes, bytes.len());
    let pieces = outcome(endpoint, bytes, usize::from(piece));
    assert_eq!(whole, pieces, "in pieces of {piece}");
    let largest = endpoint.max_message.get();
    assert!(whole.messages.iter().all(|message| message.len() <= largest));
    assert!(whole.messages.len() + usize::from(whole.violation.is_some()) <= bytes.len() / 2 + 1);
    assert_replies(&whole.replies);
}

/// As `SessionTask::take_input` does: a parser lives only while something is incomplete.
fn outcome(endpoint: &Endpoint, bytes: &[u8], piece: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut parser: Option<Parser> = None;
    for bytes in bytes.chunks(piece.max(1)) {
        let mut current = parser.take().unwrap_or_else(|| Parser::new(endpoint));
        let Input { messages, replies, frames, violation } = current.feed(bytes);
        let closed = messages.iter().any(Message::is_close);
        outcome.messages.extend(messages);
        outcome.replies.extend(replies.iter().flatten());
        outcome.frames += frames;
        outcome.violation = violation;
        if closed || violation.is_some() {
            // Nothing behind it is looked at, so how many frames that would be is not compared.
            outcome.frames = 0;
            break;
        }
        if !current.is_idle() {
            parser = Some(current);
        }
    }
    outcome
}

/// All that is ever said back is whole, final, unmasked pongs and closes.
fn assert_replies(mut replies: &[u8]) {
    while let [opcode, len, rest @ ..] = replies {
        assert!(matches!(opcode, 0x8A | 0x88), "opcode {opcode:#x}");
        assert!(*len <= 125);
        replies = rest.get(usize::from(*len)..).expect("a reply is whole");
    }
    assert!(replies.is_empty());
}
