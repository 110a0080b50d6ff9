//! The connection as hyper sees it while it reads one request: measured, and mute.
//!
//! *Measured*: the request line and the headers may be 8 KiB each, counted on the wire, so that
//! the answer (414 or 431) does not depend on how a parser uses its buffer. *Mute*: what hyper
//! writes is dropped, since it answers a request it cannot parse by itself and without a body;
//! every answer of ours is a problem document and is written when the socket is back.

use crate::{reason::Refusal, shard::Transport};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that the request line may have, and the headers, each with its line ends.
const MAX_BYTES: usize = 8 * 1024;

/// A transport under hyper.
pub(super) struct Intake {
    pub(super) transport: Transport,
    pub(super) meter: Meter,
}

impl Intake {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, meter: Meter::default() }
    }
}

/// Finds the parts of a request's head in the bytes as they come, and counts them.
#[derive(Debug, Default)]
pub(super) struct Meter {
    section: Section,
    /// Bytes of the section so far.
    bytes: usize,
    /// Bytes of the current line so far, without a carriage return.
    line: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    RequestLine,
    Headers,
    /// The head is complete; what follows belongs to the session.
    Behind,
}

impl Meter {
    /// What is too large, if something is.
    pub(super) fn excess(&self) -> Option<Refusal> {
        match self.section {
            _ if self.bytes <= MAX_BYTES => None,
            Section::RequestLine => Some(Refusal::UriTooLong),
            Section::Headers => Some(Refusal::HeadersTooLarge),
            Section::Behind => None,
        }
    }

    /// Counts what was received; stops at the first excess, or at the head's end.
    fn count(&mut self, received: &[u8]) {
        for &byte in received {
            if self.section == Section::Behind || self.excess().is_some() {
                return;
            }
            self.bytes += 1;
            match byte {
                b'\n' => self.end_line(),
                b'\r' => {}
                _ => self.line += 1,
            }
        }
    }

    fn end_line(&mut self) {
        let empty = std::mem::take(&mut self.line) == 0;
        match self.section {
            // Empty lines before a request are passed over, as hyper does. They count.
            Section::RequestLine if empty => {}
            _ if self.excess().is_some() => {}
            Section::RequestLine => {
                self.section = Section::Headers;
                self.bytes = 0;
            }
            Section::Headers if empty => self.section = Section::Behind,
            Section::Headers | Section::Behind => {}
        }
    }
}

impl AsyncRead for Intake {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.transport).poll_read(cx, buf))?;
        this.meter.count(&buf.filled()[before..]);
        Poll::Ready(match this.meter.excess() {
            // Ends hyper's reading; the reason is asked of the meter, not of this error.
            Some(refusal) => Err(io::Error::other(refusal.label())),
            None => Ok(()),
        })
    }
}

impl AsyncWrite for Intake {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(pieces: &[&[u8]]) -> Option<Refusal> {
        let mut meter = Meter::default();
        pieces.iter().for_each(|piece| meter.count(piece));
        meter.excess()
    }

    /// A line of exactly this many bytes, its end included.
    fn line(start: &str, bytes: usize) -> Vec<u8> {
        let mut line = start.as_bytes().to_vec();
        line.resize(bytes - 2, b'a');
        line.extend_from_slice(b"\r\n");
        line
    }

    #[test]
    fn a_request_line_of_8_kib_passes_and_one_byte_more_does_not() {
        assert_eq!(excess(&[&line("GET /", MAX_BYTES), b"\r\n"]), None);
        assert_eq!(excess(&[&line("GET /", MAX_BYTES + 1), b"\r\n"]), Some(Refusal::UriTooLong));
        assert_eq!(excess(&[&[b'a'; MAX_BYTES + 1]]), Some(Refusal::UriTooLong));
    }

    #[test]
    fn headers_of_8_kib_pass_and_one_byte_more_does_not() {
        let full = line("x: ", MAX_BYTES - 2);
        assert_eq!(excess(&[b"GET / HTTP/1.1\r\n", &full, b"\r\n"]), None);
        let over = line("x: ", MAX_BYTES - 1);
        let refused = excess(&[b"GET / HTTP/1.1\r\n", &over, b"\r\n"]);
        assert_eq!(refused, Some(Refusal::HeadersTooLarge));
    }

    #[test]
    fn what_follows_the_head_is_not_counted_however_it_is_cut() {
        let mut request = b"GET / HTTP/1.1\r\nx: y\r\n\r\n".to_vec();
        request.resize(request.len() + 3 * MAX_BYTES, 0);
        for cut in 0..30 {
            let (start, rest) = request.split_at(cut);
            assert_eq!(excess(&[start, rest]), None, "cut at {cut}");
        }
    }

    #[test]
    fn empty_lines_before_the_request_count_too() {
        assert_eq!(excess(&[&b"\r\n".repeat(MAX_BYTES)]), Some(Refusal::UriTooLong));
        assert_eq!(excess(&[b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[0; 9000]]), None);
    }
}
