//! Fan-out: what comes through the ring goes into the queues of sessions, and from there to their sockets.

use super::{FLUSHES_AT_ONCE, Registry};
use crate::{
    bus::Event,
    channel::ChannelName,
    message::Message,
    reason::{CloseReason, GapReason, MissedReason},
    shard::{members::Members, memory::Queued, session::Session},
};
use std::{cmp::Reverse, rc::Rc, sync::Arc, time::Instant};

impl Registry {
    /// Puts what came through the ring, as its event `at`, into the queues of the sessions concerned, and
    /// their keys into `dirty`.
    pub(in crate::shard) fn fan_out(&self, at: u64, event: &Event, dirty: &mut Vec<u32>) {
        match event {
            Event::Message(message) => self.deliver(message, dirty),
            Event::Lost(channels) => self.hub.borrow_mut().interrupt(channels),
            Event::Gap(channel, reason) => self.gap(at, channel, *reason, dirty),
        }
    }

    fn deliver(&self, message: &Arc<Message>, dirty: &mut Vec<u32>) {
        self.deliver_to(self.hub.borrow().members(message.topic()), message, dirty);
    }

    pub(super) fn deliver_to(&self, to: &Members, message: &Arc<Message>, dirty: &mut Vec<u32>) {
        let queued = Rc::new(Queued::new(Arc::clone(message), Rc::clone(&self.context.memory)));
        self.queue_for(to, dirty, |one| one.enqueue(&queued));
    }

    /// Tells the sessions of a channel that messages may have been missed until now. A session whose
    /// notices name no channel is told once, when the last of its channels is back.
    ///
    /// Of a message that was too large it is known that every member missed it.
    fn gap(&self, at: u64, channel: &ChannelName, reason: GapReason, dirty: &mut Vec<u32>) {
        if reason.is_of_link() {
            self.hub.borrow_mut().resume(channel);
        }
        let (hub, newcomers) = (self.hub.borrow(), self.newcomers.borrow());
        self.queue_for(hub.members(channel), dirty, |one| {
            if reason == GapReason::PayloadTooLarge {
                one.count_missed(MissedReason::PayloadTooLarge, 1);
            }
            let waits = reason.is_of_link()
                && !one.codec().gap_names_channel()
                && hub.is_interrupted(one.channels());
            !waits && newcomers.concerns(at, one.key) && one.gap(channel, reason.into())
        });
    }

    pub(super) fn queue_for(
        &self,
        to: &Members,
        dirty: &mut Vec<u32>,
        put: impl Fn(&Session) -> bool,
    ) {
        let sessions = self.sessions.borrow();
        to.for_each(|key| {
            if put(&sessions[key as usize]) {
                dirty.push(key);
            }
        });
    }

    /// Every session may have missed messages of every channel, up to the ring's event `at`.
    pub(in crate::shard) async fn gap_all(&self, at: u64, reason: GapReason, dirty: &mut Vec<u32>) {
        self.hub.borrow_mut().resume_all();
        let tell = |session: &Session| {
            let concerned = self.newcomers.borrow().concerns(at, session.key);
            let added = self.added_channels(session);
            for channel in session.channels().iter().chain(&added).filter(|_| concerned) {
                if session.gap(channel, reason.into()) {
                    dirty.push(session.key);
                }
            }
        };
        self.visit_sessions(tell).await;
    }

    /// Flushes every dirty session once, yielding to other tasks now and then.
    pub(in crate::shard) async fn flush(&self, dirty: &mut Vec<u32>) {
        for keys in dirty.chunks(FLUSHES_AT_ONCE) {
            self.flush_some(keys, Instant::now());
            if keys.len() == FLUSHES_AT_ONCE {
                tokio::task::yield_now().await;
            }
        }
        dirty.clear();
    }

    fn flush_some(&self, keys: &[u32], now: Instant) {
        let sessions = self.sessions.borrow();
        // A session may have ended since it was dirty, and its key may have a new owner, for whom
        // a flush too many does no harm.
        keys.iter().filter_map(|&key| sessions.get(key as usize)).for_each(|one| one.flush(now));
    }

    /// Closes the sessions with the fullest queues, one after the other, until all queues of this shard
    /// fit into its part of `server.max_queue_memory`. Replays, which never hold more than half of that, make
    /// no queue the fullest. Each is first offered to its socket once more; and
    /// what closing leaves of it, a message that is partly written, goes before the next one is closed.
    pub(in crate::shard) fn bound_memory(&self) {
        let is_exceeded = || self.context.memory.is_exceeded();
        if !is_exceeded() {
            return;
        }
        let sessions = self.sessions.borrow();
        let mut fullest: Vec<_> =
            sessions.iter().map(|(_, one)| (one.queued_bytes(), one)).collect();
        fullest.retain(|&(bytes, _)| bytes > 0);
        fullest.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        for (_, session) in fullest {
            session.flush(Instant::now());
            if is_exceeded() {
                session.end(CloseReason::SlowConsumer);
            }
            if is_exceeded() && session.queued_bytes() > 0 {
                session.drop_all_output();
            }
            if !is_exceeded() {
                return;
            }
        }
    }
}
