//! The handshakes under way, at most `max_pending_handshakes`.
//!
//! A handshake first *reads* its request and then *waits* for Redis. Clients that send their
//! request a byte at a time could hold every place until `handshake_timeout`, so when all places
//! are taken the oldest reader loses its own, if it has had time enough to send a request; and one
//! address that reads in more than a [`FAIR_PART`] of all places makes room for others at once. A
//! handshake that waits for Redis is never cut off so: that is not the client's doing.

use super::{
    AddressKey,
    by_arrival::{ByArrival, CutOff, TaskNumber},
    lock,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long a reader may hold its place while others want it: several round trips of a slow link.
const TIME_TO_READ: Duration = Duration::from_millis(500);

/// One address may read in this part of all places, whatever others want.
const FAIR_PART: usize = 4;

/// The places of handshakes under way.
pub(super) struct PendingHandshakes {
    places: Arc<Mutex<Places>>,
    limit: usize,
}

#[derive(Default)]
struct Places {
    reading: ByArrival,
    /// Those of them whose own address is known already: not those that come through a trusted proxy.
    by_address: HashMap<AddressKey, BTreeSet<TaskNumber>>,
    /// The same the other way round, so that a handshake need not carry its address.
    addresses: HashMap<TaskNumber, AddressKey>,
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

    /// Takes a place for a handshake that begins to read; `None` when all are taken. `address` is the
    /// client's own, `None` while only a proxy is known.
    pub(super) fn take(&self, address: Option<AddressKey>, now: Instant) -> Option<PendingPlace> {
        let mut places = lock(&self.places);
        if places.reading.len() + places.waiting >= self.limit
            && !places.make_room(address, now, self.limit / FAIR_PART)
        {
            return None;
        }
        let (arrival, cut_off) = places.reading.insert(now);
        if let Some(address) = address {
            places.by_address.entry(address).or_default().insert(arrival);
            places.addresses.insert(arrival, address);
        }
        let stage = Stage::Reading(arrival);
        Some(PendingPlace { places: Arc::clone(&self.places), stage, cut_off })
    }
}

impl Places {
    /// Cuts a reader off for a client of this address. `false`: none may be.
    fn make_room(&mut self, address: Option<AddressKey>, now: Instant, fair: usize) -> bool {
        let greedy = self
            .by_address
            .iter()
            .filter(|(one, tasks)| tasks.len() > fair && address != Some(**one))
            .max_by_key(|(_, tasks)| tasks.len())
            .and_then(|(_, tasks)| tasks.first().copied());
        let latest = now.checked_sub(TIME_TO_READ);
        let cut_off = match greedy {
            Some(oldest) => self.reading.cut_off(oldest).then_some(oldest),
            None => latest.and_then(|latest| self.reading.cut_off_oldest(latest)),
        };
        cut_off.inspect(|&task| self.forget_address(task)).is_some()
    }

    /// Ends the reading of a task. Whether its place was still its own.
    fn end_reading(&mut self, arrival: TaskNumber) -> bool {
        self.forget_address(arrival);
        self.reading.remove(arrival)
    }

    fn forget_address(&mut self, arrival: TaskNumber) {
        let Some(address) = self.addresses.remove(&arrival) else { return };
        let Some(tasks) = self.by_address.get_mut(&address) else { return };
        tasks.remove(&arrival);
        if tasks.is_empty() {
            self.by_address.remove(&address);
        }
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
            let still_ours = places.end_reading(arrival);
            places.waiting += usize::from(still_ours);
            self.stage = if still_ours { Stage::Waiting } else { Stage::Lost };
        }
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        match self.stage {
            Stage::Reading(arrival) => drop(places.end_reading(arrival)),
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
        let mut first = handshakes.take(None, now).unwrap();
        first.request_is_complete();
        let second = handshakes.take(None, now).unwrap();
        assert!(handshakes.take(None, now).is_none());
        drop(first);
        let third = handshakes.take(None, now).unwrap();
        drop(second);
        assert!(handshakes.take(None, now).is_some());
        drop(third);
        assert_eq!(lock(&handshakes.places).reading.len(), 0);
    }

    #[test]
    fn the_oldest_reader_loses_its_place_once_it_has_had_its_time() {
        let (handshakes, start) = (PendingHandshakes::new(2), Instant::now());
        let mut old = handshakes.take(None, start).unwrap();
        let mut young = handshakes.take(None, start + Duration::from_millis(1)).unwrap();
        assert!(handshakes.take(None, start + TIME_TO_READ - Duration::from_millis(1)).is_none());
        assert_eq!(old.cut_off().now_or_never(), None);
        let new = handshakes.take(None, start + TIME_TO_READ);
        assert!(new.is_some());
        assert_eq!(old.cut_off().now_or_never(), Some(()));
        assert_eq!(young.cut_off().now_or_never(), None);
        drop(old);
        assert!(
            handshakes.take(None, start + TIME_TO_READ).is_none(),
            "a place was given back twice"
        );
    }

    #[test]
    fn a_place_lost_just_when_the_request_was_complete_is_not_counted_twice() {
        let (handshakes, start) = (PendingHandshakes::new(1), Instant::now());
        let mut late = handshakes.take(None, start).unwrap();
        let heir = handshakes.take(None, start + TIME_TO_READ).unwrap();
        late.request_is_complete();
        drop(late);
        assert!(handshakes.take(None, start).is_none(), "the heir's place was given back");
        drop(heir);
        assert!(handshakes.take(None, start).is_some());
    }

    #[test]
    fn a_handshake_that_waits_for_redis_is_never_cut_off() {
        let (handshakes, start) = (PendingHandshakes::new(1), Instant::now());
        let mut waiting = handshakes.take(None, start).unwrap();
        waiting.request_is_complete();
        assert!(handshakes.take(None, start + 10 * TIME_TO_READ).is_none());
        assert_eq!(waiting.cut_off().now_or_never(), None);
    }

    fn from(last: u8) -> Option<AddressKey> {
        Some(AddressKey::new([192, 0, 2, last].into()))
    }

    #[test]
    fn one_address_cannot_take_every_place_however_fast_it_comes() {
        let (handshakes, now) = (PendingHandshakes::new(8), Instant::now());
        let mut held: Vec<_> = (0..8).map(|_| handshakes.take(from(1), now).unwrap()).collect();
        assert!(handshakes.take(from(1), now).is_none(), "it makes no room for itself");
        for other in [from(2), None] {
            let place = handshakes.take(other, now);
            assert!(place.is_some(), "{other:?}");
            assert_eq!(held[0].cut_off().now_or_never(), Some(()));
            drop(held.remove(0));
            assert!(handshakes.take(from(1), now).is_none(), "a place was given back twice");
            std::mem::forget(place);
        }
        // What is fair for one address, it keeps for its time.
        let others: Vec<_> = (3..20).map_while(|n| handshakes.take(from(n), now)).collect();
        assert_eq!((others.len(), held.len()), (4, 6));
        let cut_off = |place: &mut PendingPlace| place.cut_off().now_or_never().is_some();
        assert_eq!(held.iter_mut().map(cut_off).filter(|cut_off| *cut_off).count(), 4);
        drop((held, others));
        let places = lock(&handshakes.places);
        assert_eq!(places.by_address.len(), 1, "addresses take memory");
        assert_eq!(places.addresses.len(), 1);
    }
}
