//! Holds new entries of a stream for a session that adds it, until the replay is in the session's queue.
//!
//! A session that opens has its queue for them. One that adds a stream is being written to already, so they
//! are held here, from the place where it joins until the replay up to there is in its queue.

use super::{memory::Queued, session::Session};
use crate::{channel::ChannelName, wire::Loss};
use hashbrown::HashMap;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// By the stream's name.
#[derive(Default)]
pub(super) struct Holding {
    streams: RefCell<HashMap<ChannelName, Vec<Rc<Held>>, foldhash::fast::RandomState>>,
}

/// What is held for one session of one stream.
pub(super) struct Held {
    items: RefCell<Vec<HeldItem>>,
    bytes: Cell<usize>,
    most: Bounds,
    is_over: Cell<bool>,
}

/// How much may be held: as much as may wait in a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

enum HeldItem {
    Message(Rc<Queued>),
    Gap(Loss),
}

/// Holds what comes of a stream, until it is dropped.
pub(super) struct HoldGuard<'a> {
    holding: &'a Holding,
    stream: ChannelName,
    held: Rc<Held>,
}

/// All that came of a stream while it was held.
pub(super) struct HeldItems {
    stream: ChannelName,
    items: Vec<HeldItem>,
}

impl Holding {
    /// Holds everything that comes of this stream from now on.
    pub(super) fn hold(&self, stream: &ChannelName, most: Bounds) -> HoldGuard<'_> {
        let held = Rc::new(Held {
            items: RefCell::default(),
            bytes: Cell::new(0),
            most,
            is_over: Cell::new(false),
        });
        let mut streams = self.streams.borrow_mut();
        streams.entry(stream.clone()).or_default().push(Rc::clone(&held));
        HoldGuard { holding: self, stream: stream.clone(), held }
    }

    /// Whether nothing is held, as almost always.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty()
    }

    pub(super) fn message(&self, message: &Rc<Queued>) {
        for held in self.streams.borrow().get(&message.channel).into_iter().flatten() {
            held.push(HeldItem::Message(Rc::clone(message)), message.payload().len());
        }
    }

    pub(super) fn gap(&self, stream: &ChannelName, loss: Loss) {
        for held in self.streams.borrow().get(stream).into_iter().flatten() {
            held.push(HeldItem::Gap(loss), 0);
        }
    }
}

impl Held {
    fn push(&self, item: HeldItem, bytes: usize) {
        let mut items = self.items.borrow_mut();
        let bytes = self.bytes.get() + bytes;
        if items.len() >= self.most.messages || (bytes > self.most.bytes && !items.is_empty()) {
            self.is_over.set(true);
            items.clear();
        }
        if !self.is_over.get() {
            self.bytes.set(bytes);
            items.push(item);
        }
    }
}

impl HoldGuard<'_> {
    /// Forgets what came until now.
    pub(super) fn forget(&self) {
        self.held.items.borrow_mut().clear();
        self.held.bytes.set(0);
        self.held.is_over.set(false);
    }

    /// Ends it, in the step of the shard's thread in which the session joins: what comes later is not held any
    /// more. `None`: more came than may be held, and it is not known what.
    pub(super) fn end(self) -> Option<HeldItems> {
        let items = self.held.items.take();
        (!self.held.is_over.get()).then(|| HeldItems { stream: self.stream.clone(), items })
    }
}

impl HeldItems {
    /// Puts them into the session's queue.
    pub(super) fn hand_over(self, session: &Session) {
        for item in self.items {
            match item {
                HeldItem::Message(message) => session.enqueue(&message),
                HeldItem::Gap(loss) => session.gap(&self.stream, loss),
            };
        }
    }
}

impl Drop for HoldGuard<'_> {
    fn drop(&mut self) {
        let mut streams = self.holding.streams.borrow_mut();
        let Some(held) = streams.get_mut(&self.stream) else { return };
        held.retain(|one| !Rc::ptr_eq(one, &self.held));
        if held.is_empty() {
            streams.remove(&self.stream);
        }
    }
}

/// A session, or a hold, that can still drop the entries of a stream: none of them was sent to the client.
pub(super) trait Joining {
    fn forget(&self, stream: &ChannelName);
}

impl Joining for Session {
    fn forget(&self, stream: &ChannelName) {
        Session::forget(self, stream);
    }
}

impl Joining for HoldGuard<'_> {
    fn forget(&self, _stream: &ChannelName) {
        HoldGuard::forget(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::Metrics,
        shard::{memory::QueueMemory, rig},
    };

    const FEW: Bounds = Bounds { messages: 2, bytes: 100 };

    fn come(holding: &Holding, payloads: &[&str]) {
        let memory = Rc::new(QueueMemory::new(Metrics::new(1, &[]).shard(0), usize::MAX));
        for payload in payloads {
            let message = rig::message("s", payload);
            holding.message(&Rc::new(Queued::new(message, Rc::clone(&memory))));
        }
    }

    #[test]
    fn more_than_may_wait_in_a_queue_is_held_for_nobody_and_told() {
        let long = "x".repeat(60);
        for (payloads, held) in [
            (&["1", "2"][..], Some(2)),
            (&["1", "2", "3"], None),
            (&["1", "2", "3", "4"], None),
            (&[&*long], Some(1)),
            (&[&*long, &*long], None),
            // One alone may be as large as it is.
            (&[&*long.repeat(3)], Some(1)),
        ] {
            let holding = Holding::default();
            let guard = holding.hold(&ChannelName::new("s"), FEW);
            come(&holding, payloads);
            let kept = guard.held.items.borrow().len();
            assert_eq!(kept, held.unwrap_or(0), "{payloads:?}");
            assert_eq!(guard.end().map(|it| it.items.len()), held, "{payloads:?}");
        }
    }

    #[test]
    fn what_is_forgotten_is_held_no_more_and_makes_room_for_as_much_again() {
        let holding = Holding::default();
        let guard = holding.hold(&ChannelName::new("s"), FEW);
        come(&holding, &["1", "2", "3"]);
        guard.forget();
        come(&holding, &[&*"x".repeat(60)]);
        guard.forget();
        assert_eq!(guard.held.items.borrow().len(), 0);
        come(&holding, &[&*"x".repeat(60), "2"]);
        assert_eq!(guard.end().unwrap().items.len(), 2);
    }

    #[test]
    fn each_session_holds_for_itself_and_nothing_is_kept_behind_the_last() {
        let (holding, stream) = (Holding::default(), ChannelName::new("s"));
        let first = holding.hold(&stream, FEW);
        come(&holding, &["1"]);
        let second = holding.hold(&stream, FEW);
        come(&holding, &["2"]);
        let held = |guard: &HoldGuard<'_>| guard.held.items.borrow().len();
        assert_eq!((held(&first), held(&second)), (2, 1));
        drop(first);
        come(&holding, &["3"]);
        assert_eq!(held(&second), 2);
        drop(second);
        assert!(holding.is_empty());
    }
}
