//! The sessions of one shard and the hub that leads to them: who opens, who ends, what is due.
//!
//! Only ever on the shard's thread, in short borrows that never cross an `.await`. A session does
//! not know the registry: its task owns the [`Registered`] entry and removes it by dropping that.

mod adding;
mod deliver;
mod presence;
mod reload;
mod revoke;
mod streams;
mod walk;

use super::{
    added::{Added, AddedTopics},
    context::Context,
    floods::Floods,
    hub::Hub,
    newcomers::Newcomers,
    presence::Presence,
    reload::PacedClose,
    revocations::Revocations,
    session::{Session, SessionName, SessionSpec},
    streams::Streams,
    wheel::TICK,
};
use crate::{
    bus::{Event, RingPosition, ShardId, SubscriptionEvents},
    endpoint::Topics,
    metrics::ShardMetrics,
    reason::CloseReason,
};
use slab::Slab;
use std::{
    cell::{Cell, OnceCell, RefCell},
    ops::Deref,
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Notify;

/// Sessions flushed between two chances for other tasks.
const FLUSHES_AT_ONCE: usize = 64;

pub(super) struct Registry {
    pub(super) id: ShardId,
    pub(super) context: Rc<Context>,
    pub(super) hub: RefCell<Hub>,
    pub(super) streams: Streams,
    pub(super) presence: Presence,
    sessions: RefCell<Slab<Rc<Session>>>,
    added: AddedTopics,
    /// Told when the hub has requests for upstream.
    pub(super) requests_waiting: Notify,
    /// Told when a session or a task has ended.
    ended: Notify,
    /// Handshakes and the like: what [`Shard::spawn`](super::Shard::spawn) runs.
    tasks: Cell<usize>,
    draining: Cell<bool>,
    /// Of the configurations that reloads brought, and that sessions opened under.
    newest_generation: Cell<u64>,
    /// The sessions that the latest reload still has to close.
    paced_close: RefCell<PacedClose>,
    revocations: RefCell<Revocations>,
    /// Of the shard's ring. Empty before its tasks run.
    pub(super) ring: OnceCell<RingPosition<Event>>,
    pub(super) newcomers: RefCell<Newcomers>,
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
    pub(super) fn new(
        id: ShardId,
        metrics: Arc<ShardMetrics>,
        queue_memory: usize,
        floods: Arc<Floods>,
    ) -> Self {
        Self {
            id,
            context: Rc::new(Context::new(metrics, queue_memory, floods)),
            hub: RefCell::new(Hub::new()),
            streams: Streams::new(),
            presence: Presence::default(),
            sessions: RefCell::default(),
            added: RefCell::default(),
            requests_waiting: Notify::new(),
            ended: Notify::new(),
            tasks: Cell::new(0),
            draining: Cell::new(false),
            newest_generation: Cell::new(0),
            paced_close: RefCell::default(),
            revocations: RefCell::default(),
            ring: OnceCell::new(),
            newcomers: RefCell::default(),
        }
    }

    /// Makes a session and lets what comes on its channels and streams go to it. The caller has subscribed
    /// to them; the session's removal gives that back.
    ///
    /// # Panics
    /// When a shard has more than `u32::MAX` sessions; descriptors end long before.
    pub(super) fn insert(self: &Rc<Self>, topics: Topics, spec: SessionSpec) -> Registered {
        let (began, generation) = (spec.began, spec.generation);
        let mut spec = spec;
        let origin = spec.origin.take();
        let session = self.make_session(topics, spec);
        if let Some(origin) = origin {
            self.added.borrow_mut().insert(session.key, Rc::new(Added::new(*origin)));
        }
        if self.draining.get() {
            session.drain_after(TICK);
        }
        let sent = self.ring.get().map_or(0, RingPosition::sent);
        self.newcomers.borrow_mut().insert(session.key, sent);
        self.add_to_hubs(&session);
        if self.is_revoked(&session, began) {
            session.end(CloseReason::Revoked);
        }
        // Redis may have taken a channel away since it was confirmed.
        if self.is_refused(&session) {
            session.end(CloseReason::ChannelRefused);
        }
        // Its handshake may have begun before the latest reload.
        self.recheck_generation(&session, generation);
        Registered { registry: Rc::clone(self), session }
    }

    fn add_to_hubs(&self, session: &Session) {
        let (mut hub, mut streams) = (self.hub.borrow_mut(), self.streams.hub.borrow_mut());
        session.channels().iter().for_each(|channel| hub.add_member(channel, session.key));
        session.streams().iter().for_each(|stream| streams.add_member(stream, session.key));
    }

    fn remove_from_hubs(&self, session: &Session) {
        let (mut hub, mut streams) = (self.hub.borrow_mut(), self.streams.hub.borrow_mut());
        session.channels().iter().for_each(|channel| hub.remove_member(channel, session.key));
        session.streams().iter().for_each(|stream| streams.remove_member(stream, session.key));
    }

    /// Whether Redis refuses something that a session has.
    fn is_refused(&self, session: &Session) -> bool {
        let (hub, streams) = (self.hub.borrow(), self.streams.hub.borrow());
        session.channels().iter().any(|channel| hub.is_refused(channel))
            || session.streams().iter().any(|stream| streams.is_refused(stream))
    }

    fn make_session(&self, topics: Topics, spec: SessionSpec) -> Rc<Session> {
        let mut sessions = self.sessions.borrow_mut();
        let place = sessions.vacant_entry();
        let key = u32::try_from(place.key()).expect("a shard has fewer sessions than descriptors");
        let session = Rc::new(Session::new(key, Rc::clone(&self.context), topics, spec));
        place.insert(Rc::clone(&session));
        session
    }

    /// Ends a session: it is in no channel any more, and its key is free.
    fn remove(&self, session: &Session) {
        session.finish();
        self.left_all(session);
        self.remove_from_hubs(session);
        self.forget_added(session);
        self.sessions.borrow_mut().remove(session.key as usize);
        self.newcomers.borrow_mut().remove(session.key);
        self.hub_changed();
        self.ended.notify_one();
    }

    /// Sees to it that upstream is told what changed.
    pub(super) fn hub_changed(&self) {
        if self.hub.borrow().has_requests() {
            self.requests_waiting.notify_one();
        }
        self.streams.hub_changed();
    }

    /// Takes upstream's subscription events, and ends the sessions of channels that Redis has taken away.
    pub(super) fn take_subscription_events(self: &Rc<Self>, events: SubscriptionEvents) {
        let taken_away = self.hub.borrow_mut().apply(events);
        for channel in taken_away {
            let members = self.hub.borrow().members(&channel).keys();
            tokio::task::spawn_local(Rc::clone(self).end_members(members, channel));
        }
    }

    /// Ends one session, unless it is gone: its place may have a new owner by now.
    pub(super) fn close(&self, name: SessionName, reason: CloseReason) {
        let session = self.sessions.borrow().get(name.key as usize).cloned();
        if let Some(session) = session.filter(|session| session.id == name.id) {
            session.end(reason);
        }
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
