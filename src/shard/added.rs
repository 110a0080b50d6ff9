//! What sessions have added to what they opened with, or wait for: the state of it, by session.
//!
//! Kept beside the sessions, so that a session that may add nothing takes no memory for it.

use crate::{
    channel::ChannelName,
    endpoint::{Allowed, AllowedAs, Endpoint, Origin},
    wire::Reference,
};
use hashbrown::HashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{task::AbortHandle, time::Instant};

/// The pace of subscribes once a burst is used up.
const PACE: Duration = Duration::from_millis(100);

/// By the session's key.
pub(super) type AddedTopics = RefCell<HashMap<u32, Rc<Added>, foldhash::fast::RandomState>>;

/// What one session has added.
#[derive(Default)]
pub(super) struct Added {
    origin: RefCell<Origin>,
    /// What it may add, by the endpoint of the latest configuration; filled by its first subscribe.
    allowed: RefCell<Option<(Arc<Endpoint>, Allowed)>>,
    pub(super) topics: RefCell<HashMap<ChannelName, Place, foldhash::fast::RandomState>>,
    /// The moment up to which subscribes are used up.
    spent: Cell<Option<Instant>>,
}

/// The state of an added channel or stream.
pub(super) enum Place {
    Underway(Underway),
    /// Its messages come to the session.
    Joined(AllowedAs),
}

/// A subscribe that Redis has not answered.
pub(super) struct Underway {
    pub(super) kind: AllowedAs,
    pub(super) task: AbortHandle,
    /// The references of the subscribe, and of later ones for the same name.
    pub(super) references: Vec<Option<Reference>>,
}

impl Added {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin: RefCell::new(origin), ..Self::default() }
    }

    /// Takes over a newer token of the session.
    pub(super) fn renew(&self, identity: crate::identity::Identity) {
        self.origin.borrow_mut().identity = Some(identity);
        *self.allowed.borrow_mut() = None;
    }

    /// What the client may add this name as; `None`: not at all.
    pub(super) fn allows(&self, name: &str, endpoint: &Arc<Endpoint>) -> Option<AllowedAs> {
        let mut known = self.allowed.borrow_mut();
        if let Some((by, allowed)) = &*known
            && Arc::ptr_eq(by, endpoint)
        {
            return allowed.find(name);
        }
        let origin = self.origin.borrow();
        let allowed = Allowed::new(endpoint, &endpoint.dynamic, &origin.values());
        known.insert((Arc::clone(endpoint), allowed)).1.find(name)
    }

    /// Whether messages of this channel or stream come to the session because it added that.
    pub(super) fn has_joined(&self, name: &str) -> bool {
        matches!(self.topics.borrow().get(name), Some(Place::Joined(_)))
    }

    /// The channels that it has joined.
    pub(super) fn channels(&self) -> Vec<ChannelName> {
        let topics = self.topics.borrow();
        let is_channel = |place: &Place| matches!(place, Place::Joined(AllowedAs::Channel));
        topics.iter().filter(|(_, place)| is_channel(place)).map(|(name, _)| name.clone()).collect()
    }

    /// Takes one subscribe off what the client may send, of which this many may come at once.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn spend(&self, burst: u32, now: Instant) -> Result<(), Duration> {
        let spent = self.spent.get().map_or(now, |spent| spent.max(now));
        let ahead = spent - now;
        if ahead > PACE * burst.saturating_sub(1) {
            return Err(ahead - PACE * burst.saturating_sub(1));
        }
        self.spent.set(Some(spent + PACE));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_ten_a_second() {
        let (added, now) = (Added::default(), Instant::now());
        for _ in 0..64 {
            assert_eq!(added.spend(64, now), Ok(()));
        }
        assert_eq!(added.spend(64, now), Err(PACE));
        assert_eq!(added.spend(64, now + PACE / 2), Err(PACE / 2));
        assert_eq!(added.spend(64, now + PACE), Ok(()));
        assert_eq!(added.spend(64, now + PACE), Err(PACE));
        let later = now + Duration::from_secs(60);
        let passed = (0..1_000).filter(|_| added.spend(64, later).is_ok()).count();
        assert_eq!(passed, 64, "no more than a burst is saved up");
    }
}
