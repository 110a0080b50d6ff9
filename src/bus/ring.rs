//! The ring of one shard: a queue with one consumer, bounded by number and by bytes.
//!
//! Sending never waits. Beyond a bound the oldest events are dropped, and the consumer is told how
//! many before it gets the next; or, where nothing may be dropped, its fill says that nothing more should be
//! sent for now. A batch costs one lock on either side, and a wake-up only where the
//! consumer sleeps; nothing is allocated once the queue has grown to its usual length.

use std::{
    collections::VecDeque,
    future::poll_fn,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// What goes through a ring.
pub trait RingEvent {
    /// The memory that a ring counts for it.
    fn bytes(&self) -> usize;
}

/// How far a shard may fall behind. One event always fits, however large it is.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    pub events: NonZeroUsize,
    /// Of memory, see [`RingEvent::bytes`].
    pub bytes: NonZeroUsize,
    pub beyond: Beyond,
}

/// What happens to events beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// The oldest are dropped.
    DropOldest,
    /// All are kept: the sender looks at the [`Fill`] first.
    KeepAll,
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
pub struct RingSender<E>(Arc<Ring<E>>);

/// The shard's end.
#[derive(Debug)]
pub struct RingReceiver<E> {
    ring: Arc<Ring<E>>,
    taken: u64,
}

/// Tells how much has been sent to a ring. Cheap to clone.
#[derive(Debug)]
pub struct RingPosition<E>(Arc<Ring<E>>);

#[derive(Debug)]
struct Ring<E> {
    limits: RingLimits,
    state: Mutex<RingState<E>>,
}

#[derive(Debug)]
struct RingState<E> {
    events: VecDeque<E>,
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
pub fn ring<E: RingEvent>(limits: RingLimits) -> (RingSender<E>, RingReceiver<E>) {
    let state = RingState {
        events: VecDeque::new(),
        bytes: 0,
        sent: 0,
        lost: 0,
        waiting: None,
        sender_gone: false,
        receiver_gone: false,
    };
    let ring = Arc::new(Ring { limits, state: Mutex::new(state) });
    (RingSender(Arc::clone(&ring)), RingReceiver { ring, taken: 0 })
}

impl<E: RingEvent> RingSender<E> {
    /// Sends these events in their order and leaves `events` empty, with its room. Without a
    /// receiver they are dropped.
    pub fn append(&self, events: &mut Vec<E>) {
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

    /// Bytes that still fit in.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.limits.bytes.get().saturating_sub(self.0.state().bytes)
    }

    /// Events that were ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.state().sent
    }

    /// Events that were ever sent and do not wait any more: taken out, or dropped.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let state = self.0.state();
        state.sent - state.events.len() as u64
    }

    /// Sends one event.
    #[cfg(test)]
    pub fn send(&self, event: E) {
        self.append(&mut vec![event]);
    }
}

impl<E> RingPosition<E> {
    /// Events that were ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.state().sent
    }
}

impl<E: RingEvent> RingReceiver<E> {
    /// How much is sent, to be asked while this end waits for it.
    #[must_use]
    pub fn position(&self) -> RingPosition<E> {
        RingPosition(Arc::clone(&self.ring))
    }

    /// Events that were ever taken out, those included that were dropped.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        let mut state = self.ring.state();
        self.taken += state.events.len() as u64 + std::mem::take(&mut state.lost);
        state.bytes = 0;
        let events = std::mem::take(&mut state.events);
        drop(state);
        drop(events);
    }

    /// Waits for events and takes up to `limit` of them, the oldest first. Cancel-safe.
    ///
    /// # Errors
    /// - [`RingError::Lagged`]: events were dropped just here; nothing was taken yet.
    /// - [`RingError::Closed`]: nothing will come any more.
    pub async fn recv_many(&mut self, events: &mut Vec<E>, limit: usize) -> Result<(), RingError> {
        poll_fn(|context| self.poll_many(events, limit, context)).await
    }

    fn poll_many(
        &mut self,
        events: &mut Vec<E>,
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
        let taken = events[events.len() - count..].iter().map(E::bytes).sum::<usize>();
        state.bytes -= taken;
        self.taken += count as u64;
        Poll::Ready(Ok(()))
    }

    /// Takes one event that is here already, if any.
    #[cfg(test)]
    pub fn try_recv(&mut self) -> Option<Result<E, RingError>> {
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
    pub async fn recv(&mut self) -> Result<E, RingError> {
        let mut events = Vec::new();
        self.recv_many(&mut events, 1).await?;
        Ok(events.remove(0))
    }
}

impl<E> Ring<E> {
    /// Nothing that could panic runs under the lock, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, RingState<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: RingEvent> RingState<E> {
    fn push(&mut self, event: E, limits: RingLimits) {
        self.bytes += event.bytes();
        self.sent += 1;
        self.events.push_back(event);
        while limits.beyond == Beyond::DropOldest
            && self.events.len() > 1
            && (self.events.len() > limits.events.get() || self.bytes > limits.bytes.get())
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.lost += 1;
        }
    }
}

impl<E> Drop for RingSender<E> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.sender_gone = true;
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
    }
}

impl<E> Drop for RingReceiver<E> {
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
