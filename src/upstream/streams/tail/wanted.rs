//! What shards want: streams, and to know when all that is in one now has been read.

use super::Tail;
use crate::{
    bus::{RejectedBy, ShardId, StreamEvent, StreamRequest, StreamRequests},
    channel::ChannelName,
    upstream::streams::table::{Source, StreamState},
};
use tokio::time::Instant;

impl Tail {
    pub(in crate::upstream::streams) fn request(&mut self, batch: &StreamRequests, now: Instant) {
        self.queues.read(batch.shard, batch.sequence);
        for request in &batch.requests {
            match request {
                StreamRequest::Subscribe(stream) => self.join(batch.shard, stream),
                StreamRequest::Unsubscribe(stream) => self.leave(batch.shard, stream, now),
                StreamRequest::Mark { stream, number, to_end } => {
                    self.mark(batch.shard, stream, *number, *to_end);
                }
            }
        }
    }

    pub(super) fn join(&mut self, shard: ShardId, name: &ChannelName) {
        let to = 1 << shard;
        let Some(number) = self.table.join(shard, name) else {
            return self.queues.rejected(to, name, RejectedBy::StreamLimit);
        };
        let Some(stream) = self.table.get_mut(number) else { return };
        match (stream.state, self.closed) {
            (StreamState::Refused, _) => self.queues.rejected(to, name, RejectedBy::Redis),
            (StreamState::Armed, _) => {
                stream.told |= to;
                self.queues.subscribed(to, stream);
            }
            (StreamState::Unknown, Some(by)) => self.queues.rejected(to, name, by),
            (StreamState::Unknown, None) if self.is_linked => {
                self.order.add(number, stream, Source::Other);
            }
            // It is asked for when there is a link.
            (StreamState::Unknown, None) => {}
        }
    }

    pub(super) fn leave(&mut self, shard: ShardId, name: &ChannelName, now: Instant) {
        if let Some(number) = self.table.find(name) {
            self.marks.leave(number, shard);
        }
        self.table.leave(shard, name, now);
    }

    fn mark(&mut self, shard: ShardId, name: &ChannelName, number: u64, to_end: bool) {
        let stream = self.table.find(name).filter(|_| self.is_linked);
        let stream = stream.and_then(|at| Some((at, self.table.get_mut(at)?)));
        let is_refused = stream.as_ref().is_some_and(|(_, it)| it.state == StreamState::Refused);
        match stream {
            Some((at, stream))
                if stream.told & (1 << shard) != 0 && stream.state != StreamState::Refused =>
            {
                self.marks.add(at, shard, number);
                stream.with_facts |= to_end;
                self.order.add(at, stream, Source::Other);
            }
            _ => {
                let by = if is_refused {
                    RejectedBy::Redis
                } else {
                    self.closed.unwrap_or(RejectedBy::LinkDown)
                };
                let event = StreamEvent::NoMarker(number, by);
                self.queues.send(1 << shard, &event);
            }
        }
    }
}
