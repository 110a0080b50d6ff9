//! The sessions of one shard and the hub that leads to them: fan-out, revocation, reload, drain.
//!
//! Only ever on the shard's thread, in short borrows that never cross an `.await`. A session does
//! not know the registry: its task owns the [`Registered`] entry and removes it by dropping that.

use super::{
    context::Context,
    hub::Hub,
    memory::Queued,
    reload::PacedClose,
    revocations::Revocations,
    session::{Session, SessionName, SessionSpec},
    wheel::TICK,
};
use crate::{
    bus::{Event, Revoke, ShardId},
    channel::ChannelName,
    config::Config,
    message::Message,
    metrics::ShardMetrics,
    reason::{CloseReason, GapReason},
};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    ops::Deref,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// How long a walk over all sessions may hold the thread before other tasks have their turn. More is a
/// delay that clients notice, less makes the walk itself dearer.
const SLICE: Duration = Duration::from_millis(1);

/// How long a handshake may take before the shard has been told its configuration.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sessions visited between two looks at the clock.
const VISITS: usize = 16;

/// Sessions flushed between two chances for other tasks.
const FLUSHES_AT_ONCE: usize = 64;

pub(super) struct Registry {
    pub(super) id: ShardId,
    pub(super) context: Rc<Context>,
    pub(super) hub: RefCell<Hub>,
    sessions: RefCell<Slab<Rc<Session>>>,
    /// Told when the hub has requests for upstream.
    pub(super) requests_waiting: Notify,
    /// Told when a session or a task has ended.
    ended: Notify,
    /// Handshakes and the like: what [`Shard::spawn`](super::Shard::spawn) runs.
    tasks: Cell<usize>,
    draining: Cell<bool>,
    /// The sessions that the latest reload still has to close.
    paced_close: RefCell<PacedClose>,
    revocations: RefCell<Revocations>,
}

/// A session's entry in the registry. Dropping it ends the session and removes it.
pub(super) struct Registered {
    registry: Rc<Registry>,
    session: Rc<Session>,
}

impl Deref for Registered {
    type Target = Rc<Session>;

    fn deref(&self) -> &Rc<Session> {
        &self.session
    }
}

impl Registered {
    /// Ends the session when the token that it lives by was revoked a moment ago.
    pub(super) fn recheck_revocations(&self) {
        if self.registry.is_revoked(&self.session, tokio::time::Instant::now()) {
            self.session.end(CloseReason::Revoked);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(&self.session);
    }
}

impl Registry {
    pub(super) fn new(id: ShardId, metrics: Arc<ShardMetrics>, queue_memory: usize) -> Self {
        Self {
            id,
            context: Rc::new(Context::new(metrics, queue_memory)),
            hub: RefCell::new(Hub::new()),
            sessions: RefCell::default(),
            requests_waiting: Notify::new(),
            ended: Notify::new(),
            tasks: Cell::new(0),
            draining: Cell::new(false),
            paced_close: RefCell::default(),
            revocations: RefCell::default(),
        }
    }

    /// Makes a session and lets the channels' messages go to it. The caller has subscribed to the
    /// channels; the session's removal gives that back.
    ///
    /// # Panics
    /// When a shard has more than `u32::MAX` sessions; descriptors end long before.
    pub(super) fn insert(
        self: &Rc<Self>,
        channels: Box<[ChannelName]>,
        spec: SessionSpec,
    ) -> Registered {
        let began = spec.began;
        let session = self.make_session(channels, spec);
        if self.draining.get() {
            session.drain_after(TICK);
        }
        let mut hub = self.hub.borrow_mut();
        session.channels.iter().for_each(|channel| hub.add_member(channel, session.key));
        drop(hub);
        if self.is_revoked(&session, began) {
            session.end(CloseReason::Revoked);
        }
        // Its handshake may have begun before the latest reload.
        if let Some(config) = self.context.config() {
            session.recheck(&config);
        }
        Registered { registry: Rc::clone(self), session }
    }

    fn make_session(&self, channels: Box<[ChannelName]>, spec: SessionSpec) -> Rc<Session> {
        let mut sessions = self.sessions.borrow_mut();
        let place = sessions.vacant_entry();
        let key = u32::try_from(place.key()).expect("a shard has fewer sessions than descriptors");
        let session = Rc::new(Session::new(key, Rc::clone(&self.context), channels, spec));
        place.insert(Rc::clone(&session));
        session
    }

    /// Ends a session: it is in no channel any more, and its key is free.
    fn remove(&self, session: &Session) {
        session.finish();
        let mut hub = self.hub.borrow_mut();
        session.channels.iter().for_each(|channel| hub.remove_member(channel, session.key));
        drop(hub);
        self.sessions.borrow_mut().remove(session.key as usize);
        self.hub_changed();
        self.ended.notify_one();
    }

    /// Sees to it that upstream is told what changed.
    pub(super) fn hub_changed(&self) {
        if self.hub.borrow().has_requests() {
            self.requests_waiting.notify_one();
        }
    }

    /// Puts what came through the ring into the queues of the sessions concerned, and their keys into
    /// `dirty`.
    pub(super) fn fan_out(&self, event: &Event, dirty: &mut Vec<u32>) {
        match event {
            Event::Message(message) => self.deliver(message, dirty),
            Event::Lost(channels) => self.hub.borrow_mut().interrupt(channels),
            Event::Gap(channel, reason) => self.gap(channel, *reason, dirty),
        }
    }

    fn deliver(&self, message: &Arc<Message>, dirty: &mut Vec<u32>) {
        let hub = self.hub.borrow();
        let queued = Rc::new(Queued::new(Arc::clone(message), Rc::clone(&self.context.memory)));
        self.queue_for(hub.members(&message.channel), dirty, |one| one.deliver(&queued));
    }

    /// Tells the sessions of a channel that messages may have been missed until now. A session whose
    /// notices name no channel is told once, when the last of its channels is back.
    fn gap(&self, channel: &ChannelName, reason: GapReason, dirty: &mut Vec<u32>) {
        if reason.is_of_link() {
            self.hub.borrow_mut().resume(channel);
        }
        let hub = self.hub.borrow();
        self.queue_for(hub.members(channel), dirty, |one| {
            let waits = reason.is_of_link()
                && !one.codec().gap_names_channel()
                && hub.is_interrupted(&one.channels);
            !waits && one.gap(channel, reason)
        });
    }

    fn queue_for(&self, keys: &[u32], dirty: &mut Vec<u32>, put: impl Fn(&Session) -> bool) {
        let sessions = self.sessions.borrow();
        dirty.extend(keys.iter().filter(|&&key| put(&sessions[key as usize])));
    }

    /// Every session may have missed messages of every channel.
    pub(super) fn gap_all(&self, reason: GapReason, dirty: &mut Vec<u32>) {
        self.hub.borrow_mut().resume_all();
        for (_, session) in self.sessions.borrow().iter() {
            for channel in &session.channels {
                if session.gap(channel, reason) {
                    dirty.push(session.key);
                }
            }
        }
    }

    /// Flushes every dirty session once, yielding to other tasks now and then.
    pub(super) async fn flush(&self, dirty: &mut Vec<u32>) {
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
    /// fit into its part of `server.max_queue_memory`.
    pub(super) fn bound_memory(&self) {
        if !self.context.memory.is_exceeded() {
            return;
        }
        let sessions = self.sessions.borrow();
        let mut fullest: Vec<_> =
            sessions.iter().filter_map(|(_, one)| Some((one.droppable()?, one))).collect();
        fullest.sort_unstable_by_key(|&(bytes, _)| Reverse(bytes));
        for (_, session) in fullest {
            if !self.context.memory.is_exceeded() {
                return;
            }
            session.end(CloseReason::SlowConsumer);
        }
    }

    /// Ends the sessions that are revoked, and remembers the revocation for those that are about to open.
    pub(super) async fn revoke(self: &Rc<Self>, revoke: Revoke) {
        // First: a session that opens while the others are visited is checked.
        self.revocations.borrow_mut().remember(revoke.clone(), tokio::time::Instant::now());
        if revoke == Revoke::Everyone {
            tokio::task::spawn_local(Rc::clone(self).revoke_everyone());
            return;
        }
        let close = |session: &Session| {
            let is_revoked = match &revoke {
                Revoke::Everyone => false,
                Revoke::User(user) => session.user.as_ref() == Some(user),
                Revoke::Token(id) => session.token.borrow().id.as_ref() == Some(id),
            };
            if is_revoked {
                session.end(CloseReason::Revoked);
            }
        };
        self.visit_sessions(close).await;
    }

    /// Ends one session, unless it is gone: its place may have a new owner by now.
    pub(super) fn close(&self, name: SessionName, reason: CloseReason) {
        let session = self.sessions.borrow().get(name.key as usize).cloned();
        if let Some(session) = session.filter(|session| session.id == name.id) {
            session.end(reason);
        }
    }

    /// Ends every session that has an identity, a few with each tick, all within `shutdown.spread`.
    async fn revoke_everyone(self: Rc<Self>) {
        let spread = self.context.config().map_or(Duration::ZERO, |config| config.shutdown.spread);
        let mut all = Vec::new();
        let note = |session: &Session| {
            if session.user.is_some() {
                all.push(session.name());
            }
        };
        self.visit_sessions(note).await;
        fastrand::shuffle(&mut all);
        let ticks = usize::try_from(spread.as_millis() / TICK.as_millis()).unwrap_or(1).max(1);
        for some in all.chunks(all.len().div_ceil(ticks).max(1)) {
            some.iter().for_each(|&name| self.close(name, CloseReason::Revoked));
            tokio::time::sleep(TICK).await;
        }
    }

    /// Whether the token that a session lives by was revoked, or its user since `began`.
    pub(super) fn is_revoked(&self, session: &Session, began: tokio::time::Instant) -> bool {
        let revocations = self.revocations.borrow();
        session.user.as_ref().is_some_and(|user| revocations.of_user(user, began))
            || session.token.borrow().id.as_ref().is_some_and(|id| revocations.of_token(id))
    }

    /// Forgets the revocations that no handshake can have missed.
    pub(super) fn forget_revocations(&self) {
        let timeout = self.context.config().map(|config| config.server.handshake_timeout);
        let now = tokio::time::Instant::now();
        self.revocations.borrow_mut().expire(timeout.unwrap_or(HANDSHAKE_TIMEOUT), now);
    }

    /// Turns the wheel to now and lets each session that is due see to its deadlines, yielding to other
    /// tasks now and then: after a message to all of them, all are due for a heartbeat together.
    pub(super) async fn turn_wheel(&self) {
        let due = self.context.wheel.borrow_mut().turn(tokio::time::Instant::now());
        let now = self.context.now();
        for some in due.chunks(FLUSHES_AT_ONCE) {
            for &(key, at) in some {
                let session = self.sessions.borrow().get(key as usize).cloned();
                if let Some(session) = session {
                    session.on_tick(at, now);
                }
            }
            if some.len() == FLUSHES_AT_ONCE {
                tokio::task::yield_now().await;
            }
        }
        self.close_paced();
    }

    /// Goes on with a new configuration and closes the sessions that it concerns: whose token it takes
    /// away at once, the others a few with each tick.
    pub(super) fn reload(&self, config: Arc<Config>) {
        let mut paced = Vec::new();
        for (_, session) in self.sessions.borrow().iter() {
            match session.close_reason_under(&config) {
                Some(CloseReason::Reconfigured) => paced.push(session.key),
                Some(reason) => session.end(reason),
                None => {}
            }
        }
        self.context.set_config(config);
        *self.paced_close.borrow_mut() = PacedClose::new(paced);
        self.close_paced();
    }

    /// Closes the next of the sessions that the latest reload concerns. A key may have a new owner by
    /// now, or another reload may have come, so each is checked again.
    fn close_paced(&self) {
        let keys = self.paced_close.borrow_mut().next();
        let Some(config) = self.context.config().filter(|_| !keys.is_empty()) else { return };
        let sessions = self.sessions.borrow();
        keys.iter()
            .filter_map(|&key| sessions.get(key as usize))
            .for_each(|one| one.recheck(&config));
    }

    /// Visits every session that is there all the while, and yields between slices. Those that come
    /// meanwhile may be visited too.
    pub(super) async fn visit_sessions(&self, mut visit: impl FnMut(&Session)) {
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.visit_slice(from, &mut visit);
            tokio::task::yield_now().await;
        }
    }

    /// Visits sessions from a key on, for the time of a slice; where to go on, unless it was the last.
    fn visit_slice(&self, from: usize, visit: &mut impl FnMut(&Session)) -> Option<usize> {
        let (sessions, began) = (self.sessions.borrow(), Instant::now());
        for key in from..sessions.capacity() {
            if let Some(session) = sessions.get(key) {
                visit(session);
            }
            if (key + 1).is_multiple_of(VISITS) && began.elapsed() >= SLICE {
                return Some(key + 1);
            }
        }
        None
    }

    /// Closes every session at a random moment within `spread`, and later ones at once.
    pub(super) fn drain(self: &Rc<Self>, spread: Duration) {
        self.draining.set(true);
        self.ended.notify_one();
        let registry = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let close = |session: &Session| {
                // One that came after the drain began has its moment already.
                if !session.is_draining() {
                    session.drain_after(spread.mul_f64(fastrand::f64()));
                }
            };
            registry.visit_sessions(close).await;
        });
    }

    /// Resolves when a drain has left nothing.
    pub(super) async fn drained(&self) {
        while !self.is_drained() {
            self.ended.notified().await;
        }
    }

    fn is_drained(&self) -> bool {
        self.draining.get() && self.sessions.borrow().is_empty() && self.tasks.get() == 0
    }

    /// Counts a task that a drain has to wait for, until [`Registry::task_ended`].
    pub(super) fn task_began(&self) {
        self.tasks.set(self.tasks.get() + 1);
    }

    pub(super) fn task_ended(&self) {
        self.tasks.set(self.tasks.get() - 1);
        self.ended.notify_one();
    }
}
