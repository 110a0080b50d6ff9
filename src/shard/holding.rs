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

    /// Puts what was held into the session's queue. `false`: more came than may be held, and nothing was put.
    pub(super) fn hand_over(self, session: &Session) -> bool {
        if self.held.is_over.get() {
            return false;
        }
        for item in self.held.items.take() {
            match item {
                HeldItem::Message(message) => session.enqueue(&message),
                HeldItem::Gap(loss) => session.gap(&self.stream, loss),
            };
        }
        true
    }

    /// Whether more came than may be held.
    pub(super) fn is_over(&self) -> bool {
        self.held.is_over.get()
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
