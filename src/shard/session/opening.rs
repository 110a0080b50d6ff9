//! The beginning of a session's output: what is sent before anything that came since it was made.

use super::{
    Session, Stage,
    closing::flushes_first,
    queue::{Ahead, Replayed},
};
use crate::{channel::ChannelName, endpoint::OnGap, reason::CloseReason, wire::StreamReady};

impl Session {
    /// Puts `ready` and the replays, stream by stream, before what waits. Call it once, before the
    /// session starts.
    pub(in crate::shard) fn begin(&self, streams: &[StreamReady], replay: Vec<Replayed>) {
        self.metrics.opened[self.codec().carrier().index()].add(1);
        if self.close_reason.get().is_some_and(|reason| !flushes_first(reason)) {
            return self.queue.borrow_mut().put_ahead(Vec::new());
        }
        let codec = self.codec();
        let heartbeat = self.endpoint.heartbeat_over(codec);
        let ready = codec.ready(self.id, self.channels(), streams, heartbeat);
        let mut ahead: Vec<_> = ready.map(Ahead::Frame).into_iter().collect();
        let is_lost = streams.iter().any(StreamReady::is_lost);
        let closes = is_lost && self.endpoint.on_gap == OnGap::Close;
        if is_lost && self.endpoint.on_gap == OnGap::Notice {
            ahead.extend(codec.not_recovered(&self.endpoint.gap_notice).map(Ahead::Frame));
        }
        if closes && self.stage.get() == Stage::Open {
            self.drop_queue();
        } else {
            ahead.extend(replay.into_iter().map(Ahead::Replayed));
        }
        self.queue.borrow_mut().put_ahead(ahead);
        if closes {
            self.end(CloseReason::Gap);
        }
    }

    /// Counts what came of the positions that the client gave.
    pub(in crate::shard) fn count_replays(&self, streams: &[StreamReady]) {
        for recovery in streams.iter().filter_map(|stream| stream.recovery) {
            self.metrics.replays[recovery.result.index()].add(1);
        }
    }

    /// Takes what came of a stream out of the queue again: the session has not begun, and goes on from
    /// another place.
    pub(in crate::shard) fn forget(&self, stream: &ChannelName) {
        self.queue.borrow_mut().forget(stream);
    }
}
