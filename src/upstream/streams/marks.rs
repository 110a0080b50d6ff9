//! Shards that wait for a stream to be read once more. One reading serves all who asked before it began.

use super::{stream_queues::StreamQueues, table::StreamNumber};
use crate::bus::{RejectedBy, ShardId, StreamEvent};
use std::collections::HashMap;

/// Who waits, by stream.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<StreamNumber, StreamMarks>);

#[derive(Debug, Default)]
struct StreamMarks {
    /// Those who asked since the last reading began.
    waiting: Vec<Mark>,
    /// Those whom the running reading serves.
    served: Vec<Mark>,
}

#[derive(Debug)]
struct Mark {
    shard: ShardId,
    number: u64,
}

impl Marks {
    pub(super) fn add(&mut self, stream: StreamNumber, shard: ShardId, number: u64) {
        self.0.entry(stream).or_default().waiting.push(Mark { shard, number });
    }

    /// A reading begins now.
    pub(super) fn begin(&mut self, stream: StreamNumber) {
        if let Some(marks) = self.0.get_mut(&stream) {
            marks.served.append(&mut marks.waiting);
        }
    }

    /// A reading has found everything: tells those whom it serves. Returns whether others wait.
    pub(super) fn end(&mut self, stream: StreamNumber, queues: &mut StreamQueues) -> bool {
        let Some(marks) = self.0.get_mut(&stream) else { return false };
        for Mark { shard, number } in marks.served.drain(..) {
            queues.send(1 << shard, &StreamEvent::Marker(number));
        }
        let others_wait = !marks.waiting.is_empty();
        if !others_wait {
            self.0.remove(&stream);
        }
        others_wait
    }

    /// The streams that somebody waits for.
    pub(super) fn streams(&self) -> Vec<StreamNumber> {
        self.0.keys().copied().collect()
    }

    /// The stream cannot be read, for this reason: tells all who wait.
    pub(super) fn give_up(
        &mut self,
        stream: StreamNumber,
        by: RejectedBy,
        queues: &mut StreamQueues,
    ) {
        let Some(marks) = self.0.remove(&stream) else { return };
        for Mark { shard, number } in marks.served.into_iter().chain(marks.waiting) {
            queues.send(1 << shard, &StreamEvent::NoMarker(number, by));
        }
    }

    /// A shard does not want the stream any more.
    pub(super) fn leave(&mut self, stream: StreamNumber, shard: ShardId) {
        if let Some(marks) = self.0.get_mut(&stream) {
            marks.waiting.retain(|mark| mark.shard != shard);
            marks.served.retain(|mark| mark.shard != shard);
        }
    }
}
