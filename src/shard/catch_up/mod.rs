//! Catch-up: what a session is given of its streams from before it, read between the client's position
//! and the shard's place.
//!
//! Pages are read first, while the session does not exist yet. Then, in one step of the shard's thread, the
//! session joins: what comes from there on waits in its queue, and the closed range up to there is read.
//! In one stream positions are never compared: what comes before a place and what comes after it cannot
//! overlap. That all of it was one stream is known where the entry at that place was read: an id is of one
//! stream only. Where that entry is gone, the stream's tail is read once more, and tells.
//!
//! All or nothing: a client gets everything that came after its position, or is told that it does not.

mod beginning;
mod limits;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod model;
mod newest;
mod proof;
mod read;
mod resume;
#[cfg(test)]
mod tests;

pub(super) use beginning::Beginning;
pub(super) use limits::most_memory;
pub use resume::{Resume, Since};

use super::{
    memory::{NoRoom, ReplayRoom},
    session::Replayed,
    streams::Streams,
};
use crate::{
    bus::PageEntry,
    channel::ChannelName,
    endpoint::{Endpoint, ReplayLimits},
    reason::{GapReason, Refusal, ReplayResult},
    stream_id::StreamId,
    wire::{Codec, Loss},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use read::Read;

/// Streams of one session of which pages are read at the same time.
const AT_ONCE: usize = 4;

/// Where the entries of a session's streams come from, and how many of them it may be given.
pub(super) struct Source<'a> {
    streams: &'a Streams,
    room: &'a ReplayRoom,
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

impl From<NoRoom> for Fail {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Now => Self::Refused(Refusal::AtCapacity),
            NoRoom::Ever => Self::Lost(ReplayResult::TooMany),
        }
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
    pub(super) fn new(
        streams: &'a Streams,
        room: &'a ReplayRoom,
        codec: Codec,
        endpoint: &Endpoint,
        resume: &Resume,
    ) -> Self {
        Self { streams, room, codec, limits: endpoint.replay, last: last(resume, endpoint) }
    }

    /// Reads what came after the positions of these streams, to which the caller has subscribed.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`], [`Refusal::AtCapacity`].
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

    /// An entry as it goes to a session. Encoded here, page by page: a whole replay at once would keep the
    /// shard from its other work.
    fn replayed(&self, stream: &ChannelName, entry: &PageEntry) -> Replayed {
        match entry {
            PageEntry::Message(message) => Replayed::Message(self.room.take(message, self.codec)),
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
