//! One connection to Redis for streams: commands, their answers piece by piece, and what Redis pushes
//! in between, all in the order of the bytes.
//!
//! Redis answers in order, so an answer belongs to the oldest command that is not answered yet. No
//! answer is ever in memory whole: of entries, there is one at a time. Only RESP3 pushes which keys have
//! changed.

use super::{
    LinkError, Role,
    buffered_stream::{BufferedStream, not_resp},
    connection::{pong, role},
    entry::{EntryReader, Progress},
    facts::FactsReader,
    login::Protocol,
    redactor::Redactor,
    resp::Event,
    value::Value,
};
use crate::{bus::StreamFacts, stream_id::StreamId};
use answers::{Answer, Asked, Part, Place};
use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    task::{Context, Poll, Waker, ready},
};

mod answers;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod pushes;
#[cfg(test)]
mod tests;

/// An authenticated connection that has answered a PING. Dropping it closes it.
pub(in crate::upstream) struct StreamLink {
    stream: BufferedStream,
    redactor: Redactor,
    protocol: Protocol,
    asked: VecDeque<Asked>,
    /// Where in what Redis sends the next byte stands.
    place: Place,
    /// … once the push at hand is past.
    behind_push: Place,
    entries: EntryReader,
    facts: FactsReader,
    /// Found, and not taken yet.
    next: Option<Found>,
    ended: bool,
}

/// A command. Keys are named as Redis knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum StreamCommand<'a> {
    /// Answered by [`StreamArrival::Done`], also by an error that proves the connection all the same.
    Ping,
    /// Answered by [`StreamArrival::Role`].
    Role,
    /// From now on, keys that are read are told once when they change.
    Track,
    /// Answered by [`StreamArrival::Run`].
    Run,
    /// Answered by [`StreamArrival::Facts`], then [`StreamArrival::Done`].
    Facts(&'a str),
    /// Answered by entries, then [`StreamArrival::Done`].
    Entries(Entries<'a>),
    /// Both in one step: facts, then entries, then [`StreamArrival::Done`].
    Both(Entries<'a>),
    /// Makes this the only entry of a stream, for so many milliseconds.
    Only { key: &'a str, field: &'a str, value: &'a str, milliseconds: u64 },
}

/// Which entries of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum Entries<'a> {
    /// From this one on, itself included.
    From { key: &'a str, first: StreamId, count: usize },
    /// The newest first, up to this one.
    NewestUpTo { key: &'a str, last: StreamId, count: usize },
}

/// What arrives. Names and payloads are borrowed from the link.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum StreamArrival<'a> {
    /// A key that was read has changed; `None`: any key may have.
    Changed(Option<&'a [u8]>),
    /// What XINFO says.
    Facts(StreamFacts),
    Entry {
        id: StreamId,
        payload: &'a [u8],
    },
    /// An entry whose payload is above the cap: it was skipped as it came.
    TooLarge(StreamId),
    /// The oldest command is answered.
    Done,
    /// The oldest command is answered by an error.
    Failed(LinkError),
    /// The answer to the oldest command.
    Role(Role),
    /// The answer to the oldest command: which run of a server this is; `None`: it does not say.
    Run(Option<String>),
    Ended(LinkError),
}

/// What arrived, with ranges of the read buffer.
enum Found {
    Changed(Range<usize>),
    Entry(StreamId),
    Other(StreamArrival<'static>),
}

impl StreamLink {
    /// Takes over a stream that has been logged in and has nothing to be answered. `field` of an entry
    /// is its payload, of at most `max_payload` bytes.
    pub(super) fn new(
        stream: BufferedStream,
        redactor: Redactor,
        protocol: Protocol,
        field: &str,
        max_payload: usize,
    ) -> Self {
        Self {
            stream,
            redactor,
            protocol,
            asked: VecDeque::new(),
            place: Place::Between,
            behind_push: Place::Between,
            entries: EntryReader::new(field, max_payload),
            facts: FactsReader::default(),
            next: None,
            ended: false,
        }
    }

    /// Whether Redis can tell on this connection which keys have changed.
    pub(in crate::upstream) fn can_track(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Queues a command; never waits. It is written by [`StreamLink::ready`] and
    /// [`StreamLink::flush`].
    pub(in crate::upstream) fn send(&mut self, command: &StreamCommand<'_>) {
        let asked = match command {
            StreamCommand::Ping => self.ask(&[b"PING"], Asked::of(Answer::Pong)),
            StreamCommand::Role => self.ask(&[b"ROLE"], Asked::of(Answer::Role)),
            StreamCommand::Track => {
                self.ask(&[b"CLIENT", b"TRACKING", b"ON"], Asked::of(Answer::Status))
            }
            StreamCommand::Run => self.ask(&[b"INFO", b"server"], Asked::of(Answer::Run)),
            StreamCommand::Facts(key) => {
                let asked = Asked::of(Answer::Parts(&[Part::Facts]));
                self.ask(&[b"XINFO", b"STREAM", key.as_bytes()], asked)
            }
            StreamCommand::Entries(entries) => {
                self.queue_entries(entries);
                Asked::of(Answer::Parts(&[Part::Entries]))
            }
            StreamCommand::Both(entries) => {
                self.stream.queue(&[b"MULTI"]);
                self.stream.queue(&[b"XINFO", b"STREAM", entries.key().as_bytes()]);
                self.queue_entries(entries);
                self.stream.queue(&[b"EXEC"]);
                Asked::behind(3, Answer::Transaction(&[Part::Facts, Part::Entries]))
            }
            StreamCommand::Only { key, field, value, milliseconds } => {
                let (key, field, value) = (key.as_bytes(), field.as_bytes(), value.as_bytes());
                self.stream.queue(&[b"XADD", key, b"MAXLEN", b"=", b"1", b"*", field, value]);
                self.stream.queue(&[b"PEXPIRE", key, milliseconds.to_string().as_bytes()]);
                Asked::behind(1, Answer::Status)
            }
        };
        self.asked.push_back(asked);
    }

    fn ask(&mut self, words: &[&[u8]], asked: Asked) -> Asked {
        self.stream.queue(words);
        asked
    }

    fn queue_entries(&mut self, entries: &Entries<'_>) {
        let (Entries::From { key, first: id, count }
        | Entries::NewestUpTo { key, last: id, count }) = entries;
        let (id, count) = (id.to_string(), count.to_string());
        let (command, start, end): (&[u8], &[u8], &[u8]) = match entries {
            Entries::From { .. } => (b"XRANGE", id.as_bytes(), b"+"),
            Entries::NewestUpTo { .. } => (b"XREVRANGE", id.as_bytes(), b"-"),
        };
        self.stream.queue(&[command, key.as_bytes(), start, end, b"COUNT", count.as_bytes()]);
    }

    /// Writes what is queued, as far as the socket takes it, without waiting.
    pub(in crate::upstream) fn flush(&mut self) {
        self.stream.write(&mut Context::from_waker(Waker::noop()));
    }

    /// Waits until [`StreamLink::try_next`] has something, and writes what is queued meanwhile.
    /// Cancel-safe.
    pub(in crate::upstream) async fn ready(&mut self) {
        poll_fn(|context| {
            self.stream.write(context);
            self.poll_next(context)
        })
        .await;
    }

    /// What has arrived already, if anything. Everything received before the end comes before
    /// [`StreamArrival::Ended`], after which nothing comes.
    pub(in crate::upstream) fn try_next(&mut self) -> Option<StreamArrival<'_>> {
        // Without a waker: a task that waits does so in `ready`, which registers one.
        let _ = self.poll_next(&mut Context::from_waker(Waker::noop()));
        Some(match self.next.take()? {
            Found::Changed(name) => StreamArrival::Changed(Some(self.stream.received.bytes(name))),
            Found::Entry(id) => StreamArrival::Entry { id, payload: self.entries.payload() },
            Found::Other(arrival) => arrival,
        })
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
            match self.step() {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = ready!(self.stream.poll_read(context)) {
                        self.end(error);
                    }
                }
                Err(error) => self.end(error),
            }
        }
        Poll::Ready(())
    }

    fn end(&mut self, error: LinkError) {
        self.ended = true;
        self.next = Some(Found::Other(StreamArrival::Ended(error)));
    }
}

impl Entries<'_> {
    fn key(&self) -> &str {
        match self {
            Self::From { key, .. } | Self::NewestUpTo { key, .. } => key,
        }
    }
}
