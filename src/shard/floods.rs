//! Users of whom a session was closed because its client sent too much (1008). Their next handshake waits for a
//! moment. Else such a client comes back at once and floods again, and opening its sessions costs more than its
//! frames.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long it waits.
const PAUSE: Duration = Duration::from_secs(1);

/// The users of this instance that were closed a moment ago, on whichever shard.
#[derive(Debug, Default)]
pub struct Floods {
    /// Nearly always none, and then no handshake takes the lock.
    count: AtomicUsize,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    paused: HashMap<Arc<str>, Instant>,
    /// In the order in which they end. Only what [`Users::paused`] has of a user counts.
    ends: VecDeque<(Instant, Arc<str>)>,
}

impl Floods {
    /// A session of this user is closed for it.
    pub(super) fn add(&self, user: &Arc<str>, now: Instant) {
        self.look(now, |users| {
            let end = now + PAUSE;
            users.paused.insert(Arc::clone(user), end);
            users.ends.push_back((end, Arc::clone(user)));
        });
    }

    /// Until when this user's handshakes wait; `None`: they do not.
    #[must_use]
    pub fn pause_of(&self, user: &str, now: Instant) -> Option<Instant> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.look(now, |users| users.paused.get(user).copied())
    }

    fn look<T>(&self, now: Instant, work: impl FnOnce(&mut Users) -> T) -> T {
        // Nothing that holds it can panic half-way.
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.expire(now);
        let done = work(&mut users);
        self.count.store(users.paused.len(), Ordering::Relaxed);
        done
    }
}

impl Users {
    fn expire(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now)
            && let Some((_, user)) = self.ends.pop_front()
        {
            if self.paused.get(&user).is_some_and(|end| *end <= now) {
                self.paused.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_waits_from_its_last_flood_on_and_nobody_else_does() {
        let (floods, start) = (Floods::default(), Instant::now());
        let (ann, half) = (Arc::from("ann"), PAUSE / 2);
        assert_eq!(floods.pause_of("ann", start), None);
        floods.add(&ann, start);
        floods.add(&ann, start + half);
        assert_eq!(floods.pause_of("bob", start), None);
        for now in [start + half, start + PAUSE] {
            assert_eq!(floods.pause_of("ann", now), Some(start + half + PAUSE));
        }
        assert_eq!(floods.pause_of("ann", start + half + PAUSE), None);
        let users = floods.users.lock().unwrap();
        assert!(users.paused.is_empty() && users.ends.is_empty());
        assert_eq!(floods.count.load(Ordering::Relaxed), 0);
    }
}
