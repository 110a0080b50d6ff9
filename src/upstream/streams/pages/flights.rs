//! Requests that wait for a page. One reading serves all that were made before it began; a full page
//! serves those made since as well: what is added later stands behind it.

use super::building::{self, PageKey};
use crate::{
    bus::{Page, PageError},
    stream_id::StreamId,
};
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;

/// The answer to one who waits.
type Answer = oneshot::Sender<Result<Page, PageError>>;

/// Readings that are asked for or under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: HashMap<PageKey, Flight>,
    /// Those not under way, in the order of asking.
    queue: VecDeque<PageKey>,
}

#[derive(Debug, Default)]
struct Flight {
    is_under_way: bool,
    /// Those whom it serves in any case.
    early: Vec<Waiter>,
    /// Those who asked since it began.
    late: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    until: Option<StreamId>,
    answer: Answer,
}

impl Flights {
    pub(super) fn add(&mut self, key: PageKey, until: Option<StreamId>, answer: Answer) {
        let waiter = Waiter { until, answer };
        if let Some(flight) = self.flights.get_mut(&key) {
            let others = if flight.is_under_way { &mut flight.late } else { &mut flight.early };
            others.push(waiter);
            return;
        }
        self.queue.push_back(key.clone());
        self.flights.insert(key, Flight { early: vec![waiter], ..Flight::default() });
    }

    /// Takes the next one to read, which somebody still waits for. It is under way then.
    pub(super) fn take(&mut self) -> Option<PageKey> {
        loop {
            let key = self.queue.pop_front()?;
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            flight.early.retain(|waiter| !waiter.answer.is_closed());
            if flight.early.is_empty() {
                self.flights.remove(&key);
                continue;
            }
            flight.is_under_way = true;
            return Some(key);
        }
    }

    /// It is read once more, from now on.
    pub(super) fn begin(&mut self, key: &PageKey) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.early.append(&mut flight.late);
        }
    }

    /// It is read.
    pub(super) fn serve(&mut self, key: &PageKey, page: &Page) {
        let Some(mut flight) = self.flights.remove(key) else { return };
        if page.is_full {
            flight.early.append(&mut flight.late);
        }
        for Waiter { until, answer } in flight.early {
            // An error means that nobody waits for it any more.
            let _ = answer.send(Ok(building::until(page.clone(), until)));
        }
        if !flight.late.is_empty() {
            self.queue.push_back(key.clone());
            let next = Flight { early: flight.late, ..Flight::default() };
            self.flights.insert(key.clone(), next);
        }
    }

    pub(super) fn fail(&mut self, key: &PageKey, error: PageError) {
        if let Some(flight) = self.flights.remove(key) {
            flight.fail(error);
        }
    }

    pub(super) fn fail_all(&mut self, error: PageError) {
        self.queue.clear();
        self.flights.drain().for_each(|(_, flight)| flight.fail(error));
    }
}

impl Flight {
    fn fail(self, error: PageError) {
        for waiter in self.early.into_iter().chain(self.late) {
            let _ = waiter.answer.send(Err(error));
        }
    }
}
