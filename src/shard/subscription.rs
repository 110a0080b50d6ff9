//! From wanted channels to a running session: join, open, start.

use super::{
    SessionId, Shard,
    core::Core,
    session::{Parts, Session},
    task::SessionTask,
};
use crate::{
    auth::Auth, channel::ChannelName, endpoint::Endpoint, identity::Identity, net::Transport,
    reason::Refusal,
};
use bytes::Bytes;
use std::{future::poll_fn, mem, rc::Rc, sync::Arc};

/// What the kernel may hold of a client's unsent bytes.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A place in channels that are all held, not yet taken by a session. Dropping it leaves them.
pub struct Subscription {
    core: Rc<Core>,
    channels: Box<[ChannelName]>,
}

/// What a session is made of, besides its seat and its transport.
pub struct SessionSpec<P> {
    pub endpoint: Arc<Endpoint>,
    /// `None` on an endpoint with `auth = "none"`.
    pub identity: Option<Identity>,
    /// Verifies the token of a `refresh` frame.
    pub auth: Arc<Auth>,
    /// Dropped when the session has ended: gives back what admission counted.
    pub permit: P,
}

/// A session whose 101 is on its way. Dropping it instead of [`PendingSession::start`] ends the session as
/// `peer_gone`.
pub struct PendingSession<P> {
    session: Rc<Session>,
    /// `None` once the session's task has it.
    permit: Option<P>,
}

impl Shard {
    /// Joins channels and waits until Redis has confirmed every one. Dropping the future, or the
    /// seat, leaves them again. It never times out by itself.
    ///
    /// # Errors
    /// [`Refusal::RedisUnavailable`] at once when there is no link, [`Refusal::ChannelRefused`]
    /// when Redis refuses one of them.
    pub async fn join(&self, channels: Vec<ChannelName>) -> Result<Subscription, Refusal> {
        let seat = Subscription::take(Rc::clone(&self.core), channels.into_boxed_slice());
        poll_fn(|cx| self.core.hub.borrow_mut().poll_subscribed(&seat.channels, cx)).await?;
        Ok(seat)
    }
}

impl Subscription {
    fn take(core: Rc<Core>, channels: Box<[ChannelName]>) -> Self {
        channels.iter().for_each(|channel| core.hub.borrow_mut().acquire(channel));
        core.hub_changed();
        Self { core, channels }
    }

    /// Starts to queue the channels' messages for a session. Call it before the 101 leaves: in the
    /// other order a message published between the two would be lost although the client already
    /// believes that it is listening.
    ///
    /// # Panics
    /// When a shard has more than `u32::MAX` sessions; descriptors end long before.
    #[must_use]
    pub fn open<P>(mut self, opening: SessionSpec<P>) -> PendingSession<P> {
        // The seats pass to the session, which gives them back when it is dismissed.
        let channels = mem::take(&mut self.channels);
        let core = Rc::clone(&self.core);
        let mut sessions = self.core.sessions.borrow_mut();
        let place = sessions.vacant_entry();
        let key = u32::try_from(place.key()).expect("a shard has fewer sessions than descriptors");
        let SessionSpec { endpoint, identity, auth, permit } = opening;
        let parts = Parts { key, core, endpoint, channels, identity, auth };
        let session = Rc::new(Session::new(parts));
        place.insert(Rc::clone(&session));
        drop(sessions);
        self.core.insert(&session);
        PendingSession { session, permit: Some(permit) }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.channels.iter().for_each(|channel| self.core.hub.borrow_mut().release(channel));
        self.core.hub_changed();
    }
}

impl<P: Unpin + 'static> PendingSession<P> {
    /// The session's name in logs and in the `ready` frame.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.session.id
    }

    /// Runs the session over its transport. `early` is what the client sent behind its request.
    pub fn start(mut self, transport: Transport, early: &Bytes) {
        transport.bound_unsent(UNSENT_BYTES);
        let unused = self.session.transport.set(transport);
        debug_assert!(unused.is_ok(), "a session starts once");
        let mut task = SessionTask::new(Rc::clone(&self.session), self.permit.take());
        task.take_early(early);
        tokio::task::spawn_local(task);
    }
}

impl<P> Drop for PendingSession<P> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.session.core.remove(&self.session);
        }
    }
}
