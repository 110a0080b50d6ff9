//! The refusals over the limits that are under way, at most [`MAX_REFUSALS`].
//!
//! A connection over the limits is answered like any other: it may send its request, since what is
//! wrong with that is the better answer, and read what it is told. When all places are taken, the
//! oldest is told to end at once: it gets its answer without being waited for. So a flood costs a
//! bounded number of tasks and descriptors, and a client that says nothing holds up nobody.

use super::{
    by_arrival::{ByArrival, CutOff, TaskNumber},
    lock,
};
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Refusals over the limits at a time. The open-files limit keeps a descriptor for each.
pub const MAX_REFUSALS: usize = 64;

/// The places of refusals under way.
#[derive(Clone)]
pub(super) struct Refusals {
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<ByArrival>>,
}

/// One refusal's place, given back when dropped.
pub(in crate::server) struct RefusalPlace {
    under_way: Arc<Mutex<ByArrival>>,
    arrival: TaskNumber,
    cut_off: CutOff,
    _place: OwnedSemaphorePermit,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_REFUSALS)), under_way: Arc::default() }
    }

    /// Takes a place. When all are taken, has the oldest end and waits for the first that does: for
    /// a turn of a shard, never for a client. Cancel-safe.
    ///
    /// # Panics
    /// Never: the semaphore is never closed.
    pub(super) async fn place(&self) -> RefusalPlace {
        let now = Instant::now();
        if self.places.available_permits() == 0 {
            lock(&self.under_way).cut_off_oldest(now);
        }
        let place = Arc::clone(&self.places).acquire_owned().await.expect("never closed");
        let (arrival, cut_off) = lock(&self.under_way).insert(now);
        RefusalPlace { under_way: Arc::clone(&self.under_way), arrival, cut_off, _place: place }
    }
}

impl RefusalPlace {
    /// Resolves when this refusal is to end at once, and again each time after that. Cancel-safe.
    pub(in crate::server) async fn cut_off(&mut self) {
        self.cut_off.wait().await;
    }
}

impl Drop for RefusalPlace {
    fn drop(&mut self) {
        lock(&self.under_way).remove(self.arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    #[test]
    fn one_refusal_too_many_ends_the_oldest_and_waits_for_its_place() {
        let refusals = Refusals::new();
        let take = || refusals.place().now_or_never();
        let mut places: Vec<_> = (0..MAX_REFUSALS).map(|_| take().unwrap()).collect();
        let mut next = pin!(refusals.place());
        assert!(next.as_mut().now_or_never().is_none(), "more places than there are");
        assert_eq!(places[0].cut_off().now_or_never(), Some(()));
        assert_eq!(places[0].cut_off().now_or_never(), Some(()), "said once more");
        assert_eq!(places[1].cut_off().now_or_never(), None);
        drop(places.remove(0));
        assert!(next.now_or_never().is_some());
        assert_eq!(lock(&refusals.under_way).len(), MAX_REFUSALS - 1);
        drop(places);
        assert_eq!(lock(&refusals.under_way).len(), 0);
        assert!(take().is_some());
    }
}
