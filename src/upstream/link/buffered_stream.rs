//! Buffered, non-blocking I/O of one connection: a stream, a read buffer and a write buffer.

use super::{
    LinkError,
    read_buffer::ReadBuffer,
    resp::{self, Event},
    value::Value,
};
use crate::error_chain::words;
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::has_budget_remaining,
    time::{Sleep, sleep},
};
use zeroize::Zeroize;

/// A write buffer that has become larger than this is freed once it is written.
const USUAL_WRITE: usize = 64 << 10;

/// How long what the other side has sent before nothing could be written any more is waited for.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// So many bytes that were there at once are a sign that we are behind.
const BEHIND: usize = 64 << 10;

/// TCP, a unix socket, or TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connected stream. Dropping it closes the connection.
pub(super) struct BufferedStream {
    stream: Box<dyn Stream>,
    pub(super) received: ReadBuffer,
    queued: Vec<u8>,
    /// Bytes of `queued` that the stream has taken.
    written: usize,
    /// Whether the stream may hold some of them back.
    unflushed: bool,
    /// Bytes read.
    total: u64,
    /// Bytes read since the last time when there were none.
    burst: usize,
    /// Why nothing can be written any more, and until when what was received before is waited for: the runtime
    /// may not have seen it yet.
    write_error: Option<(LinkError, Pin<Box<Sleep>>)>,
}

impl BufferedStream {
    /// Messages of more than `max_payload` bytes will be skipped.
    pub(super) fn new(stream: impl Stream + 'static, max_payload: usize) -> Self {
        Self {
            stream: Box::new(stream),
            received: ReadBuffer::new(max_payload),
            queued: Vec::new(),
            written: 0,
            unflushed: false,
            total: 0,
            burst: 0,
            write_error: None,
        }
    }

    /// How many bytes have been read.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes queued that the stream has not taken.
    pub(super) fn unwritten(&self) -> usize {
        self.queued.len() - self.written
    }

    /// Queues a command.
    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        resp::encode(&mut self.queued, words.len(), words.iter().copied());
    }

    /// Queues a command about some names.
    pub(super) fn queue_names(&mut self, command: &[u8], names: &[Box<str>]) {
        let words = [command].into_iter().chain(names.iter().map(|name| name.as_bytes()));
        resp::encode(&mut self.queued, names.len() + 1, words);
    }

    /// Writes what is queued, as far as the stream takes it. An error shows when nothing can be read.
    pub(super) fn write(&mut self, context: &mut Context<'_>) {
        if self.write_error.is_none()
            && let Poll::Ready(Err(error)) = self.poll_write(context)
        {
            self.write_error = Some((lost(&error), Box::pin(sleep(LAST_WORDS))));
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.queued.len() {
            let rest = &self.queued[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.unflushed = true;
        }
        self.queued.clear();
        self.queued.shrink_to(USUAL_WRITE);
        self.written = 0;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads at least a byte. An error is the end of the connection.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut room = ReadBuf::new(self.received.room());
        match Pin::new(&mut self.stream).poll_read(context, &mut room) {
            Poll::Ready(Ok(())) if room.filled().is_empty() => Poll::Ready(Err(self.closed())),
            Poll::Ready(Ok(())) => {
                let bytes = room.filled().len();
                self.received.filled(bytes);
                self.total += bytes as u64;
                self.burst = self.burst.saturating_add(bytes);
                Poll::Ready(Ok(()))
            }
            // The end of TLS without close_notify.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Err(self.closed()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(&error))),
            // Tokio wants other tasks to run: this says nothing about the stream.
            Poll::Pending if !has_budget_remaining() => Poll::Pending,
            Poll::Pending => {
                self.burst = 0;
                let Some((_, last_words)) = &mut self.write_error else { return Poll::Pending };
                ready!(last_words.as_mut().poll(context));
                let error = self.write_error.take().map(|(error, _)| error);
                Poll::Ready(Err(error.unwrap_or_else(|| self.closed())))
            }
        }
    }

    /// Redis closes before it has sent all only when it gives up on the connection.
    fn closed(&self) -> LinkError {
        LinkError::Lost(match self.received.is_torn() || self.burst >= BEHIND {
            false => "Redis closed the connection".to_owned(),
            true => "Redis closed the connection while it had more to send: it was stopped, or \
                     this exceeded its client-output-buffer-limit for pubsub"
                .to_owned(),
        })
    }

    /// Sends a command and waits for its answer. For a connection that nothing else is asked on.
    pub(super) async fn ask(&mut self, words: &[&[u8]]) -> Result<Value, LinkError> {
        self.queue(words);
        poll_fn(|context| {
            self.write(context);
            loop {
                match self.received.next() {
                    Ok(Some(Event::Reply(value))) => return Poll::Ready(Ok(value)),
                    Ok(Some(_)) => {}
                    Ok(None) => ready!(self.poll_read(context))?,
                    Err(why) => return Poll::Ready(Err(not_resp(why))),
                }
            }
        })
        .await
    }

    /// Wipes what was written from the memory: it held a password. What was not written is dropped.
    pub(super) fn wipe(&mut self) {
        self.queued.zeroize();
        self.written = 0;
    }
}

/// The other side does not speak as Redis does.
pub(super) fn not_resp(why: &str) -> LinkError {
    LinkError::Lost(format!("what came is not an answer of Redis: {why}"))
}

/// The connection is gone, in the system's words.
pub(super) fn lost(error: &io::Error) -> LinkError {
    LinkError::Lost(words(error))
}
