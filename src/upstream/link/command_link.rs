//! One connection to Redis for commands with small answers, pipelined: answers come in the order of what
//! was asked, and who asks remembers what that was.

use super::{
    LinkError,
    buffered_stream::{BufferedStream, not_resp},
    redactor::Redactor,
    resp::Event,
    value::Value,
};
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker, ready},
};

/// An authenticated connection that has answered a PING. Dropping it closes it.
pub(in crate::upstream) struct CommandLink {
    stream: BufferedStream,
    redactor: Redactor,
    next: Option<Result<Value, LinkError>>,
    ended: bool,
}

impl CommandLink {
    /// Takes over a stream that has been logged in and has nothing to be answered.
    pub(super) fn new(stream: BufferedStream, redactor: Redactor) -> Self {
        Self { stream, redactor, next: None, ended: false }
    }

    /// Queues a command; never waits. It is written by [`CommandLink::ready`] and [`CommandLink::flush`].
    pub(in crate::upstream) fn send(&mut self, words: &[&[u8]]) {
        self.stream.queue(words);
    }

    /// Writes what is queued, as far as the socket takes it, without waiting.
    pub(in crate::upstream) fn flush(&mut self) {
        self.stream.write(&mut Context::from_waker(Waker::noop()));
    }

    /// Bytes of commands that the socket has not taken yet.
    pub(in crate::upstream) fn unwritten(&self) -> usize {
        self.stream.unwritten()
    }

    /// Waits until [`CommandLink::try_next`] has something, and writes what is queued meanwhile.
    /// Cancel-safe.
    pub(in crate::upstream) async fn ready(&mut self) {
        poll_fn(|context| {
            self.stream.write(context);
            self.poll_next(context)
        })
        .await;
    }

    /// The answer to the oldest command that is not answered yet, if it has arrived: it may be an error of
    /// Redis. After an error of the link nothing comes.
    ///
    /// # Errors
    /// When the link has ended.
    pub(in crate::upstream) fn try_next(&mut self) -> Option<Result<Value, LinkError>> {
        // Without a waker: a task that waits does so in `ready`, which registers one.
        let _ = self.poll_next(&mut Context::from_waker(Waker::noop()));
        self.next.take()
    }

    /// One of Redis's errors, without secrets.
    pub(in crate::upstream) fn error(&self, text: &str) -> LinkError {
        self.redactor.answered(text)
    }

    /// How many bytes have been received: any of them proves that the other side lives.
    pub(in crate::upstream) fn received(&self) -> u64 {
        self.stream.total()
    }

    /// Finds what arrived next; at its end, never.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.next.is_none() {
            if self.ended {
                return Poll::Pending;
            }
            match self.stream.received.next() {
                Ok(Some(Event::Reply(value))) => self.next = Some(Ok(value)),
                // Nothing is subscribed to here.
                Ok(Some(_)) => {}
                Ok(None) => {
                    if let Err(error) = ready!(self.stream.poll_read(context)) {
                        self.end(error);
                    }
                }
                Err(why) => self.end(not_resp(why)),
            }
        }
        Poll::Ready(())
    }

    fn end(&mut self, error: LinkError) {
        self.ended = true;
        self.next = Some(Err(error));
    }
}
