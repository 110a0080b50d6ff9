//! Catch-up: what a session is given of its streams from before it, read between the client's position
//! and the shard's place.
//!
//! Pages are read first, while the session does not exist yet. Then, in one step of the shard's thread, the
//! session joins: what comes from there on waits in its queue, and the closed range up to there is read.
//! In one stream positions are never compared: what comes before a place and what comes after it cannot
//! overlap. Last, the stream's tail is read once more: only so is it known that all of it was one stream.
//!
//! All or nothing: a client gets everything that came after its position, or is told that it does not.

#[cfg(test)]
mod model;
mod newest;
mod proof;
mod read;
mod resume;
#[cfg(test)]
mod tests;

pub use resume::{Resume, Since};

use super::{
    memory::QueueMemory,
    registry::Registry,
    session::{Replayed, Session},
    streams::Streams,
};
use crate::{
    bus::PageEntry,
    channel::ChannelName,
    endpoint::{Endpoint, ReplayLimits},
    reason::{GapReason, Refusal, ReplayResult},
    stream_id::StreamId,
    wire::{Codec, Loss, Recovery, StreamReady},
};
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use read::Read;
use std::rc::Rc;

/// Streams of one session of which pages are read at the same time.
const AT_ONCE: usize = 4;

/// Where the entries of a session's streams come from, and how many of them it may be given.
pub(super) struct Source<'a> {
    streams: &'a Streams,
    memory: &'a Rc<QueueMemory>,
    codec: Codec,
    limits: ReplayLimits,
    /// The newest so many, where no position is given or the given one does not recover.
    last: usize,
}

/// What was read of a stream before the session exists.
pub(super) enum Before {
    /// The client gave no position.
    Unasked(ChannelName),
    Read(Read),
    Lost(Lost),
}

/// A stream whose position does not recover.
pub(super) struct Lost {
    stream: ChannelName,
    /// `None`: what the client gave was no position.
    since: Option<StreamId>,
    why: ReplayResult,
}

/// What a session begins with.
#[derive(Default)]
pub(super) struct Beginning {
    pub(super) ready: Vec<StreamReady>,
    pub(super) replay: Vec<Replayed>,
    /// Payload bytes of the replay.
    bytes: usize,
}

/// Why a position does not recover, or why that cannot be known now.
enum Fail {
    Lost(ReplayResult),
    Refused(Refusal),
}

impl From<ReplayResult> for Fail {
    fn from(result: ReplayResult) -> Self {
        Self::Lost(result)
    }
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether these streams have to be read for what the client asks.
pub(super) fn is_asked(streams: &[ChannelName], resume: &Resume, endpoint: &Endpoint) -> bool {
    let gives_newest = last(resume, endpoint) > 0 && !streams.is_empty();
    gives_newest || streams.iter().any(|stream| resume.since.of(stream).is_some())
}

fn last(resume: &Resume, endpoint: &Endpoint) -> usize {
    resume.last.unwrap_or(endpoint.replay.last).min(endpoint.replay.messages)
}

impl<'a> Source<'a> {
    pub(super) fn new(registry: &'a Registry, endpoint: &Endpoint, resume: &Resume) -> Self {
        Self {
            streams: &registry.streams,
            memory: &registry.context.memory,
            codec: endpoint.format.over_websocket(),
            limits: endpoint.replay,
            last: last(resume, endpoint),
        }
    }

    /// Reads what came after the positions of these streams, to which the caller has subscribed.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`].
    pub(super) async fn before(
        &self,
        streams: &[ChannelName],
        since: &Since,
    ) -> Result<Vec<Before>, Refusal> {
        let read = streams.iter().map(|stream| self.one_before(stream, since.of(stream)));
        stream::iter(read).buffered(AT_ONCE).try_collect().await
    }

    async fn one_before(
        &self,
        stream: &ChannelName,
        since: Option<Result<StreamId, ()>>,
    ) -> Result<Before, Refusal> {
        let stream = stream.clone();
        let Some(since) = since else { return Ok(Before::Unasked(stream)) };
        let Ok(position) = since else {
            return Ok(Before::Lost(Lost { stream, since: None, why: ReplayResult::Reset }));
        };
        let read = self.read_since(&stream, position).await;
        Before::new(stream, position, read)
    }

    /// Reads the rest for a session that has just joined all of these streams, which is what it begins
    /// with. What comes meanwhile waits in its queue.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`].
    pub(super) async fn beginning(
        &self,
        session: &Session,
        streams: Vec<Before>,
    ) -> Result<Beginning, Refusal> {
        // Before anything is waited for: from these places on everything comes to the session.
        let joined = streams.into_iter().map(|it| (self.streams.progress(it.stream()).0, it));
        let joined: Vec<_> = joined.collect();
        let rest = joined.into_iter().map(|(place, before)| self.one_rest(place, before));
        let mut beginning = Beginning::default();
        for rest in join_all(rest).await {
            let (place, before) = rest?;
            self.add(&mut beginning, session, place, before).await?;
        }
        Ok(beginning)
    }

    async fn one_rest(
        &self,
        joined: StreamId,
        before: Before,
    ) -> Result<(StreamId, Before), Refusal> {
        let Before::Read(read) = before else { return Ok((joined, before)) };
        let (stream, since) = (read.stream.clone(), read.since);
        let rest = self.read_rest(read, joined).await;
        Ok((joined, Before::new(stream, since, rest)?))
    }

    /// Adds a stream to what a session begins with: in their order, each takes what the others have left
    /// of the bytes.
    async fn add(
        &self,
        beginning: &mut Beginning,
        session: &Session,
        joined: StreamId,
        before: Before,
    ) -> Result<(), Refusal> {
        match before {
            Before::Unasked(stream) if self.last == 0 => {
                beginning.ready.push(StreamReady::at(stream, joined));
            }
            Before::Unasked(stream) => {
                let newest = self.read_newest(session, &stream, self.left(beginning)).await?;
                beginning.add_newest(stream, None, newest, true);
            }
            Before::Read(read) if read.bytes <= self.left(beginning) => beginning.recover(read),
            Before::Read(Read { stream, since, .. }) => {
                let lost = Lost { stream, since: Some(since), why: ReplayResult::TooMany };
                self.add_lost(beginning, session, lost).await?;
            }
            Before::Lost(lost) => self.add_lost(beginning, session, lost).await?,
        }
        Ok(())
    }

    async fn add_lost(
        &self,
        beginning: &mut Beginning,
        session: &Session,
        Lost { stream, since, why }: Lost,
    ) -> Result<(), Refusal> {
        // Nothing may come that the client has seen already, at an instance that is further on.
        self.streams.read_on(&stream).await?;
        let from_zero = since == Some(StreamId::ZERO);
        let newest = if self.last > 0 || from_zero {
            self.read_newest(session, &stream, self.left(beginning)).await?
        } else {
            newest::Newest { id: Some(self.join(session, &stream).0), ..Default::default() }
        };
        let missed = newest.before.filter(|_| from_zero);
        let recovery = Some(Recovery { result: why, missed });
        beginning.add_newest(stream, recovery, newest, self.last > 0);
        Ok(())
    }

    fn left(&self, beginning: &Beginning) -> usize {
        self.limits.bytes.saturating_sub(beginning.bytes)
    }

    /// An entry as it goes to a session. Encoded here, page by page: a whole replay at once would keep the
    /// shard from its other work.
    fn replayed(&self, stream: &ChannelName, entry: &PageEntry) -> Replayed {
        match entry {
            PageEntry::Message(message) => {
                let queued = self.memory.replayed(message);
                let _encoded = self.codec.message(&queued);
                queued.count();
                Replayed::Message(queued)
            }
            PageEntry::TooLarge(id) => {
                let loss = Loss { id: Some(*id), ..GapReason::PayloadTooLarge.into() };
                Replayed::Gap(stream.clone(), loss)
            }
        }
    }
}

impl Before {
    fn new(
        stream: ChannelName,
        since: StreamId,
        read: Result<Read, Fail>,
    ) -> Result<Self, Refusal> {
        match read {
            Ok(read) => Ok(Self::Read(read)),
            Err(Fail::Lost(why)) => Ok(Self::Lost(Lost { stream, since: Some(since), why })),
            Err(Fail::Refused(refusal)) => Err(refusal),
        }
    }

    fn stream(&self) -> &ChannelName {
        match self {
            Self::Unasked(stream) | Self::Lost(Lost { stream, .. }) => stream,
            Self::Read(read) => &read.stream,
        }
    }
}

impl Beginning {
    fn recover(&mut self, read: Read) {
        self.bytes += read.bytes;
        self.ready.push(StreamReady {
            stream: read.stream,
            id: Some(read.since),
            recovery: Some(Recovery { result: ReplayResult::Recovered, missed: None }),
            replayed: Some(read.entries.len()),
        });
        self.replay.extend(read.entries);
    }

    fn add_newest(
        &mut self,
        stream: ChannelName,
        recovery: Option<Recovery>,
        newest: newest::Newest,
        is_asked: bool,
    ) {
        self.bytes += newest.bytes;
        let replayed = is_asked.then_some(newest.entries.len());
        self.ready.push(StreamReady { stream, id: newest.id, recovery, replayed });
        self.replay.extend(newest.entries);
    }
}
