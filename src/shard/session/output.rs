//! Output of a session: what is put into its queue, and writing that to the socket.

use super::{Replayed, Session, Stage};
use crate::{
    channel::ChannelName,
    endpoint::{OnGap, OnSlow},
    reason::{CloseReason, GapReason, MissedReason},
    shard::memory::Queued,
    wire::Loss,
};
use bytes::Bytes;
use std::{io, rc::Rc, time::Instant};

/// Our own replies that may wait behind a socket that takes nothing: a client that sends and never reads would
/// otherwise fill the queue with them.
const MAX_REPLIES: u8 = 128;

impl Session {
    /// Queues a message; when the queue is full, `on_slow` decides. `true`: this session was not
    /// dirty before in this round and must be flushed.
    pub(in crate::shard) fn enqueue(&self, message: &Rc<Queued>) -> bool {
        // Only what the socket does not take tells how slow the client is. One that is known to take
        // nothing is not asked for each message.
        let blocked = self.deadlines.write.get() != 0;
        if !blocked && !self.fits(message) {
            self.flush(Instant::now());
        }
        if self.stage.get() != Stage::Open {
            self.count_missed(MissedReason::SessionEnded, 1);
            return false;
        }
        if !self.fits(message) && !self.make_room(message) {
            return false;
        }
        self.queue.borrow_mut().push_message(Rc::clone(message));
        !self.dirty.replace(true)
    }

    fn fits(&self, message: &Queued) -> bool {
        self.queue.borrow().fits(message, &self.endpoint)
    }

    /// What `on_slow` says for a message that does not fit. `false`: it must not be queued.
    fn make_room(&self, message: &Queued) -> bool {
        match self.endpoint.on_slow {
            OnSlow::Close => {
                self.count_missed(MissedReason::SlowConsumer, 1);
                self.end(CloseReason::SlowConsumer);
                return false;
            }
            OnSlow::Latest => {
                let replaced = self.queue.borrow_mut().keep_latest(&message.channel);
                self.count_missed(MissedReason::Replaced, replaced as u64);
                self.count_gap(GapReason::SlowConsumer);
            }
            OnSlow::Skip => self.count_gap(GapReason::SlowConsumer),
        }
        let mut queue = self.queue.borrow_mut();
        while !queue.fits(message, &self.endpoint) && queue.skip_oldest() {
            self.count_missed(MissedReason::Skipped, 1);
        }
        true
    }

    /// Tells the session, as `on_gap` says, that messages of a channel may have been missed
    /// upstream. Returns as [`Session::enqueue`] does.
    pub(in crate::shard) fn gap(&self, channel: &ChannelName, loss: Loss) -> bool {
        if self.stage.get() != Stage::Open {
            return false;
        }
        self.count_gap(loss.reason);
        match self.endpoint.on_gap {
            OnGap::Ignore => false,
            OnGap::Close => {
                self.end(CloseReason::Gap);
                false
            }
            OnGap::Notice => {
                self.queue.borrow_mut().push_gap(channel, loss);
                !self.dirty.replace(true)
            }
        }
    }

    /// Writes as much as the socket takes; the rest waits for the session's task to find it
    /// writable.
    pub(in crate::shard) fn flush(&self, now: Instant) {
        self.dirty.set(false);
        let Some(transport) = self.transport.get() else { return };
        while !self.queue.borrow().is_empty() {
            let written = self.queue.borrow_mut().write_with(&self.endpoint.gap_notice, |slices| {
                transport.try_write_vectored(slices)
            });
            self.queue.borrow_mut().set_owed(transport.owes());
            match written {
                Ok(written) if written > 0 => self.wrote(written, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked();
                    return;
                }
                Ok(_) | Err(_) => {
                    self.disconnected();
                    return;
                }
            }
        }
        self.deadlines.write.set(0);
        self.count_private_bytes();
    }

    /// Counts what the queue holds for this session alone, for the shard's bound.
    pub(super) fn count_private_bytes(&self) {
        let now = self.queue.borrow().private_bytes();
        let before = self.private_bytes.replace(u32::try_from(now).unwrap_or(u32::MAX));
        if before as usize != now {
            self.context.memory.resize(before as usize, self.private_bytes.get() as usize);
        }
    }

    /// Bytes of what waits in the queue. A replay is not counted: it has its own bound.
    pub(in crate::shard) fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes()
    }

    /// Ends the session for the memory of its queue. What is partly written goes too, and with it the
    /// connection: nothing that would come behind it could be read.
    pub(in crate::shard) fn drop_all_output(&self) {
        self.end(CloseReason::SlowConsumer);
        self.abort();
        let dropped = self.queue.borrow_mut().abandon();
        self.count_private_bytes();
        self.count_missed(MissedReason::SlowConsumer, u64::from(dropped));
    }

    fn wrote(&self, written: usize, now: Instant) {
        let (mut messages, mut bytes) = (0, 0);
        let finished = self.queue.borrow_mut().advance(written, |message, len| {
            messages += 1;
            bytes += len as u64;
            self.context.metrics.delivery_seconds.observe(now.duration_since(message.received));
        });
        self.metrics.deliveries.add(messages);
        self.metrics.delivered_bytes.add(bytes);
        self.metrics.replayed.add(finished.replayed);
        self.delivered.set(self.delivered.get() + messages + finished.replayed);
        self.note_written(written);
        if finished.seen {
            self.put_heartbeat_off();
        }
    }

    /// The socket takes nothing. The first time, the task is woken to wait for it; until something
    /// is written it then waits already.
    fn blocked(&self) {
        self.count_private_bytes();
        if self.deadlines.write.get() == 0 {
            self.watch_progress();
            self.wake();
        }
    }

    /// Whether something waits to be written.
    pub(in crate::shard) fn has_output(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Queues a frame, of this session alone or shared, behind the messages that are already in line.
    pub(in crate::shard) fn push_frame(&self, frame: impl Into<Rc<Bytes>>) {
        self.queue.borrow_mut().push_frame(frame);
    }

    /// Queues what came of a stream before the session had it.
    pub(in crate::shard) fn push_replay(&self, replay: Vec<Replayed>) {
        self.queue.borrow_mut().push_replay(replay);
    }

    /// Queues news of a room: a frame that is shared with other sessions. Nothing of it is ever dropped; a
    /// session that takes none of it is closed when as many wait as messages may. Returns as
    /// [`Session::enqueue`] does.
    pub(in crate::shard) fn push_news(&self, frame: impl Into<Rc<Bytes>>) -> bool {
        let is_full = || self.queue.borrow().frames() >= self.endpoint.queue_messages.get();
        if is_full() {
            self.flush(Instant::now());
        }
        if self.stage.get() != Stage::Open {
            return false;
        }
        if is_full() {
            self.end(CloseReason::SlowConsumer);
            return false;
        }
        self.push_frame(frame);
        !self.dirty.replace(true)
    }

    /// Answers a ping.
    pub(in crate::shard) fn pong(&self, frame: Bytes) {
        self.push_reply(frame);
    }

    /// Answers a frame of the client's, or tells it something, unless a close frame is on its way.
    pub(in crate::shard) fn answer(&self, frame: Bytes) {
        if self.advance() == Stage::Open {
            self.push_reply(frame);
        }
    }

    /// A client that causes more and more replies and reads none is closed.
    fn push_reply(&self, frame: Bytes) {
        match self.has_room_for_a_reply() {
            true => self.queue.borrow_mut().push_reply(frame),
            false => self.end(CloseReason::RateLimited),
        }
    }

    /// Whether one more reply can be queued. If not, the socket has just been offered what waits.
    pub(in crate::shard) fn has_room_for_a_reply(&self) -> bool {
        let has_room = || self.queue.borrow().replies() < MAX_REPLIES;
        if !has_room() {
            self.flush(Instant::now());
        }
        has_room()
    }

    pub(in crate::shard) fn count_missed(&self, reason: MissedReason, messages: u64) {
        self.metrics.missed[reason.index()].add(messages);
        let more = u32::try_from(messages).unwrap_or(u32::MAX);
        self.missed.set(self.missed.get().saturating_add(more));
    }

    /// Counts a message of the client that means nothing here; logs the first of its endpoint.
    pub(in crate::shard) fn ignore(&self) {
        if self.metrics.ignored.load() == 0 {
            let endpoint = &*self.endpoint.name;
            tracing::warn!(
                endpoint,
                "a client's message is ignored: this endpoint has no publish table"
            );
        }
        self.metrics.ignored.add(1);
    }

    fn count_gap(&self, reason: GapReason) {
        self.context.metrics.gaps[reason.index()].add(1);
    }
}
