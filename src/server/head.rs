//! The head of a request as it comes in: kept in one small buffer, and measured.
//!
//! A client that sends a byte now and then costs what it has sent, not a parser and its buffers: the
//! parser is only asked when a line has ended. *Measured*: the request line and the headers may be
//! 8 KiB each, counted on the wire, so that the answer (414 or 431) does not depend on a parser.

use crate::{reason::Refusal, shard::Transport};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead as _, ReadBuf};

/// Bytes that the request line may have, and the headers, each with its line ends.
const MAX_BYTES: usize = 8 * 1024;

/// The most one read takes: as many bytes may have come in behind a head.
const CHUNK_BYTES: usize = 4 * 1024;

/// What has come in so far.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    pub(super) bytes: Vec<u8>,
    pub(super) meter: Meter,
}

impl HeadReader {
    /// Reads once; 0 bytes are the end of what the client sends. Cancel-safe.
    pub(super) async fn read(&mut self, transport: &mut Transport) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(transport, cx)).await
    }

    /// Reads by way of the stack, so that nothing is reserved for what has not come.
    fn poll_read(
        &mut self,
        transport: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK_BYTES];
        let mut read = ReadBuf::new(&mut chunk);
        ready!(Pin::new(transport).poll_read(cx, &mut read))?;
        self.bytes.extend_from_slice(read.filled());
        self.meter.count(read.filled());
        Poll::Ready(Ok(read.filled().len()))
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
    /// Lines that have ended, empty ones before the request left out.
    lines: usize,
    /// Whether there is a byte that no head can have, such as the first of a TLS hello.
    foreign: bool,
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

    /// How many lines a parser could look at.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Whether nothing that may still come can change what the head is.
    pub(super) fn is_decided(&self) -> bool {
        self.foreign || self.section == Section::Behind
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
                byte => {
                    self.line += 1;
                    self.foreign |= byte.is_ascii_control() && byte != b'\t';
                }
            }
        }
    }

    fn end_line(&mut self) {
        let empty = std::mem::take(&mut self.line) == 0;
        match self.section {
            // Empty lines before a request are passed over, as hyper does. They count.
            Section::RequestLine if empty => return,
            _ if self.excess().is_some() => {}
            Section::RequestLine => {
                self.section = Section::Headers;
                self.bytes = 0;
            }
            Section::Headers if empty => self.section = Section::Behind,
            Section::Headers | Section::Behind => {}
        }
        self.lines += 1;
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
