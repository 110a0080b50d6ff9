//! The handshakes under way, at most `max_pending_handshakes`.
//!
//! A handshake first *reads* its request and then *waits* for Redis. Clients that send their
//! request a byte at a time could hold every place until `handshake_timeout`, so when all places
//! are taken the oldest reader loses its own, if it has had time enough to send a request. A
//! handshake that waits for Redis is never cut off so: that is not the client's doing.

use super::{
    by_arrival::{ByArrival, CutOff, TaskNumber},
    lock,
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long a reader may hold its place while others want it: several round trips of a slow link.
const TIME_TO_READ: Duration = Duration::from_millis(500);

/// The places of handshakes under way.
pub(super) struct PendingHandshakes {
    places: Arc<Mutex<Places>>,
    limit: usize,
}

#[derive(Default)]
struct Places {
    reading: ByArrival,
    waiting: usize,
}

/// One handshake's place, given back when dropped.
pub(in crate::server) struct PendingPlace {
    places: Arc<Mutex<Places>>,
    stage: Stage,
    cut_off: CutOff,
}

enum Stage {
    Reading(TaskNumber),
    Waiting,
    /// The place was given to another in the moment when the request was complete.
    Lost,
}

impl PendingHandshakes {
    pub(super) fn new(limit: usize) -> Self {
        Self { places: Arc::default(), limit }
    }

    /// The same places under another limit.
    pub(super) fn with_limit(&self, limit: usize) -> Self {
        Self { places: Arc::clone(&self.places), limit }
    }

    /// Takes a place for a handshake that begins to read; `None` when all are taken.
    pub(super) fn take(&self, now: Instant) -> Option<PendingPlace> {
        let mut places = lock(&self.places);
        if places.reading.len() + places.waiting >= self.limit
            && !places.reading.cut_off_oldest(now.checked_sub(TIME_TO_READ)?)
        {
            return None;
        }
        let (arrival, cut_off) = places.reading.insert(now);
        let stage = Stage::Reading(arrival);
        Some(PendingPlace { places: Arc::clone(&self.places), stage, cut_off })
    }
}

impl PendingPlace {
    /// Resolves when the place was given to another.
    pub(in crate::server) async fn cut_off(&mut self) {
        self.cut_off.wait().await;
    }

    /// The request is complete: from now on this handshake cannot be cut off.
    pub(in crate::server) fn request_is_complete(&mut self) {
        if let Stage::Reading(arrival) = self.stage {
            let mut places = lock(&self.places);
            let still_ours = places.reading.remove(arrival);
            places.waiting += usize::from(still_ours);
            self.stage = if still_ours { Stage::Waiting } else { Stage::Lost };
        }
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        match self.stage {
            Stage::Reading(arrival) => drop(places.reading.remove(arrival)),
            Stage::Waiting => places.waiting -= 1,
            Stage::Lost => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_place_is_given_back_by_a_reader_and_by_a_handshake_that_waits() {
        let (handshakes, now) = (PendingHandshakes::new(2), Instant::now());
        let mut first = handshakes.take(now).unwrap();
        first.request_is_complete();
        let second = handshakes.take(now).unwrap();
        assert!(handshakes.take(now).is_none());
        drop(first);
        let third = handshakes.take(now).unwrap();
        drop(second);
        assert!(handshakes.take(now).is_some());
        drop(third);
        assert_eq!(lock(&handshakes.places).reading.len(), 0);
    }

    #[test]
    fn the_oldest_reader_loses_its_place_once_it_has_had_its_time() {
        let (handshakes, start) = (PendingHandshakes::new(2), Instant::now());
        let mut old = handshakes.take(start).unwrap();
        let mut young = handshakes.take(start + Duration::from_millis(1)).unwrap();
        assert!(handshakes.take(start + TIME_TO_READ - Duration::from_millis(1)).is_none());
        assert_eq!(old.cut_off().now_or_never(), None);
        let new = handshakes.take(start + TIME_TO_READ);
        assert!(new.is_some());
        assert_eq!(old.cut_off().now_or_never(), Some(()));
        assert_eq!(young.cut_off().now_or_never(), None);
        drop(old);
        assert!(handshakes.take(start + TIME_TO_READ).is_none(), "a place was given back twice");
    }

    #[test]
    fn a_place_lost_just_when_the_request_was_complete_is_not_counted_twice() {
        let (handshakes, start) = (PendingHandshakes::new(1), Instant::now());
        let mut late = handshakes.take(start).unwrap();
        let heir = handshakes.take(start + TIME_TO_READ).unwrap();
        late.request_is_complete();
        drop(late);
        assert!(handshakes.take(start).is_none(), "the heir's place was given back");
        drop(heir);
        assert!(handshakes.take(start).is_some());
    }

    #[test]
    fn a_handshake_that_waits_for_redis_is_never_cut_off() {
        let (handshakes, start) = (PendingHandshakes::new(1), Instant::now());
        let mut waiting = handshakes.take(start).unwrap();
        waiting.request_is_complete();
        assert!(handshakes.take(start + 10 * TIME_TO_READ).is_none());
        assert_eq!(waiting.cut_off().now_or_never(), None);
    }
}
