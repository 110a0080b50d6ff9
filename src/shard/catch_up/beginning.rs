//! What a session begins with: of each of its streams, the place where it joins and the replay up to there.

use super::{Before, Lost, Source, limits::Left, newest::Newest, read::Read};
use crate::{
    channel::ChannelName,
    reason::{Refusal, ReplayResult},
    shard::{holding::Joining, session::Replayed},
    stream_id::StreamId,
    wire::{Recovery, StreamReady},
};
use futures_util::future::join_all;

/// What a session begins with.
#[derive(Default)]
pub(in crate::shard) struct Beginning {
    pub(in crate::shard) ready: Vec<StreamReady>,
    pub(in crate::shard) replay: Vec<Replayed>,
    /// Payload bytes of the replay, and the memory that it takes.
    bytes: usize,
    memory: usize,
}

impl Source<'_> {
    /// Reads the rest for a session that has just joined all of these streams, which is what it begins
    /// with. What comes meanwhile waits in its queue.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`], [`Refusal::AtCapacity`].
    pub(in crate::shard) async fn beginning(
        &self,
        session: &dyn Joining,
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
        // What is more than there ever is was left out.
        self.room.check().map_err(|_| Refusal::AtCapacity)?;
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
        session: &dyn Joining,
        joined: StreamId,
        before: Before,
    ) -> Result<(), Refusal> {
        let left = self.left(beginning);
        match before {
            Before::Unasked(stream) if self.last == 0 => {
                beginning.ready.push(StreamReady::at(stream, joined));
            }
            Before::Unasked(stream) => {
                let newest = self.read_newest(session, &stream, left.bytes).await?;
                beginning.add_newest(stream, None, newest.cut_to(left.memory), true);
            }
            Before::Read(read) if left.has(&read) => beginning.recover(read),
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
        session: &dyn Joining,
        Lost { stream, since, why }: Lost,
    ) -> Result<(), Refusal> {
        // Nothing may come that the client has seen already, at an instance that is further on.
        self.streams.read_on(&stream).await?;
        let from_zero = since == Some(StreamId::ZERO);
        let left = self.left(beginning);
        let newest = if self.last > 0 || from_zero {
            self.read_newest(session, &stream, left.bytes).await?.cut_to(left.memory)
        } else {
            Newest { id: Some(self.join(session, &stream).0), ..Default::default() }
        };
        let missed = newest.before.filter(|_| from_zero);
        let recovery = Some(Recovery { result: why, missed });
        beginning.add_newest(stream, recovery, newest, self.last > 0);
        Ok(())
    }

    pub(super) fn left(&self, beginning: &Beginning) -> Left {
        Left {
            bytes: self.limits.bytes.saturating_sub(beginning.bytes),
            memory: self.room.limit().saturating_sub(beginning.memory),
        }
    }
}

impl Beginning {
    fn recover(&mut self, read: Read) {
        self.bytes += read.bytes;
        self.memory += read.memory;
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
        newest: Newest,
        is_asked: bool,
    ) {
        self.bytes += newest.bytes;
        self.memory += newest.memory();
        let replayed = is_asked.then_some(newest.entries.len());
        self.ready.push(StreamReady { stream, id: newest.id, recovery, replayed });
        self.replay.extend(newest.entries);
    }
}
