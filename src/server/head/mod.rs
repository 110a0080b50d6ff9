//! The head of a request: read, measured and parsed.
//!
//! A client that sends a byte now and then costs what it has sent: one small buffer, no parser.
//! Every byte is looked at a fixed number of times, however the head is cut into pieces: lines that
//! have ended are checked as they come, so that what is no request is refused at once, and the head
//! is parsed when it is complete.

mod parse;
mod scan;
#[cfg(test)]
mod tests;

use crate::{net::Transport, reason::Refusal};
use bytes::Bytes;
use scan::Scanner;
use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead as _, ReadBuf};

/// Method, target, version and headers of a request.
pub(in crate::server) type RequestHead = hyper::http::request::Parts;

/// The most one read takes: as many bytes may have come in behind a head.
const CHUNK_BYTES: usize = 4 * 1024;

/// A request, and what the client sent behind it.
pub(in crate::server) struct Received {
    pub(in crate::server) head: RequestHead,
    /// The head as it was sent, in memory that the parsed one shares.
    pub(in crate::server) raw: Bytes,
    pub(in crate::server) early: Bytes,
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum NoRequest {
    /// The client closed, or the connection broke: nobody is there to be answered.
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for NoRequest {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Reads one request's head. When `end` comes first, its value is the refusal.
///
/// # Errors
/// When there is no request.
pub(in crate::server) async fn receive(
    transport: &mut Transport,
    end: impl Future<Output = Refusal>,
) -> Result<Received, NoRequest> {
    receive_behind(Bytes::new(), transport, end).await
}

/// [`receive`] where these bytes have come in already, behind the request before.
///
/// # Errors
/// When there is no request.
pub(in crate::server) async fn receive_behind(
    early: Bytes,
    transport: &mut Transport,
    end: impl Future<Output = Refusal>,
) -> Result<Received, NoRequest> {
    let mut reader = HeadReader { bytes: early.into(), scanner: Scanner::default() };
    tokio::select! {
        biased;
        received = reader.receive(transport) => received,
        refusal = end => Err(refusal.into()),
    }
}

/// What has come in so far.
#[derive(Default)]
struct HeadReader {
    bytes: Vec<u8>,
    scanner: Scanner,
}

impl HeadReader {
    async fn receive(&mut self, transport: &mut Transport) -> Result<Received, NoRequest> {
        let mut read = self.bytes.len();
        loop {
            if read == 0 {
                read = self.read(transport).await.map_err(|_broken| NoRequest::Gone)?;
            }
            if let Some(end) = self.scanner.scan(&self.bytes)? {
                return self.parse(end);
            }
            if mem::take(&mut read) == 0 {
                return Err(self.ended());
            }
        }
    }

    /// The client sends nothing more. One that left without a word is not answered.
    fn ended(&self) -> NoRequest {
        if self.bytes.iter().all(|byte| b"\r\n".contains(byte)) {
            NoRequest::Gone
        } else {
            NoRequest::Refused(Refusal::BadHandshake)
        }
    }

    fn parse(&mut self, end: usize) -> Result<Received, NoRequest> {
        let mut early = Bytes::from(mem::take(&mut self.bytes));
        let raw = early.split_to(end);
        let head = parse::parse(&raw).ok_or(Refusal::BadHandshake)?;
        Ok(Received { head, raw, early })
    }

    /// Reads once; 0 bytes are the end of what the client sends. Cancel-safe.
    async fn read(&mut self, transport: &mut Transport) -> io::Result<usize> {
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
        Poll::Ready(Ok(read.filled().len()))
    }
}
