//! The handshakes under way, at most `max_pending_handshakes`.
//!
//! A handshake first *reads* its request and then *waits* for Redis. Clients that send their
//! request a byte at a time could hold every place until `handshake_timeout`, so when all places
//! are taken the oldest reader gives up its own, if it has had time enough to send a request.
//! Who waits for Redis is never cut off so: that is not the client's doing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long a reader may hold its place while others want it: several round trips of a slow link.
const TIME_TO_READ: Duration = Duration::from_millis(500);

/// The places of handshakes under way.
pub(super) struct PendingHandshakes {
    places: Arc<Mutex<Places>>,
    limit: usize,
}

#[derive(Default)]
struct Places {
    /// By arrival: when, and how to cut it off.
    reading: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
    waiting: usize,
    arrivals: u64,
}

/// One handshake's place, given back when dropped.
pub(super) struct Pending {
    places: Arc<Mutex<Places>>,
    state: State,
    cut: oneshot::Receiver<()>,
}

enum State {
    /// By its arrival.
    Reading(u64),
    Waiting,
    /// The place was given to another in the moment when the request was complete.
    Lost,
}

impl PendingHandshakes {
    pub(super) fn new(limit: usize) -> Self {
        Self { places: Arc::default(), limit }
    }

    /// The same places under another limit.
    pub(super) fn adopting(&self, limit: usize) -> Self {
        Self { places: Arc::clone(&self.places), limit }
    }

    /// Takes a place for a handshake that begins to read; `None` when all are taken.
    pub(super) fn take(&self, now: Instant) -> Option<Pending> {
        let mut places = lock(&self.places);
        if places.reading.len() + places.waiting >= self.limit {
            places.cut_off_the_oldest_reader(now)?;
        }
        places.arrivals += 1;
        let arrival = places.arrivals;
        let (cutter, cut) = oneshot::channel();
        places.reading.insert(arrival, (now, cutter));
        Some(Pending { places: Arc::clone(&self.places), state: State::Reading(arrival), cut })
    }
}

impl Places {
    fn cut_off_the_oldest_reader(&mut self, now: Instant) -> Option<()> {
        let oldest = self.reading.first_entry()?;
        if now.duration_since(oldest.get().0) < TIME_TO_READ {
            return None;
        }
        let (_since, cutter) = oldest.remove();
        // It may be ending by itself just now, which makes room as well.
        let _ = cutter.send(());
        Some(())
    }
}

impl Pending {
    /// Resolves when the place was given to another.
    pub(super) async fn cut_off(&mut self) {
        if (&mut self.cut).await.is_err() {
            // The sender goes without a word only with the place itself.
            std::future::pending::<()>().await;
        }
    }

    /// The request is complete: from now on this handshake cannot be cut off.
    pub(super) fn wait(&mut self) {
        if let State::Reading(arrival) = self.state {
            let mut places = lock(&self.places);
            let still_ours = places.reading.remove(&arrival).is_some();
            places.waiting += usize::from(still_ours);
            self.state = if still_ours { State::Waiting } else { State::Lost };
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        match self.state {
            State::Reading(arrival) => drop(places.reading.remove(&arrival)),
            State::Waiting => places.waiting -= 1,
            State::Lost => {}
        }
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // A panic cannot leave the places half changed.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_place_is_given_back_by_a_reader_and_by_one_who_waits() {
        let (handshakes, now) = (PendingHandshakes::new(2), Instant::now());
        let mut first = handshakes.take(now).unwrap();
        first.wait();
        let second = handshakes.take(now).unwrap();
        assert!(handshakes.take(now).is_none());
        drop(first);
        let third = handshakes.take(now).unwrap();
        drop(second);
        assert!(handshakes.take(now).is_some());
        drop(third);
        assert!(lock(&handshakes.places).reading.is_empty());
    }

    #[test]
    fn the_oldest_reader_gives_way_once_it_has_had_its_time() {
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
        late.wait();
        drop(late);
        assert!(handshakes.take(start).is_none(), "the heir's place was given back");
        drop(heir);
        assert!(handshakes.take(start).is_some());
    }

    #[test]
    fn who_waits_for_redis_is_never_cut_off() {
        let (handshakes, start) = (PendingHandshakes::new(1), Instant::now());
        let mut waiting = handshakes.take(start).unwrap();
        waiting.wait();
        assert!(handshakes.take(start + 10 * TIME_TO_READ).is_none());
        assert_eq!(waiting.cut_off().now_or_never(), None);
    }
}
