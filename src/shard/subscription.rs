//! From topics to a running session: subscribe, open, start.

use super::{
    catch_up::{self, Resume, Source},
    memory::ReplayRoom,
    publish_rates::PublishSpec,
    registry::{Registered, Registry},
    session::{SessionId, SessionName, SessionSpec},
    task::SessionTask,
};
use crate::{
    channel::ChannelName,
    endpoint::{Endpoint, Topics},
    net::Transport,
    reason::Refusal,
};
use bytes::Bytes;
use std::{future::poll_fn, mem, rc::Rc, time::Instant};

/// What the kernel may hold of a client's unsent bytes.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A place in topics for a session that has not opened yet. Dropping it gives the places back; from
/// [`Subscription::open`] on the session has them.
pub struct Subscription {
    registry: Rc<Registry>,
    topics: Topics,
    /// For what the session is to be given from before it, while that is read.
    room: Option<ReplayRoom>,
}

/// A session whose 101 is not out yet. Dropping it instead of [`PendingSession::start`] ends the
/// session as `peer_gone`.
pub struct PendingSession<P = ()> {
    session: Registered,
    publish: Option<Box<PublishSpec>>,
    /// Where its user is to be shown from its start on.
    room: Option<ChannelName>,
    permit: P,
}

impl Subscription {
    /// See [`Shard::subscribe`](super::Shard::subscribe).
    pub(super) async fn acquire(registry: &Rc<Registry>, topics: Topics) -> Result<Self, Refusal> {
        topics.channels.iter().for_each(|it| registry.hub.borrow_mut().acquire(it));
        topics.streams.iter().for_each(|it| registry.streams.hub.borrow_mut().acquire(it));
        registry.hub_changed();
        let acquired = Self { registry: Rc::clone(registry), topics, room: None };
        let Topics { channels, streams, .. } = &acquired.topics;
        poll_fn(|cx| registry.hub.borrow_mut().poll_subscribed(channels, cx)).await?;
        poll_fn(|cx| registry.streams.hub.borrow_mut().poll_subscribed(streams, cx)).await?;
        Ok(acquired)
    }

    /// Waits until the shard has room for what the session is to be given from before it. Cancel-safe.
    pub async fn make_room(&mut self, endpoint: &Endpoint, resume: &Resume) {
        if catch_up::is_asked(&self.topics.streams, resume, endpoint) {
            let bytes = catch_up::most_memory(&endpoint.replay);
            self.room = Some(self.registry.context.memory.room_for_replay(bytes).await);
        }
    }

    /// Reads what the session is to be given from before it, and starts to queue what comes for it. Call
    /// it before the 101 leaves: in the other order a message published between the two would be lost
    /// although the client already believes that it is listening. Without streams it waits for nothing.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`]: a stream cannot be read.
    /// [`Refusal::AtCapacity`]: what was read takes more memory than other replays leave.
    ///
    /// # Panics
    /// When a shard has more than `u32::MAX` sessions; descriptors end long before.
    pub async fn open(
        mut self,
        mut spec: SessionSpec,
        resume: &Resume,
    ) -> Result<PendingSession, Refusal> {
        let registry = Rc::clone(&self.registry);
        let began = Instant::now();
        let is_asked = self.room.is_some();
        let room = self.room.take().unwrap_or_else(|| registry.context.memory.no_room());
        let source = Source::new(&registry.streams, &room, spec.codec, &spec.endpoint, resume);
        let before = source.before(&self.topics.streams, &resume.since).await?;
        let publish = spec.publish.take();
        let room = self.topics.presence.take();
        let session = registry.insert(mem::take(&mut self.topics), spec);
        let beginning = source.beginning(&**session, before).await?;
        session.count_replays(&beginning.ready);
        if is_asked {
            registry.context.metrics.replay_seconds.observe(began.elapsed());
        }
        session.begin(&beginning.ready, beginning.replay);
        Ok(PendingSession { session, publish, room, permit: () })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Topics { channels, streams, .. } = &self.topics;
        channels.iter().for_each(|it| self.registry.hub.borrow_mut().release(it));
        streams.iter().for_each(|it| self.registry.streams.hub.borrow_mut().release(it));
        self.registry.hub_changed();
    }
}

impl<P> PendingSession<P> {
    /// The session's name in logs and in the `ready` frame.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Which session of this shard it is.
    #[must_use]
    pub fn name(&self) -> SessionName {
        self.session.name()
    }

    /// With this, which is dropped when the session has ended.
    #[must_use]
    pub fn with_permit<Q>(self, permit: Q) -> PendingSession<Q> {
        let Self { session, publish, room, permit: _ } = self;
        PendingSession { session, publish, room, permit }
    }

    /// What is dropped when the session has ended.
    pub fn permit(&mut self) -> &mut P {
        &mut self.permit
    }
}

impl<P: Unpin + 'static> PendingSession<P> {
    /// Runs the session over its transport. `early` is what the client sent behind its request.
    pub fn start(self, transport: Transport, early: &Bytes) {
        transport.bound_unsent(UNSENT_BYTES);
        let unused = self.session.transport.set(transport);
        debug_assert!(unused.is_ok(), "a session starts once");
        self.session.show(self.room.as_ref());
        let mut task = SessionTask::new(self.session, self.publish, self.permit);
        task.take_early(early);
        tokio::task::spawn_local(task);
    }
}
