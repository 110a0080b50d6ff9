//! For tests: one Redis stream in memory, the tail that reads it, and what answers a shard's questions.

use super::{
    Resume,
    rig::{Client, Rig, identity, spec},
};
use crate::{
    bus::{
        Page, PageAsk, PageEntry, PageFacts, StreamEvent, StreamFacts, StreamRequest,
        StreamRequests,
    },
    channel::ChannelName,
    endpoint::{Endpoint, Topics},
    message::Message,
    reason::{GapReason, Refusal},
    stream_id::StreamId,
    testing, wire,
};
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

pub(super) fn id(milliseconds: u64) -> StreamId {
    StreamId { milliseconds, sequence: 0 }
}

pub(super) fn chat() -> ChannelName {
    ChannelName::new("chat")
}

/// An endpoint with the stream `chat` alone, json.
pub(super) fn endpoint() -> Endpoint {
    endpoint_with("streams = [\"chat\"]")
}

/// A json endpoint with these keys.
pub(super) fn endpoint_with(keys: &str) -> Endpoint {
    let auth = testing::AUTH;
    let text =
        format!("[[endpoint]]\nname = \"test\"\npath = \"/ws\"\nformat = \"json\"\n{keys}\n{auth}");
    Arc::into_inner(testing::config(&text).endpoints.remove(0)).unwrap()
}

/// A stream as Redis keeps it. The payload of an entry is its number: see [`number`].
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) entries: Vec<StreamId>,
    facts: StreamFacts,
}

/// The number of an entry: its sequence where it has one.
fn number(id: StreamId) -> u64 {
    if id.sequence == 0 { id.milliseconds } else { id.sequence }
}

impl Stream {
    pub(super) fn add(&mut self, id: StreamId) {
        assert!(id > self.facts.last, "XADD refuses it");
        if !self.facts.exists {
            self.facts.max_deleted = Some(StreamId::ZERO);
        }
        self.facts.exists = true;
        self.facts.added = Some(self.facts.added.unwrap_or(0) + 1);
        self.facts.last = id;
        self.entries.push(id);
    }

    pub(super) fn add_all(&mut self, range: impl IntoIterator<Item = u64>) {
        range.into_iter().for_each(|at| self.add(id(at)));
    }

    pub(super) fn trim_to(&mut self, left: usize) {
        let gone = self.entries.len().saturating_sub(left);
        self.entries.drain(..gone);
    }

    pub(super) fn delete_entry(&mut self, id: StreamId) {
        self.entries.retain(|&known| known != id);
        self.facts.max_deleted = self.facts.max_deleted.max(Some(id));
    }

    /// DEL: what is made anew knows nothing of it.
    pub(super) fn delete(&mut self) {
        *self = Self::default();
    }

    pub(super) fn last(&self) -> StreamId {
        self.facts.last
    }

    pub(super) fn facts(&self) -> StreamFacts {
        let first = self.entries.first().copied();
        StreamFacts { length: self.entries.len() as u64, first, ..self.facts }
    }

    fn after(&self, after: StreamId) -> impl Iterator<Item = StreamId> {
        self.entries.iter().copied().filter(move |&id| id > after)
    }

    fn page(&self, ask: PageAsk) -> Page {
        match ask {
            PageAsk::After { after, until, count, facts } => {
                let found = self.entries.contains(&after);
                let asked = match facts {
                    PageFacts::Never => false,
                    PageFacts::WhereNotFound => !found,
                    PageFacts::Always => true,
                };
                let read: Vec<_> = self.after(after).take(count).collect();
                let is_full = read.len() == count;
                let within = read.into_iter().filter(|&id| until.is_none_or(|it| id <= it));
                let facts = asked.then(|| self.facts());
                Page { entries: within.map(entry).collect(), found, is_full, facts }
            }
            PageAsk::Newest { until, count } => {
                let newest = self.entries.iter().rev().filter(|&&id| id <= until).take(count);
                let mut entries: Vec<_> = newest.copied().map(entry).collect();
                entries.reverse();
                let is_full = entries.len() == count;
                Page { entries, found: false, is_full, facts: Some(self.facts()) }
            }
        }
    }
}

fn message(id: StreamId) -> Arc<Message> {
    Arc::new(wire::entry(chat(), id, number(id).to_string().as_bytes(), Instant::now()))
}

fn entry(id: StreamId) -> PageEntry {
    PageEntry::Message(message(id))
}

/// The instance's place in the stream, moved as upstream moves it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: StreamId,
    added: u64,
    /// Where `added` was last taken from the server.
    counted: StreamId,
}

impl Tail {
    fn of(stream: &Stream) -> Self {
        let last = stream.last();
        Self { last, added: stream.facts.added.unwrap_or(0), counted: last }
    }

    /// Everything new, as it goes into the ring.
    fn read(&mut self, stream: &Stream) -> Vec<StreamEvent> {
        let facts = stream.facts();
        let mut events = Vec::new();
        if !facts.exists && self.last != StreamId::ZERO {
            events.push(StreamEvent::Turn { stream: chat() });
        }
        if facts.exists && facts.last < self.last {
            events.extend(reset(facts.last));
        } else if facts.exists {
            events.extend(self.lost(stream, &facts));
            let new = stream.after(self.last);
            events.extend(new.map(|id| StreamEvent::Entry(message(id))));
        }
        events.push(StreamEvent::Place { stream: chat(), place: facts.last });
        *self = Self::of(stream);
        events
    }

    /// What is told where the entry at the place is gone from a stream that has grown past it.
    fn lost(&self, stream: &Stream, facts: &StreamFacts) -> Vec<StreamEvent> {
        let added = facts.added.unwrap_or(0);
        let deleted = facts.max_deleted.unwrap_or_default();
        if stream.entries.contains(&self.last) {
            return Vec::new();
        }
        if added < self.added {
            return reset(self.last).into();
        }
        if facts.first.is_some_and(|first| first <= self.last) {
            return if deleted >= self.last { Vec::new() } else { reset(self.last).into() };
        }
        let place = facts.first.map_or(facts.last, just_before);
        let gap = |missed| StreamEvent::Gap {
            stream: chat(),
            reason: GapReason::StreamTrimmed,
            missed,
            place,
        };
        match (added - self.added).checked_sub(facts.length) {
            None => reset(self.last).into(),
            Some(0) => Vec::new(),
            Some(_) if deleted > self.counted => vec![gap(None)],
            missed => vec![gap(missed)],
        }
    }
}

fn just_before(id: StreamId) -> StreamId {
    match id.sequence.checked_sub(1) {
        Some(sequence) => StreamId { sequence, ..id },
        None => StreamId { milliseconds: id.milliseconds - 1, sequence: u64::MAX },
    }
}

fn reset(place: StreamId) -> [StreamEvent; 2] {
    let reason = GapReason::StreamReset;
    let gap = StreamEvent::Gap { stream: chat(), reason, missed: None, place };
    [StreamEvent::Turn { stream: chat() }, gap]
}

/// What the test does before a question is answered; its number, from 0.
type Meanwhile = Box<dyn FnMut(usize, &mut StreamRig)>;

/// A shard, a stream and its tail.
pub(super) struct StreamRig {
    pub(super) rig: Rig,
    shared: Rc<RefCell<Stream>>,
    tail: Tail,
    pub(super) asked: Vec<PageAsk>,
    /// Entries of the heaviest page that upstream keeps whole.
    pub(super) heaviest: usize,
    questions: usize,
    meanwhile: Option<Meanwhile>,
}

impl StreamRig {
    /// With entries at these places, all of which the tail has read.
    pub(super) fn new(entries: impl IntoIterator<Item = u64>) -> Self {
        Self::over(Rig::new(), entries)
    }

    pub(super) fn over(rig: Rig, entries: impl IntoIterator<Item = u64>) -> Self {
        let mut stream = Stream::default();
        stream.add_all(entries);
        Self::of(rig, Rc::new(RefCell::new(stream)))
    }

    /// Over a stream that others may have, too.
    pub(super) fn of(rig: Rig, shared: Rc<RefCell<Stream>>) -> Self {
        let tail = Tail::of(&shared.borrow());
        let (asked, heaviest) = (Vec::new(), usize::MAX);
        Self { rig, shared, tail, asked, heaviest, questions: 0, meanwhile: None }
    }

    pub(super) fn stream(&self) -> RefMut<'_, Stream> {
        self.shared.borrow_mut()
    }

    /// From now on this happens before each answer.
    pub(super) fn meanwhile(&mut self, meanwhile: impl FnMut(usize, &mut Self) + 'static) {
        self.questions = 0;
        self.meanwhile = Some(Box::new(meanwhile));
    }

    /// The tail reads what is new.
    pub(super) fn read_tail(&mut self) {
        let events = self.tail.read(&self.shared.borrow());
        events.into_iter().for_each(|event| self.event(event));
    }

    pub(super) fn event(&self, event: StreamEvent) {
        self.rig.upstream.streams.rings[0].send(event);
    }

    /// New entries, which the tail reads at once.
    pub(super) fn publish(&mut self, range: impl IntoIterator<Item = u64>) {
        self.stream().add_all(range);
        self.read_tail();
    }

    /// Opens a session and starts it, while all questions are answered.
    pub(super) async fn connect(
        &mut self,
        endpoint: Endpoint,
        resume: &Resume,
    ) -> Result<Client, Refusal> {
        let shard = self.rig.shard.clone();
        let topics = Topics { channels: Vec::new(), streams: vec![chat()] };
        let opening = async {
            let mut subscription = shard.subscribe(topics).await?;
            subscription.make_room(&endpoint, resume).await;
            subscription.open(spec(endpoint, identity()), resume).await
        };
        tokio::select! {
            biased;
            pending = opening => pending.map(Client::start),
            () = self.answer_all() => unreachable!("questions never end"),
        }
    }

    /// Answers everything that the shard asks.
    pub(super) async fn answer_all(&mut self) {
        loop {
            let streams = &mut self.rig.upstream.streams;
            tokio::select! {
                requests = streams.requests.recv() => self.do_requests(requests.unwrap()),
                request = streams.pages.recv() => {
                    let request = request.unwrap();
                    self.pass_time();
                    self.asked.push(request.ask);
                    let mut page = self.stream().page(request.ask);
                    self.cut(request.ask, &mut page);
                    let _ = request.answer.send(Ok(page));
                }
            }
        }
    }

    /// As upstream cuts a page that is too heavy.
    fn cut(&self, ask: PageAsk, page: &mut Page) {
        let dropped = page.entries.len().saturating_sub(self.heaviest);
        page.is_full |= dropped > 0;
        match ask {
            PageAsk::Newest { .. } => drop(page.entries.drain(..dropped)),
            PageAsk::After { .. } => page.entries.truncate(self.heaviest),
        }
    }

    fn do_requests(&mut self, StreamRequests { sequence, requests, .. }: StreamRequests) {
        for request in requests {
            match request {
                StreamRequest::Subscribe(stream) => {
                    self.tail = Tail::of(&self.shared.borrow());
                    let place = self.tail.last;
                    self.event(StreamEvent::Subscribed { stream, place, read_up_to: sequence });
                }
                StreamRequest::Unsubscribe(_) => {}
                StreamRequest::Mark { number, .. } => {
                    self.pass_time();
                    self.read_tail();
                    self.event(StreamEvent::Marker(number));
                }
            }
        }
    }

    fn pass_time(&mut self) {
        if let Some(mut meanwhile) = self.meanwhile.take() {
            let question = self.questions;
            self.questions += 1;
            meanwhile(question, self);
            self.meanwhile = Some(meanwhile);
        }
    }
}
