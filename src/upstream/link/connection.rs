//! One connection to Redis that subscribes: what was asked, and what came of it.
//!
//! Redis answers in order, so an answer belongs to the oldest command that is not answered yet. What
//! pub/sub pushes comes in between. Nothing is awaited between receiving and handing out: an event
//! that was found stays in the read buffer until it is taken.

use super::{
    Arrival, Command, Link, LinkError, Role,
    buffered_stream::{BufferedStream, not_resp},
    redactor::Redactor,
    resp::{Event, Scope},
    value::Value,
};
use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, Waker, ready},
};

/// An authenticated connection that has answered a PING. Dropping it closes it.
pub(in crate::upstream) struct Connection {
    stream: BufferedStream,
    redactor: Redactor,
    asked: VecDeque<Asked>,
    /// Found, and not taken yet.
    next: Option<Found>,
    ended: bool,
}

/// A command whose answer is not complete.
struct Asked {
    command: Command,
    /// Of a command that names channels, those at the front that are acknowledged.
    done: usize,
}

/// What arrived: a message of the read buffer, or anything else.
enum Found {
    Push(Event),
    Other(Arrival<'static>),
}

impl Connection {
    /// Takes over a stream that has been logged in and has nothing to be answered.
    pub(super) fn new(stream: BufferedStream, redactor: Redactor) -> Self {
        Self { stream, redactor, asked: VecDeque::new(), next: None, ended: false }
    }

    /// Finds what arrived next; at its end, never.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.next.is_none() {
            if self.ended {
                return Poll::Pending;
            }
            match self.stream.received.next() {
                Ok(Some(event)) => self.handle(event),
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

    fn handle(&mut self, event: Event) {
        match event {
            Event::Message { .. } | Event::Oversized { .. } => self.next = Some(Found::Push(event)),
            Event::Confirmed(..) | Event::Released(..) => {
                self.acknowledge(&event);
                self.next = Some(Found::Push(event));
            }
            Event::Reply(value) => self.answer(value),
            Event::Ignored { .. } => {}
        }
    }

    /// Counts a channel as done, if it is one of the oldest command. A server also lets go of
    /// channels by itself.
    fn acknowledge(&mut self, event: &Event) {
        let Some(asked) = self.asked.front_mut() else { return };
        let (channels, channel) = match (&mut asked.command, event) {
            (Command::Subscribe(channels), Event::Confirmed(Scope::Channel, channel))
            | (Command::Unsubscribe(channels), Event::Released(Scope::Channel, channel))
            | (Command::SubscribePatterns(channels), Event::Confirmed(Scope::Pattern, channel))
            | (Command::UnsubscribePatterns(channels), Event::Released(Scope::Pattern, channel)) => {
                (channels, self.stream.received.bytes(channel.clone()))
            }
            _ => return,
        };
        // They come in order, so the first is the one.
        let mut waiting = channels[asked.done..].iter();
        let Some(place) = waiting.position(|it| it.as_bytes() == channel) else { return };
        channels.swap(asked.done, asked.done + place);
        asked.done += 1;
        if asked.done == channels.len() {
            self.asked.pop_front();
        }
    }

    fn answer(&mut self, value: Value) {
        let Some(Asked { mut command, done }) = self.asked.pop_front() else {
            return self.end(match value {
                // "max number of clients reached", for one.
                Value::Error(text) => self.redactor.answered(&text),
                _ => LinkError::Lost("Redis answers what was not asked".to_owned()),
            });
        };
        let arrival = match (&mut command, value) {
            (Command::Ping, value) => match pong(value, &self.redactor) {
                Ok(warning) => Arrival::Pong { warning },
                Err(error) => return self.end(error),
            },
            (Command::Role, value) => Arrival::Role(role(&value)),
            (
                Command::Subscribe(channels)
                | Command::Unsubscribe(channels)
                | Command::SubscribePatterns(channels)
                | Command::UnsubscribePatterns(channels),
                Value::Error(text),
            ) => {
                channels.drain(..done);
                Arrival::Rejected(command, self.redactor.refused(&text))
            }
            _ => {
                let error = "Redis's answers are out of order".to_owned();
                return self.end(LinkError::Lost(error));
            }
        };
        self.next = Some(Found::Other(arrival));
    }

    fn end(&mut self, error: LinkError) {
        self.ended = true;
        self.next = Some(Found::Other(Arrival::Ended(error)));
    }

    /// Borrows a message where it lies.
    fn arrival(&self, found: Found) -> Arrival<'_> {
        let bytes = |range| self.stream.received.bytes(range);
        match found {
            Found::Other(arrival) => arrival,
            Found::Push(Event::Message { channel, pattern, payload }) => Arrival::Message {
                channel: bytes(channel),
                pattern: pattern.map(bytes),
                payload: bytes(payload),
            },
            Found::Push(Event::Oversized { channel, pattern, bytes: size }) => Arrival::Oversized {
                channel: bytes(channel),
                pattern: pattern.map(bytes),
                bytes: size,
            },
            Found::Push(Event::Confirmed(_, channel)) => Arrival::Confirmed(bytes(channel)),
            Found::Push(Event::Released(_, channel)) => Arrival::Released(bytes(channel)),
            Found::Push(Event::Reply(_) | Event::Ignored { .. }) => {
                unreachable!("`handle` keeps neither of them")
            }
        }
    }
}

impl Link for Connection {
    fn send(&mut self, command: Command) {
        match &command {
            Command::Ping => self.stream.queue(&[b"PING"]),
            Command::Role => self.stream.queue(&[b"ROLE"]),
            // Without a name, UNSUBSCRIBE would mean all.
            Command::Subscribe(names)
            | Command::Unsubscribe(names)
            | Command::SubscribePatterns(names)
            | Command::UnsubscribePatterns(names)
                if names.is_empty() =>
            {
                return;
            }
            Command::Subscribe(channels) => self.stream.queue_names(b"SUBSCRIBE", channels),
            Command::Unsubscribe(channels) => self.stream.queue_names(b"UNSUBSCRIBE", channels),
            Command::SubscribePatterns(patterns) => {
                self.stream.queue_names(b"PSUBSCRIBE", patterns);
            }
            Command::UnsubscribePatterns(patterns) => {
                self.stream.queue_names(b"PUNSUBSCRIBE", patterns);
            }
        }
        self.asked.push_back(Asked { command, done: 0 });
    }

    fn flush(&mut self) {
        self.stream.write(&mut Context::from_waker(Waker::noop()));
    }

    async fn ready(&mut self) {
        poll_fn(|context| {
            self.stream.write(context);
            self.poll_next(context)
        })
        .await;
    }

    fn try_next(&mut self) -> Option<Arrival<'_>> {
        // Without a waker: a task that waits does so in `ready`, which registers one.
        let _ = self.poll_next(&mut Context::from_waker(Waker::noop()));
        self.next.take().map(|found| self.arrival(found))
    }

    fn received(&self) -> u64 {
        self.stream.total()
    }
}

/// Whether the answer to a PING proves the connection, and the warning that is in it. An error is an
/// answer too, and pub/sub works while Redis loads its data or cannot save it.
///
/// # Errors
/// When nothing can be received here: a replica without its primary, no login.
pub(super) fn pong(answer: Value, redactor: &Redactor) -> Result<Option<LinkError>, LinkError> {
    const USELESS: [&str; 3] = ["MASTERDOWN", "NOAUTH", "DENIED"];
    match answer {
        Value::Error(text) => {
            let useless = USELESS.iter().any(|code| text.starts_with(code));
            let error = redactor.answered(&text);
            if useless { Err(error) } else { Ok(Some(error)) }
        }
        _ => Ok(None),
    }
}

/// `[master, offset, replicas]`, `[slave, host, port, state, offset]`, or an error.
pub(in crate::upstream) fn role(answer: &Value) -> Role {
    let parts = match answer {
        Value::List(parts) => parts,
        Value::Error(text) if is_role_refused(text) => return Role::Refused,
        _ => return Role::Unknown,
    };
    match parts.as_slice() {
        [Value::Text(role), ..] if role == b"master" => Role::Primary,
        [Value::Text(role), Value::Text(host), Value::Integer(port), ..] if role == b"slave" => {
            match (String::from_utf8(host.clone()), u16::try_from(*port)) {
                (Ok(host), Ok(port)) if !host.is_empty() => Role::Replica { host, port },
                _ => Role::Unknown,
            }
        }
        _ => Role::Unknown,
    }
}

/// Whether this link never answers ROLE: no right to it, not known, or RESP2, which allows only
/// pub/sub on a connection that subscribes.
fn is_role_refused(error: &str) -> bool {
    ["NOPERM", "ERR unknown command", "ERR Can't execute"]
        .iter()
        .any(|start| error.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start)))
}

#[cfg(test)]
mod tests;
