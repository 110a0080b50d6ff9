//! One session: its queue and what goes into it; `deadlines` and `ending` are rooms of their own.
//!
//! Fan-out and the wheel reach a session through this type, on the shard's thread; reading and
//! waiting for the socket are [`task`](super::task)'s. Nothing here waits.

mod deadlines;
mod ending;

pub(super) use ending::Stage;

use super::{
    SessionId, Transport,
    core::Core,
    inbound::{FRAME_BURST, FRAMES_PER_TICK},
    queue::OutQueue,
    wheel::Tick,
};
use crate::{
    auth::Auth,
    channel::ChannelName,
    endpoint::{Endpoint, OnGap, OnSlow},
    identity::Identity,
    message::Message,
    metrics::EndpointMetrics,
    reason::{CloseReason, GapReason, MissedReason},
    wire::Codec,
};
use deadlines::Deadlines;
use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Instant,
};

/// Our own frames that may wait behind a socket that takes nothing: one who sends pings and never
/// reads would otherwise fill the queue with pongs.
const MAX_REPLIES: u32 = 64;

/// One session.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Its place in the shard's slab.
    pub(super) key: u32,
    pub(super) core: Rc<Core>,
    pub(super) endpoint: Arc<Endpoint>,
    metrics: Arc<EndpointMetrics>,
    pub(super) channels: Box<[ChannelName]>,
    pub(super) user: Option<Arc<str>>,
    pub(super) token: RefCell<Token>,
    /// Empty until the 101 is out; messages queue up meanwhile.
    pub(super) transport: OnceCell<Transport>,
    queue: RefCell<OutQueue>,
    /// The session's task.
    waker: Cell<Option<Waker>>,
    /// Whether fan-out has put something in the queue in this round.
    dirty: Cell<bool>,
    ending: Cell<Option<CloseReason>>,
    /// What remains to be done before the socket is dropped.
    stage: Cell<Stage>,
    deadlines: Deadlines,
    /// Replies of ours queued since the queue was last empty.
    replies: Cell<u32>,
    /// Frames that the client may still send, and when that was reckoned.
    allowance: Cell<(u32, Tick)>,
    opened: Tick,
    delivered: Cell<u64>,
    missed: Cell<u64>,
}

/// The token that a session lives by, which a refresh may change.
pub(super) struct Token {
    /// Its `jti`.
    pub(super) id: Option<Arc<str>>,
    /// Its SHA-256, when it is a static one.
    pub(super) sha256: Option<Arc<[u8; 32]>>,
    /// What it was verified by.
    pub(super) auth: Arc<Auth>,
}

/// What a session is made of; see [`super::SessionSpec`].
pub(super) struct Parts {
    pub(super) key: u32,
    pub(super) core: Rc<Core>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) channels: Box<[ChannelName]>,
    pub(super) identity: Option<Identity>,
    pub(super) auth: Arc<Auth>,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { key, core, endpoint, channels, identity, auth } = parts;
        let metrics = core.metrics.endpoint(&endpoint.name);
        metrics.opened.add(1);
        let opened = core.wheel.borrow().now();
        let expires = identity.as_ref().and_then(|identity| identity.expires);
        let session = Self {
            id: SessionId::random(),
            key,
            core,
            metrics,
            channels,
            user: identity.as_ref().map(|identity| Arc::clone(&identity.user)),
            token: RefCell::new(Token::new(identity, auth)),
            transport: OnceCell::new(),
            queue: RefCell::new(OutQueue::new(endpoint.format.over_websocket())),
            waker: Cell::new(None),
            dirty: Cell::new(false),
            ending: Cell::new(None),
            stage: Cell::new(Stage::Open),
            deadlines: Deadlines::default(),
            replies: Cell::new(0),
            allowance: Cell::new((FRAME_BURST, opened)),
            opened,
            delivered: Cell::new(0),
            missed: Cell::new(0),
            endpoint,
        };
        if let Some(expires) = expires {
            session.expire_at(expires);
        }
        session.schedule_first_ping();
        session.queue_ready();
        session
    }

    /// Queues a message; when the queue is full, `on_slow` decides. `true`: this session was not
    /// dirty before in this round and must be flushed.
    pub(super) fn deliver(&self, message: &Arc<Message>) -> bool {
        if self.stage.get() != Stage::Open {
            self.count_missed(MissedReason::SessionEnded, 1);
            return false;
        }
        let fits = self.queue.borrow().fits(message, &self.endpoint);
        if !fits && !self.make_room(message) {
            return false;
        }
        self.queue.borrow_mut().push_message(Arc::clone(message));
        !self.dirty.replace(true)
    }

    /// What `on_slow` says for a message that does not fit. `false`: it must not be queued.
    fn make_room(&self, message: &Message) -> bool {
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
    /// upstream. Returns as [`Session::deliver`] does.
    pub(super) fn gap(&self, channel: &ChannelName, reason: GapReason) -> bool {
        if self.stage.get() != Stage::Open {
            return false;
        }
        self.count_gap(reason);
        match self.endpoint.on_gap {
            OnGap::Ignore => false,
            OnGap::Close => {
                self.end(CloseReason::Gap);
                false
            }
            OnGap::Notice => {
                self.queue.borrow_mut().push_gap(channel, reason);
                !self.dirty.replace(true)
            }
        }
    }

    /// Writes as much as the socket takes; the rest waits for the session's task to find it
    /// writable.
    pub(super) fn flush(&self, now: Instant) {
        self.dirty.set(false);
        let Some(transport) = self.transport.get() else { return };
        while !self.queue.borrow().is_empty() {
            let written = self.queue.borrow_mut().write_with(&self.endpoint.gap_notice, |slices| {
                transport.try_write_vectored(slices)
            });
            match written {
                Ok(written) if written > 0 => self.wrote(written, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked();
                    return;
                }
                Ok(_) | Err(_) => {
                    self.gone();
                    return;
                }
            }
        }
        self.deadlines.write.set(0);
        self.replies.set(0);
    }

    fn wrote(&self, written: usize, now: Instant) {
        let (mut messages, mut bytes) = (0, 0);
        self.queue.borrow_mut().advance(written, |message, len| {
            messages += 1;
            bytes += len as u64;
            self.core.metrics.delivery_seconds.observe(now.duration_since(message.received));
        });
        self.metrics.deliveries.add(messages);
        self.metrics.delivered_bytes.add(bytes);
        self.delivered.set(self.delivered.get() + messages);
        self.deadlines.write.set(0);
    }

    /// The socket takes nothing. The first time, the task is woken to wait for it; until something
    /// is written it then waits already.
    fn blocked(&self) {
        if self.deadlines.write.get() == 0 {
            self.set_deadline(&self.deadlines.write, self.endpoint.write_timeout);
            self.wake();
        }
    }

    /// How everything looks to this client.
    pub(super) fn codec(&self) -> Codec {
        self.queue.borrow().codec()
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Queues a frame of this session alone, behind the messages that are already in line.
    pub(super) fn push_frame(&self, frame: bytes::Bytes) {
        self.queue.borrow_mut().push_frame(frame);
    }

    /// Queues an answer to something that the client sent. One who asks and asks and takes no
    /// answer is closed.
    pub(super) fn push_reply(&self, frame: bytes::Bytes) {
        if self.replies.get() == MAX_REPLIES {
            self.flush(Instant::now());
        }
        if self.replies.get() == MAX_REPLIES {
            self.end(CloseReason::RateLimited);
        } else {
            self.replies.set(self.replies.get() + 1);
            self.push_frame(frame);
        }
    }

    /// Takes this many frames off what the client may send. `false`: it sends too many.
    pub(super) fn may_send(&self, frames: u32) -> bool {
        let (left, at) = self.allowance.get();
        let now = self.core.wheel.borrow().now();
        let regained = (now - at).saturating_mul(FRAMES_PER_TICK);
        let left = left.saturating_add(regained).min(FRAME_BURST);
        self.allowance.set((left.saturating_sub(frames), now));
        frames <= left
    }

    /// Remembers the task to wake.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    fn queue_ready(&self) {
        if let Some(ready) = self.codec().ready(self.id, &self.channels) {
            self.push_frame(ready);
        }
    }

    fn count_missed(&self, reason: MissedReason, messages: u64) {
        self.metrics.missed[reason.index()].add(messages);
        self.missed.set(self.missed.get() + messages);
    }

    fn count_gap(&self, reason: GapReason) {
        self.core.metrics.gaps[reason.index()].add(1);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Token {
    fn new(identity: Option<Identity>, auth: Arc<Auth>) -> Self {
        let (id, sha256) = identity.map(|it| (it.token_id, it.static_token)).unzip();
        Self { id: id.flatten(), sha256: sha256.flatten(), auth }
    }
}
