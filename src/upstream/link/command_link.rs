//! One connection to Redis for commands with small answers: what is sent is answered in order, and the
//! caller knows what it asked.

use super::{
    LinkError, Role,
    buffered_stream::{BufferedStream, not_resp},
    connection::role,
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
    /// Found, and not taken yet.
    next: Option<CommandArrival>,
    ended: bool,
}

/// What arrives.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum CommandArrival {
    /// The answer to the oldest command. An error is one too.
    Answer(Value),
    Ended(LinkError),
}

/// What an answer to ROLE says.
pub(in crate::upstream) fn role_of(answer: &Value) -> Role {
    role(answer)
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

    /// Waits until [`CommandLink::try_next`] has something, and writes what is queued meanwhile.
    /// Cancel-safe.
    pub(in crate::upstream) async fn ready(&mut self) {
        poll_fn(|context| {
            self.stream.write(context);
            self.poll_next(context)
        })
        .await;
    }

    /// What has arrived already, if anything. Everything received before the end comes before
    /// [`CommandArrival::Ended`], after which nothing comes.
    pub(in crate::upstream) fn try_next(&mut self) -> Option<CommandArrival> {
        // Without a waker: a task that waits does so in `ready`, which registers one.
        let _ = self.poll_next(&mut Context::from_waker(Waker::noop()));
        self.next.take()
    }

    /// How many bytes have been received: any of them proves that the other side lives.
    pub(in crate::upstream) fn received(&self) -> u64 {
        self.stream.total()
    }

    /// One of Redis's errors, as it may be shown.
    pub(in crate::upstream) fn shown(&self, error: &str) -> LinkError {
        self.redactor.answered(error)
    }

    /// Finds what arrived next; at its end, never.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.next.is_none() {
            if self.ended {
                return Poll::Pending;
            }
            match self.stream.received.next() {
                Ok(Some(Event::Reply(value))) => self.next = Some(CommandArrival::Answer(value)),
                // Nothing is subscribed here; a push of another kind means nothing.
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
        self.next = Some(CommandArrival::Ended(error));
    }
}
