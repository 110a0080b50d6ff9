//! The tasks that take events out of a shard's rings, and give the shard's other tasks their turn.
//!
//! What a batch dirties is flushed together. A stream of events that never ends, in large batches or in
//! small ones, may not keep the thread from reading sockets and from accepting.

use super::registry::Registry;
use crate::{
    bus::{Event, PresenceEvent, RingError, RingEvent, RingReceiver, StreamEvent},
    reason::GapReason,
};
use std::rc::Rc;
use tokio::task::yield_now;

/// Events taken from the ring before what they dirty is flushed, and others have their turn.
const EVENTS_AT_ONCE: usize = 256;

/// … and their bytes, as a ring counts them.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Fewer events of presence: each may go to every session of a room, and a room that fills has one for each
/// newcomer.
const ROOM_EVENTS_AT_ONCE: usize = 32;

/// What was taken since other tasks had their turn, in however many batches.
#[derive(Debug, Default)]
struct Turn {
    events: usize,
    bytes: usize,
}

impl Turn {
    fn add(&mut self, event: &impl RingEvent) {
        self.events += 1;
        self.bytes += event.bytes();
    }

    fn is_over(&self) -> bool {
        self.events >= EVENTS_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    /// Lets others go on, when it is over.
    async fn end(&mut self) {
        if self.is_over() {
            *self = Self::default();
            yield_now().await;
        }
    }
}

/// Takes events until the sender has gone.
pub(super) async fn take(registry: Rc<Registry>, mut ring: RingReceiver<Event>) {
    let (mut dirty, mut events) = (Vec::new(), Vec::with_capacity(EVENTS_AT_ONCE));
    let mut turn = Turn::default();
    loop {
        match ring.recv_many(&mut events, EVENTS_AT_ONCE).await {
            Ok(()) => {
                let mut at = ring.taken() - events.len() as u64;
                let put = |event: &Event, dirty: &mut Vec<u32>| {
                    registry.fan_out(at, event, dirty);
                    at += 1;
                };
                fan_out(&registry, &mut turn, &events, &mut dirty, put).await;
            }
            Err(RingError::Lagged(lost)) => {
                lagged(&registry, ring.taken(), lost, &mut dirty).await;
            }
            Err(RingError::Closed) => return,
        }
        registry.newcomers.borrow_mut().pass(ring.taken());
        registry.flush(&mut dirty).await;
        registry.bound_memory();
        turn.end().await;
        events.clear();
    }
}

/// Takes events of streams until the sender has gone. None is ever dropped.
pub(super) async fn take_of_streams(registry: Rc<Registry>, mut ring: RingReceiver<StreamEvent>) {
    let (mut dirty, mut events) = (Vec::new(), Vec::with_capacity(EVENTS_AT_ONCE));
    let mut turn = Turn::default();
    while ring.recv_many(&mut events, EVENTS_AT_ONCE).await.is_ok() {
        let put = |event: &StreamEvent, dirty: &mut Vec<u32>| {
            registry.take_stream_event(event, dirty);
        };
        fan_out(&registry, &mut turn, &events, &mut dirty, put).await;
        registry.flush(&mut dirty).await;
        registry.bound_memory();
        turn.end().await;
        events.clear();
    }
}

/// Takes what upstream says of rooms until the sender has gone.
pub(super) async fn take_presence(registry: Rc<Registry>, mut ring: RingReceiver<PresenceEvent>) {
    let (mut dirty, mut events) = (Vec::new(), Vec::new());
    let mut turn = Turn::default();
    loop {
        match ring.recv_many(&mut events, ROOM_EVENTS_AT_ONCE).await {
            Ok(()) => {
                let put = |event: &PresenceEvent, dirty: &mut Vec<u32>| {
                    registry.take_presence(event, dirty);
                };
                fan_out(&registry, &mut turn, &events, &mut dirty, put).await;
            }
            Err(RingError::Lagged(lost)) => {
                tracing::warn!(
                    shard = registry.id,
                    lost,
                    "the shard fell behind with presence: it is sent anew"
                );
                // The rosters that are asked for have all of it.
                ring.clear();
                registry.presence.ask_again(registry.id);
            }
            Err(RingError::Closed) => return,
        }
        registry.flush(&mut dirty).await;
        registry.bound_memory();
        turn.end().await;
        events.clear();
    }
}

/// Puts events into the queues; where they are many bytes, what they dirty is flushed now and then,
/// and sessions whose sockets have taken something write on, before the queues are judged. A batch of
/// few bytes is never cut in two, however many came before it: one write takes all of it for a socket.
async fn fan_out<E: RingEvent>(
    registry: &Registry,
    turn: &mut Turn,
    events: &[E],
    dirty: &mut Vec<u32>,
    mut put: impl FnMut(&E, &mut Vec<u32>),
) {
    let mut bytes = 0;
    for event in events {
        if bytes >= BYTES_AT_ONCE {
            bytes = 0;
            registry.flush(dirty).await;
            registry.bound_memory();
            turn.end().await;
        }
        put(event, dirty);
        bytes += event.bytes();
        turn.add(event);
    }
}

async fn lagged(registry: &Registry, taken: u64, lost: u64, dirty: &mut Vec<u32>) {
    tracing::warn!(
        shard = registry.id,
        lost,
        "the shard fell behind its ring: a gap for its sessions"
    );
    registry.gap_all(taken - 1, GapReason::ShardLagged, dirty).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::rig::message;

    #[test]
    fn others_have_their_turn_after_so_many_events_or_bytes_in_however_many_batches() {
        let small = Event::Message(message("orders", ""));
        let large = Event::Message(message("orders", &"x".repeat(BYTES_AT_ONCE / 4)));
        for (event, most) in [(small, EVENTS_AT_ONCE), (large, 4)] {
            let mut turn = Turn::default();
            let taken = (1..).find(|_| {
                turn.add(&event);
                turn.is_over()
            });
            assert_eq!(taken, Some(most));
        }
    }
}
