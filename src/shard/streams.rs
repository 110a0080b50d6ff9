//! The streams of a shard: which sessions follow each, how far the shard has come in it, and what is
//! asked of upstream.
//!
//! A shard's place in a stream is what it has taken from its stream ring, and nothing that anybody else
//! says: only so is what a session gets from the ring exactly what comes after the place where it joined.

use super::{holding::Holding, hub::Hub};
use crate::{
    bus::{Page, PageAsk, PageError, PageRequest, Request, StreamRequest},
    channel::ChannelName,
    reason::Refusal,
    stream_id::StreamId,
};
use hashbrown::HashMap;
use std::cell::{Cell, OnceCell, RefCell};
use tokio::sync::{Notify, mpsc, oneshot};

/// See the module.
pub(super) struct Streams {
    pub(super) hub: RefCell<Hub<Progress>>,
    /// What comes for sessions that are still given what came before.
    pub(super) holding: Holding,
    marks: RefCell<Marks>,
    /// Told when there is something to ask of upstream.
    pub(super) requests_waiting: Notify,
    /// Empty before the shard's tasks run.
    pub(super) pages: OnceCell<mpsc::UnboundedSender<PageRequest>>,
}

/// How far a shard has come in one stream.
#[derive(Debug, Default)]
pub(super) struct Progress {
    place: Cell<StreamId>,
    turns: Cell<u32>,
}

impl Progress {
    /// Behind what was taken from the ring.
    pub(super) fn place(&self) -> StreamId {
        self.place.get()
    }

    pub(super) fn move_to(&self, place: StreamId) {
        self.place.set(place);
    }

    /// From here on the stream is, or may be, another one.
    pub(super) fn turn(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
    }

    /// Turns since the shard has the stream.
    pub(super) fn turns(&self) -> u32 {
        self.turns.get()
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            hub: RefCell::new(Hub::new()),
            holding: Holding::default(),
            marks: RefCell::default(),
            requests_waiting: Notify::new(),
            pages: OnceCell::new(),
        }
    }

    /// The shard's place in a stream that it has, and how often that has turned.
    pub(super) fn progress(&self, stream: &str) -> (StreamId, u32) {
        let hub = self.hub.borrow();
        hub.find(stream).map_or_else(Default::default, |(it, _)| (it.place(), it.turns()))
    }

    /// Sees to it that upstream is told what changed.
    pub(super) fn hub_changed(&self) {
        if self.hub.borrow().has_requests() {
            self.requests_waiting.notify_one();
        }
    }

    /// Waits until the tail of a stream was read once more, by a reading that begins after this call, and
    /// the shard has taken everything that it found.
    ///
    /// # Errors
    /// [`Refusal::RedisUnavailable`], or why Redis refuses it.
    pub(super) async fn read_on(&self, stream: &ChannelName) -> Result<(), Refusal> {
        self.mark(stream, false).await
    }

    /// As [`Streams::read_on`], and the shard's place is where the stream ends, also where its newest
    /// entries were deleted.
    pub(super) async fn read_to_end(&self, stream: &ChannelName) -> Result<(), Refusal> {
        self.mark(stream, true).await
    }

    async fn mark(&self, stream: &ChannelName, to_end: bool) -> Result<(), Refusal> {
        let answer = self.marks.borrow_mut().ask(stream, to_end);
        self.requests_waiting.notify_one();
        answer.await.unwrap_or(Err(Refusal::RedisUnavailable))
    }

    /// The ring says what came of the reading of this number.
    pub(super) fn marked(&self, number: u64, read: Result<(), Refusal>) {
        self.marks.borrow_mut().answer(number, read);
    }

    /// Asks for entries that are in a stream already.
    ///
    /// # Errors
    /// [`Refusal::ChannelRefused`], [`Refusal::RedisUnavailable`].
    pub(super) async fn page(&self, stream: &ChannelName, ask: PageAsk) -> Result<Page, Refusal> {
        let (answer, page) = oneshot::channel();
        let request = PageRequest { stream: stream.clone(), ask, answer };
        let sent = self.pages.get().map(|pages| pages.send(request));
        debug_assert!(sent.is_some(), "the shard's tasks run");
        match page.await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(PageError::Refused)) => Err(Refusal::ChannelRefused),
            Ok(Err(PageError::LinkDown)) | Err(_) => Err(Refusal::RedisUnavailable),
        }
    }

    /// What upstream must be asked next, with its number; `None` when there is nothing.
    pub(super) fn take_requests(&self) -> Option<(u64, Vec<StreamRequest>)> {
        let (mut hub, mut marks) = (self.hub.borrow_mut(), self.marks.borrow_mut());
        if !hub.has_requests() && marks.unsent.is_empty() {
            return None;
        }
        let (sequence, requests) = hub.next_batch();
        let changes = requests.into_iter().map(|request| match request {
            Request::Subscribe(stream) => StreamRequest::Subscribe(stream),
            Request::Unsubscribe(stream) => StreamRequest::Unsubscribe(stream),
        });
        Some((sequence, changes.chain(marks.take_unsent()).collect()))
    }
}

/// Readings of tails that handshakes wait for.
#[derive(Debug, Default)]
struct Marks {
    /// Numbers given so far.
    given: u64,
    /// Readings that upstream has not been asked for yet, so that later handshakes can share them.
    unsent: HashMap<ChannelName, Unsent, foldhash::fast::RandomState>,
    waiting: HashMap<u64, Vec<oneshot::Sender<Result<(), Refusal>>>, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Unsent {
    number: u64,
    to_end: bool,
}

impl Marks {
    fn ask(
        &mut self,
        stream: &ChannelName,
        to_end: bool,
    ) -> oneshot::Receiver<Result<(), Refusal>> {
        let (answer, answered) = oneshot::channel();
        let unsent = self.unsent.entry(stream.clone()).or_insert_with(|| {
            self.given += 1;
            Unsent { number: self.given, to_end }
        });
        unsent.to_end |= to_end;
        self.waiting.entry(unsent.number).or_default().push(answer);
        answered
    }

    fn take_unsent(&mut self) -> impl Iterator<Item = StreamRequest> + use<> {
        // Upstream owes no answer for a stream that was given up meanwhile.
        self.waiting.retain(|_, answers| answers.iter().any(|answer| !answer.is_closed()));
        let unsent = std::mem::take(&mut self.unsent);
        unsent.into_iter().map(|(stream, Unsent { number, to_end })| StreamRequest::Mark {
            stream,
            number,
            to_end,
        })
    }

    fn answer(&mut self, number: u64, read: Result<(), Refusal>) {
        for answer in self.waiting.remove(&number).into_iter().flatten() {
            // Whose handshake has ended does not wait any more.
            let _ = answer.send(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_before_upstream_was_asked_waits_for_the_same_reading() {
        let (streams, orders) = (Streams::new(), ChannelName::new("orders"));
        let mark = |number, to_end| {
            let stream = ChannelName::new("orders");
            StreamRequest::Mark { stream, number, to_end }
        };
        let ask = |to_end| streams.marks.borrow_mut().ask(&orders, to_end);
        let (mut first, mut second) = (ask(true), ask(false));
        assert_eq!(streams.take_requests(), Some((1, vec![mark(1, true)])));
        assert_eq!(streams.take_requests(), None);
        let mut third = ask(false);
        assert_eq!(streams.take_requests(), Some((2, vec![mark(2, false)])));
        streams.marked(1, Ok(()));
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        assert!(third.try_recv().is_err(), "its reading began before");
        streams.marked(2, Err(Refusal::ChannelRefused));
        assert_eq!(third.try_recv(), Ok(Err(Refusal::ChannelRefused)));
    }

    #[test]
    fn readings_that_nobody_waits_for_are_forgotten() {
        let (streams, orders) = (Streams::new(), ChannelName::new("orders"));
        for _ in 0..3 {
            drop(streams.marks.borrow_mut().ask(&orders, false));
            streams.take_requests();
        }
        assert!(streams.marks.borrow().waiting.is_empty());
    }
}
