//! The latest revocations, remembered for those who were shaking hands when they came.
//!
//! A session that opens was perhaps not yet there when its user was revoked, although its token had been
//! verified before. So each revocation is kept for as long as a handshake may take, and asked when a session
//! opens or takes a newer token. Bounded: beyond [`MOST`] the oldest are forgotten, with a warning.

use crate::{bus::Revoke, log_throttle::LogThrottle};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Revocations remembered; about 100 bytes each.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Revocations {
    /// When each came last; that for everyone, too.
    latest: HashMap<Revoke, Instant>,
    /// In the order in which they came, those that came again at both places.
    order: VecDeque<(Instant, Revoke)>,
    forgotten: LogThrottle,
}

impl Revocations {
    pub(super) fn remember(&mut self, revoke: Revoke, now: Instant) {
        if self.order.len() == MOST {
            self.forget_oldest();
            if let Some(before) = self.forgotten.to_log(now.into_std()) {
                tracing::warn!(
                    before,
                    "too many revocations at once: a handshake under way may miss one"
                );
            }
        }
        self.latest.insert(revoke.clone(), now);
        self.order.push_back((now, revoke));
    }

    /// Forgets those that came longer ago than a handshake may take.
    pub(super) fn expire(&mut self, handshake_timeout: Duration, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| now - *at > handshake_timeout) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((at, revoke)) = self.order.pop_front()
            && self.latest.get(&revoke) == Some(&at)
        {
            self.latest.remove(&revoke);
        }
    }

    /// Whether this user was revoked at `since` or later. A revocation before it does not concern a new session.
    pub(super) fn of_user(&self, user: &Arc<str>, since: Instant) -> bool {
        [Revoke::User(Arc::clone(user)), Revoke::Everyone]
            .iter()
            .any(|revoke| self.latest.get(revoke).is_some_and(|&at| at >= since))
    }

    /// Whether the token of this name was revoked a moment ago: it does not become good again.
    pub(super) fn of_token(&self, id: &Arc<str>) -> bool {
        self.latest.contains_key(&Revoke::Token(Arc::clone(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_revocations_is_bounded_and_the_latest_are_kept() {
        let (mut revocations, now) = (Revocations::default(), Instant::now());
        let user = |n: usize| Arc::from(n.to_string());
        for n in 0..MOST + 10 {
            revocations.remember(Revoke::User(user(n)), now);
        }
        assert_eq!((revocations.order.len(), revocations.latest.len()), (MOST, MOST));
        assert!(!revocations.of_user(&user(9), now));
        assert!(revocations.of_user(&user(10), now));
        revocations.expire(Duration::from_secs(10), now + Duration::from_secs(11));
        assert_eq!((revocations.order.len(), revocations.latest.len()), (0, 0));
    }
}
