//! One session: its outbound queue, its deadlines, and how it ends.
//!
//! Fan-out and the wheel reach a session through this type, on the shard's thread; reading and
//! waiting for the socket are the work of its [task](super::task). Nothing here waits.

mod closing;
mod deadlines;
mod inline_deque;
mod keepalive;
mod opening;
mod output;
mod queue;

pub(super) use closing::Stage;
pub(super) use queue::Replayed;

use super::{
    context::Context,
    inbound::{FRAME_BURST, FRAMES_PER_TICK},
    publish_rates::PublishSpec,
    reload::{self, SessionFacts},
    wheel::Tick,
};
use crate::{
    auth::Auth,
    carrier::Carrier,
    channel::ChannelName,
    config::Config,
    endpoint::{Endpoint, Origin, Topics},
    identity::{Identity, TokenFingerprint},
    metrics::EndpointMetrics,
    net::Transport,
    reason::CloseReason,
    wire::Codec,
};
use deadlines::Deadlines;
use queue::OutQueue;
use std::{
    cell::{Cell, OnceCell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

/// One session.
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Its place in the shard's slab.
    pub(super) key: u32,
    pub(super) context: Rc<Context>,
    pub(super) endpoint: Arc<Endpoint>,
    metrics: Arc<EndpointMetrics>,
    /// Pub/sub channels, then streams.
    topics: Box<[ChannelName]>,
    /// How many of those are channels. No configuration has templates for more.
    channels: u16,
    pub(super) user: Option<Arc<str>>,
    pub(super) token: RefCell<Token>,
    /// Of that token.
    fingerprint: Cell<Option<TokenFingerprint>>,
    /// Empty until the 101 is out; messages queue up meanwhile.
    pub(super) transport: OnceCell<Transport>,
    queue: RefCell<OutQueue>,
    /// The session's task.
    waker: Cell<Option<Waker>>,
    /// Whether fan-out has put something in the queue in this round.
    dirty: Cell<bool>,
    /// Whether the last frame that a page can see was a heartbeat.
    beating: Cell<bool>,
    /// `None` while the session is open.
    close_reason: Cell<Option<CloseReason>>,
    /// What remains to be done before the socket is dropped.
    stage: Cell<Stage>,
    deadlines: Deadlines,
    /// What the shard counts for this session's queue alone, in bytes.
    private_bytes: Cell<u32>,
    /// Frames that the client may still send, and the tick for which that number holds: at most
    /// [`FRAME_BURST`], so that two bytes are enough.
    allowance: Cell<u16>,
    allowance_at: Cell<Tick>,
    opened: Tick,
    delivered: Cell<u64>,
    /// For the log alone, so that four bytes are enough.
    missed: Cell<u32>,
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

/// What a session is made of, besides its topics and its transport.
pub struct SessionSpec {
    pub endpoint: Arc<Endpoint>,
    /// How everything looks to this client.
    pub codec: Codec,
    /// `None` on an endpoint with `auth = "none"`.
    pub identity: Option<Identity>,
    /// Verifies the token of a `refresh` frame until a reload brings another one.
    pub auth: Arc<Auth>,
    /// When its handshake began: a revocation that came later concerns it.
    pub began: tokio::time::Instant,
    /// Of the configuration that its handshake followed: a reload that came later concerns it.
    pub generation: u64,
    /// What its client may publish; `None`: nothing.
    pub publish: Option<Box<PublishSpec>>,
    /// Where its client may add channels.
    pub origin: Option<Box<Origin>>,
}

/// Which session it is, to those on other threads: its place, and its id, since the place may have a
/// new owner by the time they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionName {
    pub(in crate::shard) key: u32,
    pub(in crate::shard) id: SessionId,
}

#[cfg(test)]
impl SessionName {
    pub(crate) fn for_tests(number: u32) -> Self {
        Self { key: number, id: SessionId(number.into()) }
    }
}

/// A session's name in logs: random, so that it says nothing and cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

impl SessionId {
    fn random() -> Self {
        Self(fastrand::u64(..))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Session {
    /// A session that has nothing to send yet: [`Session::begin`] comes next, with what is to be sent first.
    pub(super) fn new(key: u32, context: Rc<Context>, topics: Topics, spec: SessionSpec) -> Self {
        let SessionSpec { endpoint, codec, identity, auth, .. } = spec;
        let metrics = context.metrics.endpoint(&endpoint.name);
        let opened = context.now();
        let expires = identity.as_ref().and_then(|identity| identity.expires);
        let session = Self {
            id: SessionId::random(),
            key,
            context,
            metrics,
            channels: u16::try_from(topics.channels.len()).expect("templates are few"),
            topics: [topics.channels, topics.streams].concat().into(),
            user: identity.as_ref().map(|identity| Arc::clone(&identity.user)),
            fingerprint: Cell::new(identity.as_ref().and_then(|identity| identity.fingerprint)),
            token: RefCell::new(Token::new(identity, auth)),
            transport: OnceCell::new(),
            queue: RefCell::new(OutQueue::new(codec)),
            waker: Cell::new(None),
            dirty: Cell::new(false),
            beating: Cell::new(false),
            close_reason: Cell::new(None),
            stage: Cell::new(Stage::Open),
            deadlines: Deadlines::default(),
            private_bytes: Cell::new(0),
            allowance: Cell::new(FRAME_BURST),
            allowance_at: Cell::new(opened),
            opened,
            delivered: Cell::new(0),
            missed: Cell::new(0),
            endpoint,
        };
        session.put_heartbeat_off();
        // The ping before the token's end: it is the earlier, so that one place in the wheel is enough for both.
        session.schedule_first_ping();
        if let Some(expires) = expires {
            session.expire_at(expires);
        }
        session
    }

    /// Its pub/sub channels.
    pub(super) fn channels(&self) -> &[ChannelName] {
        &self.topics[..self.channels.into()]
    }

    /// Its streams.
    pub(super) fn streams(&self) -> &[ChannelName] {
        &self.topics[self.channels.into()..]
    }

    /// Whether its endpoint gives this identity all that the session has.
    pub(super) fn is_still_given(&self, identity: &Identity) -> bool {
        self.endpoint.still_gives(identity, self.channels(), self.streams())
    }

    pub(super) fn name(&self) -> SessionName {
        SessionName { key: self.key, id: self.id }
    }

    /// How everything looks to this client.
    pub(super) fn codec(&self) -> Codec {
        self.queue.borrow().codec()
    }

    /// What it is carried by.
    pub(super) fn carrier(&self) -> Carrier {
        self.codec().carrier()
    }

    /// Takes this many frames off what the client may send. `false`: it has sent too many.
    pub(super) fn may_send(&self, frames: u32) -> bool {
        let now = self.context.now();
        let regained = (now - self.allowance_at.replace(now)).saturating_mul(FRAMES_PER_TICK);
        let regained = u16::try_from(regained).unwrap_or(u16::MAX);
        let left = self.allowance.get().saturating_add(regained).min(FRAME_BURST);
        let frames = u16::try_from(frames).unwrap_or(u16::MAX);
        self.allowance.set(left.saturating_sub(frames));
        frames <= left
    }

    /// Whether more may be read of the client. What is thrown away is bounded: beyond that, its own socket
    /// holds it back.
    pub(super) fn may_read(&self) -> bool {
        match self.stage.get() {
            Stage::Discarding | Stage::HalfClosed => {
                let left = self.allowance.get();
                self.allowance.set(left.saturating_sub(1));
                left > 0
            }
            _ => true,
        }
    }

    /// Gives back frames that another limit has let through.
    pub(super) fn may_send_again(&self, frames: u16) {
        self.allowance.set(self.allowance.get().saturating_add(frames).min(FRAME_BURST));
    }

    /// Why the session cannot go on under this configuration; `None` when it can.
    pub(super) fn close_reason_under(&self, config: &Config) -> Option<CloseReason> {
        let token = self.token.borrow();
        let facts = SessionFacts {
            endpoint: &self.endpoint,
            carrier: self.carrier(),
            static_token: token.sha256.as_deref(),
            auth: &token.auth,
        };
        reload::close_reason(&facts, config)
    }

    /// Ends the session when it cannot go on under this configuration.
    pub(super) fn recheck(&self, config: &Config) {
        if let Some(reason) = self.close_reason_under(config) {
            self.end(reason);
        }
    }

    /// Whether it lives by this very token.
    pub(super) fn lives_by(&self, token: &str) -> bool {
        self.fingerprint.get() == Some(TokenFingerprint::of(token))
    }

    /// What its next token is verified by: the latest keys, not those it opened with.
    pub(super) fn auth(&self) -> Arc<Auth> {
        self.context.config().map_or_else(
            || Arc::clone(&self.token.borrow().auth),
            |config| Arc::clone(&config.auth),
        )
    }

    /// Remembers the task to wake.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
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
