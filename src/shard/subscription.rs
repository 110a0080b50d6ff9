//! From channels to a running session: subscribe, open, start.

use super::{
    registry::{Registered, Registry},
    session::{SessionId, SessionName, SessionSpec},
    task::SessionTask,
};
use crate::{channel::ChannelName, net::Transport, reason::Refusal};
use bytes::Bytes;
use std::{future::poll_fn, mem, rc::Rc};

/// What the kernel may hold of a client's unsent bytes.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A place in channels for a session that has not opened yet. Dropping it gives the places back; from
/// [`Subscription::open`] on the session has them.
pub struct Subscription {
    registry: Rc<Registry>,
    channels: Box<[ChannelName]>,
}

/// A session whose 101 is not out yet. Dropping it instead of [`PendingSession::start`] ends the
/// session as `peer_gone`.
pub struct PendingSession<P> {
    session: Registered,
    permit: P,
}

impl Subscription {
    /// See [`Shard::subscribe`](super::Shard::subscribe).
    pub(super) async fn acquire(
        registry: &Rc<Registry>,
        channels: Vec<ChannelName>,
    ) -> Result<Self, Refusal> {
        channels.iter().for_each(|channel| registry.hub.borrow_mut().acquire(channel));
        registry.hub_changed();
        let acquired = Self { registry: Rc::clone(registry), channels: channels.into() };
        poll_fn(|cx| registry.hub.borrow_mut().poll_subscribed(&acquired.channels, cx)).await?;
        Ok(acquired)
    }

    /// Starts to queue the channels' messages for a session. Call it before the 101 leaves: in the
    /// other order a message published between the two would be lost although the client already
    /// believes that it is listening. `permit` is dropped when the session has ended.
    ///
    /// # Panics
    /// When a shard has more than `u32::MAX` sessions; descriptors end long before.
    #[must_use]
    pub fn open<P>(mut self, spec: SessionSpec, permit: P) -> PendingSession<P> {
        let channels = mem::take(&mut self.channels);
        PendingSession { session: self.registry.insert(channels, spec), permit }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.channels.iter().for_each(|channel| self.registry.hub.borrow_mut().release(channel));
        self.registry.hub_changed();
    }
}

impl<P: Unpin + 'static> PendingSession<P> {
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

    /// What is dropped when the session has ended.
    pub fn permit(&mut self) -> &mut P {
        &mut self.permit
    }

    /// Runs the session over its transport. `early` is what the client sent behind its request.
    pub fn start(self, transport: Transport, early: &Bytes) {
        transport.bound_unsent(UNSENT_BYTES);
        let unused = self.session.transport.set(transport);
        debug_assert!(unused.is_ok(), "a session starts once");
        let mut task = SessionTask::new(self.session, self.permit);
        task.take_early(early);
        tokio::task::spawn_local(task);
    }
}
