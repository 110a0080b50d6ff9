//! The sessions of each user, at most `max_sessions_per_user`.
//!
//! A session whose network is gone stays until its ping times out. With `on_user_limit = "refuse"` it counts
//! like any other, and may keep its own user out for so long. With `"replace"` nobody is refused: when a session
//! opens that is one too many, the user's oldest is closed and its place is free at once, however long its
//! client takes to answer. Only open sessions count then, so that no handshake that fails costs a session.
//! The oldest is the one whose handshake came first: two shards may learn in either order that their sessions
//! are open, but who opens a second one after the 101 of the first must keep the second.

use super::lock;
use crate::{config::OnUserLimit, reason::CloseReason, shard::SessionHandle};
use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
};

/// A number of places for each user.
pub(super) struct UserLimit {
    users: Arc<Mutex<Users>>,
    limit: usize,
    on_limit: OnUserLimit,
}

#[derive(Default)]
struct Users {
    places: HashMap<Arc<str>, Places>,
    /// Handshakes that took a place so far.
    taken: PlaceNumber,
}

/// In the order of the handshakes.
type PlaceNumber = u64;

#[derive(Default)]
struct Places {
    handshakes: usize,
    /// In the order of their numbers.
    sessions: VecDeque<(PlaceNumber, SessionHandle)>,
}

/// One place of a user, given back when dropped. A user without places takes no memory.
pub(in crate::server) struct UserPlace {
    users: Arc<Mutex<Users>>,
    user: Arc<str>,
    number: PlaceNumber,
    /// Whether the handshake has come to a session.
    open: bool,
}

impl UserLimit {
    pub(super) fn new(limit: NonZeroUsize, on_limit: OnUserLimit) -> Self {
        Self { users: Arc::default(), limit: limit.get(), on_limit }
    }

    /// Under another limit; what `old` counts stays counted.
    pub(super) fn with_limit(
        old: Option<&Self>,
        limit: NonZeroUsize,
        on_limit: OnUserLimit,
    ) -> Self {
        let users = old.map(|old| Arc::clone(&old.users)).unwrap_or_default();
        Self { users, limit: limit.get(), on_limit }
    }

    /// Takes a place for a handshake; `None` when there is none.
    pub(super) fn take(&self, user: &Arc<str>) -> Option<UserPlace> {
        let mut users = lock(&self.users);
        users.taken += 1;
        let number = users.taken;
        let places = users.places.entry(Arc::clone(user)).or_default();
        if self.on_limit == OnUserLimit::Refuse
            && places.handshakes + places.sessions.len() >= self.limit
        {
            return None;
        }
        places.handshakes += 1;
        let (users, user) = (Arc::clone(&self.users), Arc::clone(user));
        Some(UserPlace { users, user, number, open: false })
    }

    /// The handshake has come to a session. With `"replace"` the oldest sessions beyond the limit are closed.
    pub(super) fn opened(&self, place: &mut UserPlace, session: SessionHandle) {
        for replaced in self.enter(place, session) {
            replaced.close(CloseReason::Replaced);
        }
    }

    /// Enters a session and takes out those beyond the limit: itself, where newer ones were faster.
    fn enter(&self, place: &mut UserPlace, session: SessionHandle) -> Vec<SessionHandle> {
        let mut users = lock(&place.users);
        let Some(places) = users.places.get_mut(&place.user) else { return Vec::new() };
        places.handshakes -= 1;
        let at = places.sessions.partition_point(|&(number, _)| number < place.number);
        places.sessions.insert(at, (place.number, session));
        place.open = true;
        let beyond = match self.on_limit {
            OnUserLimit::Refuse => 0,
            OnUserLimit::Replace => places.sessions.len().saturating_sub(self.limit),
        };
        places.sessions.drain(..beyond).map(|(_, session)| session).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.users).places.is_empty()
    }
}

impl Places {
    fn give_back(&mut self, number: PlaceNumber, open: bool) {
        if !open {
            self.handshakes -= 1;
            return;
        }
        // Not found: another session has its place.
        if let Ok(at) = self.sessions.binary_search_by_key(&number, |&(number, _)| number) {
            self.sessions.remove(at);
        }
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut users = lock(&self.users);
        let Some(places) = users.places.get_mut(&self.user) else { return };
        places.give_back(self.number, self.open);
        if places.handshakes == 0 && places.sessions.is_empty() {
            users.places.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{SessionName, ShardCommand, ShardHandle};

    fn limit(limit: usize, on_limit: OnUserLimit) -> UserLimit {
        UserLimit::new(NonZeroUsize::new(limit).unwrap(), on_limit)
    }

    /// Takes a place of user 42 and opens the session of this name.
    fn open(users: &UserLimit, shard: &ShardHandle, number: u32) -> Option<UserPlace> {
        let mut place = users.take(&"42".into())?;
        let name = SessionName::for_tests(number);
        users.opened(&mut place, SessionHandle::new(shard.clone(), name));
        Some(place)
    }

    #[test]
    fn the_oldest_session_makes_room_and_its_end_gives_nothing_back_twice() {
        let (shard, mut told) = ShardHandle::for_tests();
        let users = limit(2, OnUserLimit::Replace);
        let mut places: Vec<_> = (0..2).map(|n| open(&users, &shard, n)).collect();
        assert!(told.try_recv().is_err(), "closed below the limit");
        places.push(open(&users, &shard, 2));
        let Ok(ShardCommand::Close { session, reason }) = told.try_recv() else { panic!("no") };
        assert_eq!((session, reason), (SessionName::for_tests(0), CloseReason::Replaced));
        drop(places.remove(0));
        places.push(open(&users, &shard, 3));
        let Ok(ShardCommand::Close { session, .. }) = told.try_recv() else { panic!("no") };
        assert_eq!(session, SessionName::for_tests(1));
        drop(places);
        assert!(users.is_empty(), "users without sessions take memory");
    }

    #[test]
    fn the_older_handshake_is_replaced_though_its_session_is_entered_last() {
        let (shard, mut told) = ShardHandle::for_tests();
        let users = limit(1, OnUserLimit::Replace);
        let mut older = users.take(&"42".into()).unwrap();
        let mut newer = users.take(&"42".into()).unwrap();
        let handle = |number| SessionHandle::new(shard.clone(), SessionName::for_tests(number));
        users.opened(&mut newer, handle(1));
        assert!(told.try_recv().is_err(), "a handshake costs nobody a session");
        users.opened(&mut older, handle(0));
        let Ok(ShardCommand::Close { session, .. }) = told.try_recv() else { panic!("no") };
        assert_eq!(session, SessionName::for_tests(0));
        drop((older, newer));
        assert!(users.is_empty());
    }

    #[test]
    fn a_handshake_that_comes_to_nothing_replaces_nobody() {
        let (shard, mut told) = ShardHandle::for_tests();
        let users = limit(1, OnUserLimit::Replace);
        let _first = open(&users, &shard, 0);
        drop((users.take(&"42".into()), users.take(&"42".into())));
        assert!(told.try_recv().is_err());
        let _second = open(&users, &shard, 1);
        assert!(told.try_recv().is_ok());
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_lower_limit_that_a_reload_brings_is_met_when_the_next_session_opens() {
        let (shard, mut told) = ShardHandle::for_tests();
        let before = limit(3, OnUserLimit::Refuse);
        let _three: Vec<_> = (0..3).map(|n| open(&before, &shard, n).unwrap()).collect();
        assert!(open(&before, &shard, 3).is_none());
        let one = NonZeroUsize::MIN;
        let after = UserLimit::with_limit(Some(&before), one, OnUserLimit::Replace);
        let _fourth = open(&after, &shard, 4);
        let closed = std::iter::from_fn(|| told.try_recv().ok()).count();
        assert_eq!(closed, 3);
    }
}
