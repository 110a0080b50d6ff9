//! One session: its queue, its deadlines, its ending.
//!
//! Fan-out and the wheel reach a session through this type, on the shard's thread; reading and
//! waiting for the socket are [`task`](super::task)'s. Nothing here waits.

use super::{
    SessionId, Transport,
    core::Core,
    inbound::{FRAME_BURST, FRAMES_PER_TICK},
    queue::OutQueue,
    wheel::{Tick, Wheel},
};
use crate::{
    auth::Auth,
    channel::ChannelName,
    endpoint::{Endpoint, Format, OnGap, OnSlow},
    identity::Identity,
    message::{Message, Opcode, frame},
    metrics::EndpointMetrics,
    reason::{CloseReason, GapReason, MissedReason},
};
use serde::Serialize;
use std::{
    any::Any,
    cell::{Cell, OnceCell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

/// How long a client has to answer our close frame, and to take what is queued before it.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a client that broke the protocol has to take our close frame: nothing it says can be
/// understood any more.
const VIOLATION_WAIT: Duration = Duration::from_millis(500);

/// Sessions whose tokens end together end within so long before that moment.
const EXPIRY_SPREAD: Duration = Duration::from_secs(10);

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
    /// Gives back what admission counted.
    _permit: Box<dyn Any>,
    /// Empty until the 101 is out; messages queue up meanwhile.
    pub(super) transport: OnceCell<Transport>,
    queue: RefCell<OutQueue>,
    /// The session's task.
    waker: Cell<Option<Waker>>,
    /// Whether fan-out has put something in the queue in this round.
    touched: Cell<bool>,
    ending: Cell<Option<CloseReason>>,
    /// What remains to be done before the socket is dropped.
    stage: Cell<Stage>,
    pub(super) deadlines: Deadlines,
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

/// How far a session's ending has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// Our close frame is queued; the client's answer is awaited.
    AwaitingClose,
    /// The client broke the protocol: what it sends is thrown away.
    Discarding,
    /// … and it has been told so; we have hung up our side. Closing the other side as well while
    /// it still sends would reset the connection, and could take our close frame along.
    HungUp,
    /// The client has closed too: what is queued goes out, then it is over.
    Flushing,
    /// The socket may be dropped now.
    Over,
}

/// A session's deadlines, in ticks of the wheel; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// The place in the wheel that counts.
    due: Cell<Tick>,
    ping: Cell<Tick>,
    pong: Cell<Tick>,
    write: Cell<Tick>,
    drain: Cell<Tick>,
    expiry: Cell<Tick>,
    close: Cell<Tick>,
}

/// What a session is made of; see [`super::Opening`].
pub(super) struct Parts {
    pub(super) key: u32,
    pub(super) core: Rc<Core>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) channels: Box<[ChannelName]>,
    pub(super) identity: Option<Identity>,
    pub(super) auth: Arc<Auth>,
    pub(super) permit: Box<dyn Any>,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { key, core, endpoint, channels, identity, auth, permit } = parts;
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
            _permit: permit,
            transport: OnceCell::new(),
            queue: RefCell::default(),
            waker: Cell::new(None),
            touched: Cell::new(false),
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
    /// touched before in this round and must be flushed.
    pub(super) fn deliver(&self, message: &Arc<Message>) -> bool {
        if self.stage.get() != Stage::Open {
            self.count_missed(MissedReason::SessionEnded, 1);
            return false;
        }
        let fits = self.queue.borrow().fits(message, &self.endpoint);
        if !fits && !self.make_room(message) {
            return false;
        }
        self.queue.borrow_mut().push_message(Arc::clone(message), self.endpoint.format);
        !self.touched.replace(true)
    }

    /// What `on_slow` says for a message that does not fit. `false`: it must not be queued.
    fn make_room(&self, message: &Message) -> bool {
        let format = self.endpoint.format;
        match self.endpoint.on_slow {
            OnSlow::Close => {
                self.count_missed(MissedReason::SlowConsumer, 1);
                self.end(CloseReason::SlowConsumer);
                return false;
            }
            OnSlow::Latest => {
                let replaced = self.queue.borrow_mut().keep_latest(&message.channel, format);
                self.count_missed(MissedReason::Replaced, replaced as u64);
                self.count_gap(GapReason::SlowConsumer);
            }
            OnSlow::Skip => self.count_gap(GapReason::SlowConsumer),
        }
        let mut queue = self.queue.borrow_mut();
        while !queue.fits(message, &self.endpoint) && queue.skip_oldest(format) {
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
                self.queue.borrow_mut().push_gap(channel, reason, self.endpoint.format);
                !self.touched.replace(true)
            }
        }
    }

    /// Writes as much as the socket takes; the rest waits for the session's task to find it
    /// writable.
    pub(super) fn flush(&self, now: Instant) {
        self.touched.set(false);
        let Some(transport) = self.transport.get() else { return };
        while !self.queue.borrow().is_empty() {
            let written = self
                .queue
                .borrow_mut()
                .write_with(&self.endpoint, |slices| transport.try_write_vectored(slices));
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
        self.queue.borrow_mut().advance(written, self.endpoint.format, |message, len| {
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

    /// Ends the session for a reason of ours: the close frame goes out behind what may still be
    /// sent, and the client has [`CLOSE_WAIT`] to answer it.
    pub(super) fn end(&self, reason: CloseReason) {
        if self.stage.get() != Stage::Open {
            return;
        }
        self.ending.set(Some(reason));
        if !flushes_first(reason) {
            self.drop_queue();
        }
        self.queue_close(reason);
        self.deadlines.clear();
        let (stage, wait) = if is_violation(reason) {
            (Stage::Discarding, VIOLATION_WAIT)
        } else {
            (Stage::AwaitingClose, CLOSE_WAIT)
        };
        self.stage.set(stage);
        self.set_deadline(&self.deadlines.close, wait);
        self.wake();
    }

    /// The client has closed: by a close frame of its own, or by answering ours.
    pub(super) fn peer_closed(&self) {
        if self.stage.get() == Stage::Open {
            self.ending.set(Some(CloseReason::Bye));
            self.deadlines.clear();
            self.set_deadline(&self.deadlines.close, CLOSE_WAIT);
        }
        self.stage.set(Stage::Flushing);
    }

    /// The connection is gone; nothing can be sent any more.
    pub(super) fn gone(&self) {
        if self.stage.get() == Stage::Open {
            self.ending.set(Some(CloseReason::PeerGone));
        }
        self.stage.set(Stage::Over);
        self.wake();
    }

    /// Whether the client may still get answers: we have not said close ourselves.
    pub(super) fn may_reply(&self) -> bool {
        matches!(self.ending.get(), None | Some(CloseReason::Bye))
    }

    /// How far the ending has come. What only waited for the queue to empty goes on here.
    pub(super) fn stage(&self) -> Stage {
        if !self.has_output() {
            match self.stage.get() {
                Stage::Flushing => self.stage.set(Stage::Over),
                Stage::Discarding => self.hang_up(),
                Stage::Open | Stage::AwaitingClose | Stage::HungUp | Stage::Over => {}
            }
        }
        self.stage.get()
    }

    fn hang_up(&self) {
        self.stage.set(Stage::HungUp);
        if let Some(transport) = self.transport.get() {
            transport.shut_down_writing();
        }
    }

    /// The client has been heard: it is alive.
    pub(super) fn heard(&self) {
        self.deadlines.pong.set(0);
    }

    /// Does what is due at this tick, and takes the next place in the wheel. `at` is the place that
    /// brought us here; one that does not count any more is passed over.
    pub(super) fn on_tick(&self, at: Tick, now: Tick) {
        let deadlines = &self.deadlines;
        if deadlines.due.get() != at {
            return;
        }
        deadlines.due.set(0);
        let is_due = |deadline: &Cell<Tick>| deadline.get() != 0 && deadline.get() <= now;
        if is_due(&deadlines.close) {
            self.abort();
        } else if is_due(&deadlines.write) {
            deadlines.write.set(0);
            self.end(CloseReason::WriteTimeout);
        } else if is_due(&deadlines.pong) {
            self.end(CloseReason::PingTimeout);
        } else if is_due(&deadlines.expiry) {
            self.end(CloseReason::TokenExpired);
        } else if is_due(&deadlines.drain) {
            self.end(CloseReason::Restarting);
        } else if is_due(&deadlines.ping) {
            self.ping();
        }
        if self.stage.get() != Stage::Over {
            self.schedule();
        }
    }

    /// Closes the session with 1012 this much later.
    pub(super) fn drain_after(&self, delay: Duration) {
        self.set_deadline(&self.deadlines.drain, delay);
    }

    /// A newer token takes the place of the one that the session lives by, unless it would shorten
    /// the session's life: then nothing changes.
    pub(super) fn lengthen(&self, newer: Identity) {
        let before = self.deadlines.expiry.get();
        match newer.expires {
            _ if before == 0 => return,
            None => self.deadlines.expiry.set(0),
            Some(expires) => {
                self.expire_at(expires);
                if before > self.deadlines.expiry.get() {
                    return self.deadlines.expiry.set(before);
                }
            }
        }
        // Revoking the former token must not end what now lives by this one, nor the other way.
        *self.token.borrow_mut() = Token::new(Some(newer), self.core.auth_for(self));
    }

    fn expire_at(&self, expires: SystemTime) {
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        self.set_deadline(&self.deadlines.expiry, left - jitter(left));
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

    /// Ends the bookkeeping: counters and the one log record. The socket is dropped after this.
    pub(super) fn finish(&self) {
        let reason = self.ending.get().unwrap_or(if std::thread::panicking() {
            CloseReason::InternalError
        } else {
            CloseReason::PeerGone
        });
        self.drop_queue_as(MissedReason::SessionEnded);
        self.metrics.closed[reason.index()].add(1);
        let ticks = self.core.wheel.borrow().now().saturating_sub(self.opened);
        let open = super::wheel::TICK * ticks;
        self.core.metrics.session_seconds.observe(open);
        tracing::info!(
            session = %self.id,
            endpoint = &*self.endpoint.name,
            reason = reason.label(),
            delivered = self.delivered.get(),
            missed = self.missed.get(),
            open_secs = open.as_secs_f64(),
            "session closed"
        );
    }

    fn queue_ready(&self) {
        #[derive(Serialize)]
        struct Ready<'a> {
            r#type: &'static str,
            session: String,
            channels: Vec<&'a str>,
        }
        if self.endpoint.format == Format::Raw {
            return;
        }
        let channels = self.channels.iter().map(ChannelName::as_str).collect();
        let ready = Ready { r#type: "ready", session: self.id.to_string(), channels };
        let json = serde_json::to_vec(&ready).expect("strings always serialise");
        self.push_frame(frame(Opcode::Text, &json));
    }

    fn queue_close(&self, reason: CloseReason) {
        let Some(code) = reason.code() else { return };
        let payload = [&code.to_be_bytes()[..], reason.label().as_bytes()].concat();
        self.push_frame(frame(Opcode::Close, &payload));
    }

    fn ping(&self) {
        self.set_deadline(&self.deadlines.ping, self.endpoint.ping_interval);
        // Behind a full socket a ping proves nothing; the write timeout watches that one.
        if self.stage.get() == Stage::Open && !self.has_output() && self.transport.get().is_some() {
            if self.deadlines.pong.get() == 0 {
                self.set_deadline(&self.deadlines.pong, self.endpoint.ping_timeout);
            }
            self.push_frame(frame(Opcode::Ping, &[]));
            self.flush(Instant::now());
        }
    }

    /// At a random moment of the interval, so that sessions opened together are not pinged
    /// together.
    fn schedule_first_ping(&self) {
        let first = self.endpoint.ping_interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.set_deadline(&self.deadlines.ping, first);
    }

    fn set_deadline(&self, deadline: &Cell<Tick>, delay: Duration) {
        deadline.set(self.core.wheel.borrow().after(delay));
        self.schedule();
    }

    fn schedule(&self) {
        let mut wheel = self.core.wheel.borrow_mut();
        self.deadlines.schedule(self.key, &mut wheel);
    }

    /// The client did not take its leave in time. What it did not take is not worth the kernel's
    /// memory.
    fn abort(&self) {
        if self.has_output()
            && let Some(transport) = self.transport.get()
        {
            transport.reset_on_drop();
        }
        self.gone();
    }

    fn drop_queue(&self) {
        self.drop_queue_as(match self.ending.get() {
            Some(CloseReason::SlowConsumer) => MissedReason::SlowConsumer,
            _ => MissedReason::SessionEnded,
        });
    }

    fn drop_queue_as(&self, reason: MissedReason) {
        let dropped = self.queue.borrow_mut().clear(self.endpoint.format);
        self.count_missed(reason, dropped as u64);
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

/// How much earlier a session ends that has this long left: at random, so that those whose tokens were
/// made together do not come back together. Never later, since then the token is not good any more.
fn jitter(left: Duration) -> Duration {
    (left / 10).min(EXPIRY_SPREAD).mul_f64(fastrand::f64())
}

/// Whether what is queued is still worth sending before the close frame: not to one who is too
/// slow for it, or who may not have it any more.
fn flushes_first(reason: CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::SlowConsumer
            | CloseReason::WriteTimeout
            | CloseReason::PingTimeout
            | CloseReason::TokenExpired
            | CloseReason::TokenInvalid
            | CloseReason::Revoked
            | CloseReason::Forbidden
    )
}

/// Whether the client's stream cannot be parsed any further after this.
fn is_violation(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::ProtocolError
            | CloseReason::InvalidUtf8
            | CloseReason::MessageTooBig
            | CloseReason::RateLimited
    )
}

impl Token {
    fn new(identity: Option<Identity>, auth: Arc<Auth>) -> Self {
        let (id, sha256) = identity.map(|it| (it.token_id, it.static_token)).unzip();
        Self { id: id.flatten(), sha256: sha256.flatten(), auth }
    }
}

impl Deadlines {
    /// Forgets all deadlines; the place in the wheel stays.
    fn clear(&self) {
        let all = [&self.ping, &self.pong, &self.write, &self.drain, &self.expiry, &self.close];
        all.iter().for_each(|at| at.set(0));
    }

    /// Takes a place in the wheel at the earliest deadline, unless one as early is taken already.
    fn schedule(&self, key: u32, wheel: &mut Wheel) {
        let all = [&self.ping, &self.pong, &self.write, &self.drain, &self.expiry, &self.close];
        let Some(next) = all.iter().map(|at| at.get()).filter(|&at| at != 0).min() else { return };
        if self.due.get() == 0 || next < self.due.get() {
            self.due.set(next);
            wheel.insert(key, next);
        }
    }
}
