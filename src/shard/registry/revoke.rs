//! Revocations: whom they end, and how long they are remembered.

use super::Registry;
use crate::{
    bus::Revoke,
    reason::CloseReason,
    shard::{session::Session, wheel::TICK},
};
use std::{rc::Rc, time::Duration};

/// How long a handshake may take before the shard has been told its configuration.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Registry {
    /// Ends the sessions that are revoked, and remembers the revocation for those that are about to open.
    pub(in crate::shard) async fn revoke(self: &Rc<Self>, revoke: Revoke) {
        // First: a session that opens while the others are visited is checked.
        self.revocations.borrow_mut().remember(revoke.clone(), tokio::time::Instant::now());
        if revoke == Revoke::Everyone {
            tokio::task::spawn_local(Rc::clone(self).revoke_everyone());
            return;
        }
        let close = |session: &Session| {
            let is_revoked = match &revoke {
                Revoke::Everyone => false,
                Revoke::User(user) => session.user.as_ref() == Some(user),
                Revoke::Token(id) => session.token.borrow().id.as_ref() == Some(id),
            };
            if is_revoked {
                session.end(CloseReason::Revoked);
            }
        };
        self.visit_sessions(close).await;
    }

    /// Ends every session that has an identity, a few with each tick, all within `shutdown.spread`.
    async fn revoke_everyone(self: Rc<Self>) {
        let spread = self.context.config().map_or(Duration::ZERO, |config| config.shutdown.spread);
        let mut all = Vec::new();
        let note = |session: &Session| {
            if session.user.is_some() {
                all.push(session.name());
            }
        };
        self.visit_sessions(note).await;
        fastrand::shuffle(&mut all);
        let ticks = usize::try_from(spread.as_millis() / TICK.as_millis()).unwrap_or(1).max(1);
        for some in all.chunks(all.len().div_ceil(ticks).max(1)) {
            some.iter().for_each(|&name| self.close(name, CloseReason::Revoked));
            tokio::time::sleep(TICK).await;
        }
    }

    /// Whether the token that a session lives by was revoked, or its user since `began`.
    pub(super) fn is_revoked(&self, session: &Session, began: tokio::time::Instant) -> bool {
        let revocations = self.revocations.borrow();
        session.user.as_ref().is_some_and(|user| revocations.of_user(user, began))
            || session.token.borrow().id.as_ref().is_some_and(|id| revocations.of_token(id))
    }

    /// Forgets the revocations that no handshake can have missed.
    pub(in crate::shard) fn forget_revocations(&self) {
        let timeout = self.context.config().map(|config| config.server.handshake_timeout);
        let now = tokio::time::Instant::now();
        self.revocations.borrow_mut().expire(timeout.unwrap_or(HANDSHAKE_TIMEOUT), now);
    }
}
