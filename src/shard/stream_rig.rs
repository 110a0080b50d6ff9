//! For tests: one Redis stream in memory, the tail that reads it, and what answers a shard's questions.

mod stream;
mod tail;

pub(super) use crate::stream_id::id;
pub(super) use stream::Stream;

use super::{
    Resume,
    rig::{Client, Rig, identity, spec},
};
use crate::{
    bus::{Page, PageAsk, StreamEvent, StreamRequest, StreamRequests},
    channel::ChannelName,
    endpoint::{Endpoint, Topics},
    reason::Refusal,
    testing,
};
use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
    sync::Arc,
};
use tail::Tail;

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

/// What the test does before a question is answered; its number, from 0.
type Meanwhile = Box<dyn FnMut(usize, &mut StreamRig)>;

/// A shard, a stream and its tail.
pub(super) struct StreamRig {
    pub(super) rig: Rig,
    shared: Rc<RefCell<Stream>>,
    tail: Tail,
    pub(super) asked: Vec<PageAsk>,
    /// Readings of the tail that were asked for: whether up to where the stream ends.
    pub(super) marks: Vec<bool>,
    /// How often the shard has given the stream back.
    pub(super) given_back: usize,
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
        let (asked, marks, heaviest) = (Vec::new(), Vec::new(), usize::MAX);
        Self {
            rig,
            shared,
            tail,
            asked,
            marks,
            given_back: 0,
            heaviest,
            questions: 0,
            meanwhile: None,
        }
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
        self.read_tail_to(false);
    }

    fn read_tail_to(&mut self, end: bool) {
        let events = self.tail.read(&self.shared.borrow(), end);
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
        let topics = Topics { channels: Vec::new(), streams: vec![chat()], presence: None };
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
                StreamRequest::Unsubscribe(_) => self.given_back += 1,
                StreamRequest::Mark { number, to_end, .. } => {
                    self.pass_time();
                    self.marks.push(to_end);
                    self.read_tail_to(to_end);
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
