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
    reason::{GapReason, Refusal},
    stream_id::StreamId,
    testing, wire,
};
use std::{sync::Arc, time::Instant};

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

/// A stream as Redis keeps it. The payload of an entry is the number of its id.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) entries: Vec<u64>,
    facts: StreamFacts,
}

impl Stream {
    pub(super) fn add(&mut self, at: u64) {
        assert!(id(at) > self.facts.last, "XADD refuses it");
        if !self.facts.exists {
            self.facts.max_deleted = Some(StreamId::ZERO);
        }
        self.facts.exists = true;
        self.facts.added = Some(self.facts.added.unwrap_or(0) + 1);
        self.facts.last = id(at);
        self.entries.push(at);
    }

    pub(super) fn add_all(&mut self, range: impl IntoIterator<Item = u64>) {
        range.into_iter().for_each(|at| self.add(at));
    }

    pub(super) fn trim_to(&mut self, left: usize) {
        let gone = self.entries.len().saturating_sub(left);
        self.entries.drain(..gone);
    }

    pub(super) fn delete_entry(&mut self, at: u64) {
        self.entries.retain(|&known| known != at);
        self.facts.max_deleted = self.facts.max_deleted.max(Some(id(at)));
    }

    /// DEL: what is made anew knows nothing of it.
    pub(super) fn delete(&mut self) {
        *self = Self::default();
    }

    pub(super) fn last(&self) -> StreamId {
        self.facts.last
    }

    pub(super) fn facts(&self) -> StreamFacts {
        let first = self.entries.first().map(|&at| id(at));
        StreamFacts { length: self.entries.len() as u64, first, ..self.facts }
    }

    fn after(&self, after: StreamId) -> impl Iterator<Item = u64> {
        self.entries.iter().copied().filter(move |&at| id(at) > after)
    }

    fn page(&self, ask: PageAsk) -> Page {
        match ask {
            PageAsk::After { after, until, count, facts } => {
                let found = self.entries.iter().any(|&at| id(at) == after);
                let asked = match facts {
                    PageFacts::Never => false,
                    PageFacts::WhereNotFound => !found,
                    PageFacts::Always => true,
                };
                let read: Vec<_> = self.after(after).take(count).collect();
                let is_full = read.len() == count;
                let within = read.into_iter().filter(|&at| until.is_none_or(|it| id(at) <= it));
                let facts = asked.then(|| self.facts());
                Page { entries: within.map(entry).collect(), found, is_full, facts }
            }
            PageAsk::Newest { until, count } => {
                let mut newest: Vec<_> =
                    self.entries.iter().rev().filter(|&&at| id(at) <= until).take(count).collect();
                newest.reverse();
                let is_full = newest.len() == count;
                let entries = newest.into_iter().copied().map(entry).collect();
                Page { entries, found: false, is_full, facts: Some(self.facts()) }
            }
        }
    }
}

fn message(at: u64) -> Arc<crate::message::Message> {
    Arc::new(wire::entry(chat(), id(at), at.to_string().as_bytes(), Instant::now()))
}

fn entry(at: u64) -> PageEntry {
    PageEntry::Message(message(at))
}

/// The instance's place in the stream, moved by the rules that upstream follows.
#[derive(Debug, Default)]
pub(super) struct Tail {
    last: StreamId,
    added: u64,
}

impl Tail {
    fn of(stream: &Stream) -> Self {
        Self { last: stream.last(), added: stream.facts.added.unwrap_or(0) }
    }

    /// Everything new, as it goes into the ring.
    fn read(&mut self, stream: &Stream) -> Vec<StreamEvent> {
        let (facts, mut events) = (stream.facts(), Vec::new());
        let added = facts.added.unwrap_or(0);
        let turn = StreamEvent::Turn { stream: chat() };
        let gap =
            |reason, missed, place| StreamEvent::Gap { stream: chat(), reason, missed, place };
        if !facts.exists {
            if self.last != StreamId::ZERO {
                events.push(turn);
            }
            events.push(StreamEvent::Place { stream: chat(), place: StreamId::ZERO });
        } else if facts.last < self.last {
            events.extend([turn, gap(GapReason::StreamReset, None, facts.last)]);
        } else {
            let is_found = stream.entries.iter().any(|&at| id(at) == self.last);
            let missed = added.checked_sub(self.added + facts.length);
            if added < self.added || (!is_found && facts.first.is_some_and(|it| it <= self.last)) {
                events.extend([turn, gap(GapReason::StreamReset, None, self.last)]);
            } else if !is_found && missed.is_none() {
                events.extend([turn, gap(GapReason::StreamReset, None, self.last)]);
            } else if !is_found && missed > Some(0) {
                let before = stream.entries.first().map_or(facts.last, |&at| id(at - 1));
                events.push(gap(GapReason::StreamTrimmed, missed, before));
            }
            events.extend(stream.after(self.last).map(|at| StreamEvent::Entry(message(at))));
        }
        *self = Self::of(stream);
        events
    }
}

/// What the test does before a question is answered; its number, from 0.
type Meanwhile = Box<dyn FnMut(usize, &mut StreamRig)>;

/// A shard, a stream and its tail.
pub(super) struct StreamRig {
    pub(super) rig: Rig,
    pub(super) stream: Stream,
    pub(super) tail: Tail,
    pub(super) asked: Vec<PageAsk>,
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
        let tail = Tail::of(&stream);
        Self { rig, stream, tail, asked: Vec::new(), questions: 0, meanwhile: None }
    }

    /// From now on this happens before each answer.
    pub(super) fn meanwhile(&mut self, meanwhile: impl FnMut(usize, &mut Self) + 'static) {
        self.questions = 0;
        self.meanwhile = Some(Box::new(meanwhile));
    }

    /// The tail reads what is new.
    pub(super) fn read_tail(&mut self) {
        for event in self.tail.read(&self.stream) {
            self.event(event);
        }
    }

    pub(super) fn event(&mut self, event: StreamEvent) {
        self.rig.upstream.streams.rings[0].send(event);
    }

    /// New entries, which the tail reads at once.
    pub(super) fn publish(&mut self, range: impl IntoIterator<Item = u64>) {
        self.stream.add_all(range);
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
                    let _ = request.answer.send(Ok(self.stream.page(request.ask)));
                }
            }
        }
    }

    fn do_requests(&mut self, StreamRequests { sequence, requests, .. }: StreamRequests) {
        for request in requests {
            match request {
                StreamRequest::Subscribe(stream) => {
                    self.tail = Tail::of(&self.stream);
                    let place = self.tail.last;
                    self.event(StreamEvent::Subscribed { stream, place, read_up_to: sequence });
                }
                StreamRequest::Unsubscribe(_) => {}
                StreamRequest::Mark { stream, number } => {
                    self.pass_time();
                    self.read_tail();
                    self.event(StreamEvent::Marker { stream, number });
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
