//! A fuzz target: what a server sends on a connection for streams, through the link itself.

use super::{
    BufferedStream, Entries, Protocol, Redactor, StreamArrival, StreamCommand, StreamId, StreamLink,
};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a server's bytes came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Each arrival, as it shows itself.
    pub(super) arrivals: Vec<String>,
    /// The largest payload, and the largest read buffer.
    pub(super) payload: usize,
    pub(super) capacity: usize,
    /// The memory of what is kept of entries at the end.
    pub(super) kept: usize,
}

/// A server that says this, in pieces of so many bytes, waits and closes. It reads everything.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    has_waited: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at == self.bytes.len() && !std::mem::replace(&mut self.has_waited, true) {
            return Poll::Pending;
        }
        let end = self.bytes.len().min(self.at + self.piece.min(buffer.remaining()));
        buffer.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A command of every kind, by number.
pub(super) fn command(number: u8) -> StreamCommand<'static> {
    let key = "s";
    let from = Entries::From { key, first: StreamId::ZERO, count: 3 };
    match number % 8 {
        0 => StreamCommand::Both(from),
        1 => StreamCommand::Entries(from),
        2 => StreamCommand::Facts(key),
        3 => StreamCommand::Only { key, field: "data", value: "1", milliseconds: 1 },
        4 => StreamCommand::Entries(Entries::NewestUpTo { key, last: StreamId::ZERO, count: 3 }),
        5 => StreamCommand::Run,
        6 => StreamCommand::Role,
        _ => StreamCommand::Ping,
    }
}

/// Feeds the bytes behind the first four whole, and again in pieces of the first byte's length. The
/// second byte is the cap on payloads; the third and the fourth say what was asked.
///
/// # Panics
/// When the pieces make a difference, a cap is exceeded, or more memory is taken than the caps allow.
pub(crate) fn stream_answers(data: &[u8]) {
    let [piece, max_payload, first, second, bytes @ ..] = data else { return };
    let max_payload = usize::from(*max_payload);
    let asked: Vec<_> = [*first, *second, 0, 1, 2].map(command).into();
    let whole = outcome(&asked, bytes, bytes.len(), max_payload);
    let pieces = outcome(&asked, bytes, usize::from(*piece), max_payload);
    assert_eq!(whole.arrivals, pieces.arrivals, "in pieces of {piece}");
    assert!(whole.payload <= max_payload, "a payload of {} bytes", whole.payload);
    // An answer of 1 MiB is the largest thing that is buffered here.
    let capacity = whole.capacity.max(pieces.capacity);
    assert!(capacity <= (1 << 20) + (64 << 10), "{capacity} bytes for {}", bytes.len());
    assert!(whole.kept <= 256 << 10, "{} bytes of entries are kept", whole.kept);
}

/// What arrives when this is asked, and these bytes are received in pieces.
pub(super) fn outcome(
    asked: &[StreamCommand<'_>],
    bytes: &[u8],
    piece: usize,
    max_payload: usize,
) -> Outcome {
    let server = Pieces { bytes: bytes.to_vec(), at: 0, piece: piece.max(1), has_waited: false };
    let stream = BufferedStream::new(server, max_payload);
    let mut link =
        StreamLink::new(stream, Redactor::default(), Protocol::Resp3, "data", max_payload);
    asked.iter().for_each(|command| link.send(command));
    link.flush();
    let mut outcome = Outcome::default();
    while !link.ended || link.next.is_some() {
        let Some(arrival) = link.try_next() else { continue };
        if let StreamArrival::Entry { payload, .. } = &arrival {
            outcome.payload = outcome.payload.max(payload.len());
        }
        outcome.arrivals.push(shown(&arrival));
        outcome.capacity = outcome.capacity.max(link.stream.received.capacity());
    }
    outcome.kept = link.entries.kept();
    outcome
}

/// An arrival in words.
fn shown(arrival: &StreamArrival<'_>) -> String {
    match arrival {
        StreamArrival::Changed(None) => "changed: all".to_owned(),
        StreamArrival::Changed(Some(key)) => format!("changed: {}", key.escape_ascii()),
        StreamArrival::Entry { id, payload } => format!("{id}={}", payload.escape_ascii()),
        StreamArrival::TooLarge(id) => format!("{id} too large"),
        StreamArrival::Done => "done".to_owned(),
        StreamArrival::Failed(error) => format!("failed: {error}"),
        StreamArrival::Ended(error) => format!("ended: {error}"),
        StreamArrival::Facts(facts) if !facts.exists => "no such key".to_owned(),
        StreamArrival::Facts(facts) => format!(
            "last {} added {:?} length {} first {:?} deleted {:?}",
            facts.last,
            facts.added,
            facts.length,
            facts.first.map(|id| id.to_string()),
            facts.max_deleted.map(|id| id.to_string())
        ),
        StreamArrival::Role(_) | StreamArrival::Run(_) => format!("{arrival:?}"),
    }
}
