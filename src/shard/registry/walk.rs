//! Walks over all sessions of a shard, a slice at a time: other tasks have their turn between two slices.

use super::{FLUSHES_AT_ONCE, Registry};
use crate::{
    channel::ChannelName,
    reason::{CloseReason, TakenAway},
    shard::session::Session,
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

/// How long a walk over all sessions may hold the thread before other tasks have their turn. More is a
/// delay that clients notice, less makes the walk itself dearer.
const SLICE: Duration = Duration::from_millis(1);

/// Sessions visited between two looks at the clock.
const VISITS: usize = 16;

impl Registry {
    /// Visits every session that is there all the while, and yields between slices. Those that come
    /// meanwhile may be visited too.
    pub(in crate::shard) async fn visit_sessions(&self, mut visit: impl FnMut(&Session)) {
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
    pub(in crate::shard) fn drain(self: &Rc<Self>, spread: Duration) {
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

    /// Ends the sessions of a channel or stream that Redis has taken away; those that have added it go on
    /// without.
    pub(super) async fn end_members(self: Rc<Self>, keys: Vec<u32>, topic: ChannelName) {
        for some in keys.chunks(FLUSHES_AT_ONCE) {
            for &key in some {
                let session = self.sessions.borrow().get(key as usize).cloned();
                // A key may have a new owner by now.
                match session {
                    Some(session) if session.is_fixed(&topic) => {
                        session.end(CloseReason::ChannelRefused);
                    }
                    Some(session) => {
                        self.take_away(&session, &topic, TakenAway::ChannelRefused);
                    }
                    None => {}
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
