//! What one shard's tasks share: the sessions, the hub, the wheel. Only ever on the shard's thread,
//! in short borrows that never cross an `.await`.

use super::{
    Busy,
    control::Revoked,
    hub::Hub,
    reload::PacedClose,
    session::Session,
    wheel::{TICK, Wheel},
};
use crate::{
    bus::{Event, ShardId},
    config::Config,
    endpoint::Format,
    log_throttle::LogThrottle,
    message::Message,
    metrics::ShardMetrics,
    reason::{CloseReason, GapReason},
};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Sessions flushed between two chances for other tasks.
const FLUSHES_AT_ONCE: usize = 64;

/// The most one read takes from a socket.
const READ_BYTES: usize = 16 * 1024;

pub(super) struct Core {
    pub(super) id: ShardId,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) hub: RefCell<Hub>,
    pub(super) sessions: RefCell<Slab<Rc<Session>>>,
    pub(super) wheel: RefCell<Wheel>,
    /// What a read goes into before it is parsed; one for all sessions.
    pub(super) scratch: RefCell<Box<[u8]>>,
    /// Told when the hub has changes for upstream.
    pub(super) changed: Notify,
    /// Told when a session or a task has ended.
    pub(super) left: Notify,
    pub(super) tasks: Cell<usize>,
    draining: Cell<bool>,
    /// Whom a reload still has to close.
    pub(super) leaving: RefCell<PacedClose>,
    /// Control messages that mean nothing.
    nonsense: RefCell<LogThrottle>,
    /// The latest that a reload brought; `None` before the first.
    pub(super) config: RefCell<Option<Arc<Config>>>,
}

impl Core {
    pub(super) fn new(id: ShardId, metrics: Arc<ShardMetrics>) -> Self {
        Self {
            id,
            metrics,
            hub: RefCell::new(Hub::new()),
            sessions: RefCell::default(),
            wheel: RefCell::new(Wheel::new(tokio::time::Instant::now())),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            changed: Notify::new(),
            left: Notify::new(),
            tasks: Cell::new(0),
            draining: Cell::new(false),
            leaving: RefCell::default(),
            nonsense: RefCell::default(),
            config: RefCell::default(),
        }
    }

    /// Puts what came through the ring into the queues of those it concerns, and their keys into
    /// `dirty`.
    pub(super) fn fan_out(&self, event: &Event, dirty: &mut Vec<u32>) {
        match event {
            Event::Message(message) => self.deliver(message, dirty),
            Event::Lost(channels) => self.hub.borrow_mut().interrupt(channels),
            Event::Gap(channel, reason) => {
                self.hub.borrow_mut().resume(channel);
                let hub = self.hub.borrow();
                self.touch(hub.members(channel), dirty, |one| {
                    // Raw notices name no channel: one is enough, when the last channel is back.
                    let waits = reason.is_of_link()
                        && one.endpoint.format == Format::Raw
                        && hub.is_interrupted(&one.channels);
                    !waits && one.gap(channel, *reason)
                });
            }
            Event::GapAll(reason) => self.gap_all(*reason, dirty),
            Event::Control(message) => self.control(message.payload()),
        }
    }

    fn deliver(&self, message: &Arc<Message>, dirty: &mut Vec<u32>) {
        let hub = self.hub.borrow();
        self.touch(hub.members(&message.channel), dirty, |one| one.deliver(message));
    }

    fn touch(&self, keys: &[u32], dirty: &mut Vec<u32>, put: impl Fn(&Session) -> bool) {
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

    /// Flushes every dirty session once, giving way to other tasks now and then.
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

    fn control(&self, payload: &[u8]) {
        let Some(revoked) = super::control::parse(payload) else {
            return self.pass_over_control();
        };
        for (_, session) in self.sessions.borrow().iter() {
            let hit = match &revoked {
                Revoked::User(user) => session.user.as_deref() == Some(user),
                Revoked::Token(id) => session.token.borrow().id.as_deref() == Some(id),
            };
            if hit {
                session.end(CloseReason::Revoked);
            }
        }
    }

    fn pass_over_control(&self) {
        let to_log = self.nonsense.borrow_mut().to_log(Instant::now());
        // Every shard gets every control message; the first speaks for all.
        if let (0, Some(before)) = (self.id, to_log) {
            tracing::warn!(
                before,
                "a message on the control channel means nothing; it was passed over"
            );
        }
    }

    /// Turns the wheel to now and lets each session that is due see to its deadlines.
    pub(super) fn turn_wheel(&self) {
        let due = self.wheel.borrow_mut().turn(tokio::time::Instant::now());
        let now = self.wheel.borrow().now();
        for (key, at) in due {
            let session = self.sessions.borrow().get(key as usize).cloned();
            if let Some(session) = session {
                session.on_tick(at, now);
            }
        }
        self.close_paced();
    }

    /// Closes every session at a random moment within `spread`, and later ones at once.
    pub(super) fn drain(&self, spread: Duration) {
        self.draining.set(true);
        for (_, session) in self.sessions.borrow().iter() {
            session.drain_after(spread.mul_f64(fastrand::f64()));
        }
        self.left.notify_one();
    }

    /// Takes a session in; its key is free until then.
    pub(super) fn insert(&self, session: &Rc<Session>) {
        if self.draining.get() {
            session.drain_after(TICK);
        }
        let mut hub = self.hub.borrow_mut();
        session.channels.iter().for_each(|channel| hub.add_member(channel, session.key));
        drop(hub);
        // Its handshake may have begun before the latest reload.
        self.recheck(session);
    }

    /// Lets a session go: it is in no channel any more, and its key is free.
    pub(super) fn remove(&self, session: &Session) {
        session.finish();
        let mut hub = self.hub.borrow_mut();
        session.channels.iter().for_each(|channel| hub.remove_member(channel, session.key));
        drop(hub);
        self.sessions.borrow_mut().remove(session.key as usize);
        self.hub_changed();
        self.left.notify_one();
    }

    /// Sees to it that upstream is told what changed.
    pub(super) fn hub_changed(&self) {
        if self.hub.borrow().has_changes() {
            self.changed.notify_one();
        }
    }

    /// Whether a drain has left nothing here.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.get() && self.sessions.borrow().is_empty() && self.tasks.get() == 0
    }

    /// The `limit` channels with the most sessions whose names begin with `prefix`.
    pub(super) fn busiest(&self, prefix: &str, limit: usize) -> Vec<Busy> {
        let hub = self.hub.borrow();
        let mut all: Vec<_> = hub.sessions_by_channel(prefix).collect();
        all.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        all.truncate(limit);
        all.into_iter()
            .map(|(channel, sessions)| Busy { channel: channel.clone(), sessions })
            .collect()
    }
}
