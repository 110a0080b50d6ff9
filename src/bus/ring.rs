//! The ring of one shard: a queue with one producer and one consumer, bounded by number and by bytes.
//!
//! Sending never waits: beyond a bound the oldest events are dropped, and the consumer is told how
//! many before it gets the next. A batch costs one lock on either side, and a wake-up only where the
//! consumer sleeps; nothing is allocated once the queue has grown to its usual length.

use super::Event;
use std::{
    collections::VecDeque,
    future::poll_fn,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How far a shard may fall behind. One event always fits, however large it is.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    pub events: NonZeroUsize,
    /// Of memory, see [`Event::bytes`].
    pub bytes: NonZeroUsize,
}

/// How full a ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Less than half, by number and by bytes.
    Low,
    Middle,
    /// Three quarters or more, by number or by bytes.
    High,
}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// So many events were dropped; the next receive resumes at the oldest kept.
    #[error("{0} events were dropped")]
    Lagged(u64),
    /// The sender is gone, and everything that it sent has been received.
    #[error("the sender is gone")]
    Closed,
}

/// Upstream's end.
#[derive(Debug)]
pub struct RingSender(Arc<Ring>);

/// The shard's end.
#[derive(Debug)]
pub struct RingReceiver {
    ring: Arc<Ring>,
    taken: u64,
}

/// Tells how much has been sent to a ring. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RingPosition(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    limits: RingLimits,
    state: Mutex<RingState>,
}

#[derive(Debug, Default)]
struct RingState {
    events: VecDeque<Event>,
    bytes: usize,
    sent: u64,
    /// Dropped since the consumer was last told.
    lost: u64,
    /// The consumer, while it waits.
    waiting: Option<Waker>,
    sender_gone: bool,
    receiver_gone: bool,
}

/// Makes a ring.
#[must_use]
pub fn ring(limits: RingLimits) -> (RingSender, RingReceiver) {
    let ring = Arc::new(Ring { limits, state: Mutex::default() });
    (RingSender(Arc::clone(&ring)), RingReceiver { ring, taken: 0 })
}

impl RingSender {
    /// Sends these events in their order and leaves `events` empty, with its room. Without a
    /// receiver they are dropped.
    pub fn append(&self, events: &mut Vec<Event>) {
        let mut state = self.0.state();
        if state.receiver_gone {
            drop(state);
            events.clear();
            return;
        }
        for event in events.drain(..) {
            state.push(event, self.0.limits);
        }
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// How full the ring is.
    #[must_use]
    pub fn fill(&self) -> Fill {
        let (state, limits) = (self.0.state(), self.0.limits);
        let of = |used: usize, limit: usize| match used {
            used if used >= limit - limit / 4 => Fill::High,
            used if used >= limit / 2 => Fill::Middle,
            _ => Fill::Low,
        };
        of(state.events.len(), limits.events.get()).max(of(state.bytes, limits.bytes.get()))
    }

    /// Sends one event.
    #[cfg(test)]
    pub fn send(&self, event: Event) {
        self.append(&mut vec![event]);
    }
}

impl RingPosition {
    /// Events that were ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.state().sent
    }
}

impl RingReceiver {
    /// How much is sent, to be asked while this end waits for it.
    #[must_use]
    pub fn position(&self) -> RingPosition {
        RingPosition(Arc::clone(&self.ring))
    }

    /// Events that were ever taken out, those included that were dropped.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Waits for events and takes up to `limit` of them, the oldest first. Cancel-safe.
    ///
    /// # Errors
    /// - [`RingError::Lagged`]: events were dropped just here; nothing was taken yet.
    /// - [`RingError::Closed`]: nothing will come any more.
    pub async fn recv_many(
        &mut self,
        events: &mut Vec<Event>,
        limit: usize,
    ) -> Result<(), RingError> {
        poll_fn(|context| self.poll_many(events, limit, context)).await
    }

    fn poll_many(
        &mut self,
        events: &mut Vec<Event>,
        limit: usize,
        context: &Context<'_>,
    ) -> Poll<Result<(), RingError>> {
        let mut state = self.ring.state();
        match std::mem::take(&mut state.lost) {
            0 => {}
            lost => {
                self.taken += lost;
                return Poll::Ready(Err(RingError::Lagged(lost)));
            }
        }
        if state.events.is_empty() {
            if state.sender_gone {
                return Poll::Ready(Err(RingError::Closed));
            }
            state.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = limit.min(state.events.len());
        events.extend(state.events.drain(..count));
        let taken = events[events.len() - count..].iter().map(Event::bytes).sum::<usize>();
        state.bytes -= taken;
        self.taken += count as u64;
        Poll::Ready(Ok(()))
    }

    /// Takes one event that is here already, if any.
    #[cfg(test)]
    pub fn try_recv(&mut self) -> Option<Result<Event, RingError>> {
        let mut events = Vec::new();
        let context = Context::from_waker(Waker::noop());
        match self.poll_many(&mut events, 1, &context) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => events.pop().map(Ok),
            Poll::Ready(Err(error)) => Some(Err(error)),
        }
    }

    /// Waits for one event.
    ///
    /// # Errors
    /// As [`RingReceiver::recv_many`].
    #[cfg(test)]
    pub async fn recv(&mut self) -> Result<Event, RingError> {
        let mut events = Vec::new();
        self.recv_many(&mut events, 1).await?;
        Ok(events.remove(0))
    }
}

impl Ring {
    /// Nothing that could panic runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, RingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingState {
    fn push(&mut self, event: Event, limits: RingLimits) {
        self.bytes += event.bytes();
        self.sent += 1;
        self.events.push_back(event);
        while self.events.len() > 1
            && (self.events.len() > limits.events.get() || self.bytes > limits.bytes.get())
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.lost += 1;
        }
    }
}

impl Drop for RingSender {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sender_gone = true;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }
}

impl Drop for RingReceiver {
    fn drop(&mut self) {
        let mut state = self.ring.state();
        state.receiver_gone = true;
        state.bytes = 0;
        let events = std::mem::take(&mut state.events);
        drop(state);
        drop(events);
    }
}

#[cfg(test)]
mod tests;
