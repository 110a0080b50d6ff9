//! Streams against real `redis-server` children: what one shard is told.

use super::{PATIENCE, Rig, Server, eventually, name, settings};
use crate::{
    bus::{
        Page, PageAsk, PageEntry, PageError, PageRequest, RejectedBy, StreamEvent, StreamRequest,
        StreamRequests,
    },
    config,
    stream_id::StreamId,
};
use std::time::Duration;
use tokio::{sync::oneshot, time::timeout};

mod following;
mod losses;
mod model;
mod pages;
mod pressure;
mod rights;
mod troubles;
mod wire;

/// Follows streams with the settings of users, but for the times that a test would have to wait.
fn stream_settings(server: &Server) -> config::Redis {
    config::Redis { stream_poll: Some(Duration::from_secs(30)), ..settings(server) }
}

impl Rig {
    fn streams(server: &Server) -> Self {
        Self::start(stream_settings(server))
    }

    async fn ask(&mut self, requests: Vec<StreamRequest>) {
        self.sequence += 1;
        let request = StreamRequests { shard: 0, sequence: self.sequence, requests };
        self.shard.streams.requests.send(request).await.unwrap();
    }

    async fn follow(&mut self, stream: &str) -> String {
        self.ask(vec![StreamRequest::Subscribe(name(stream))]).await;
        self.stream_event().await
    }

    async fn unfollow(&mut self, stream: &str) {
        self.ask(vec![StreamRequest::Unsubscribe(name(stream))]).await;
    }

    async fn mark(&mut self, stream: &str, number: u64) {
        self.ask(vec![StreamRequest::Mark { stream: name(stream), number, to_end: false }]).await;
    }

    async fn stream_event(&mut self) -> String {
        let event = timeout(PATIENCE, self.shard.streams.ring.recv()).await.expect("in time");
        told(&event.unwrap())
    }

    async fn stream_events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.stream_event().await);
        }
        events
    }

    async fn page(&mut self, stream: &str, ask: PageAsk) -> Result<Page, PageError> {
        self.later_page(stream, ask).await
    }

    fn later_page(
        &mut self,
        stream: &str,
        ask: PageAsk,
    ) -> impl Future<Output = Result<Page, PageError>> + use<> {
        let (answer, page) = oneshot::channel();
        let request = PageRequest { stream: name(stream), ask, answer };
        self.shard.streams.pages.send(request).unwrap();
        async { timeout(PATIENCE, page).await.expect("in time").unwrap() }
    }
}

/// An event in words.
fn told(event: &StreamEvent) -> String {
    match event {
        StreamEvent::Subscribed { stream, place, .. } => format!("subscribed {stream} {place}"),
        StreamEvent::Rejected { stream, by, .. } => format!("rejected {stream} {by:?}"),
        StreamEvent::Entry(message) => {
            let payload = String::from_utf8_lossy(message.payload()).into_owned();
            format!("{} {}={payload}", message.channel, message.id.unwrap())
        }
        StreamEvent::TooLarge { stream, place } => format!("too large {stream} {place}"),
        StreamEvent::Place { stream, place } => format!("place {stream} {place}"),
        StreamEvent::Turn { stream } => format!("turn {stream}"),
        StreamEvent::Gap { stream, reason, missed, place } => {
            format!("gap {stream} {} {missed:?} {place}", reason.label())
        }
        StreamEvent::Marker(number) => format!("marker {number}"),
        StreamEvent::NoMarker(number, by) => format!("no marker {number} {by:?}"),
    }
}

fn id(text: &str) -> StreamId {
    StreamId::parse(text).unwrap()
}

/// The entries of a page, in words.
fn entries(page: &Page) -> Vec<String> {
    let words = |entry: &PageEntry| match entry {
        PageEntry::Message(message) => {
            let payload = String::from_utf8_lossy(message.payload()).into_owned();
            format!("{}={payload}", message.id.unwrap())
        }
        PageEntry::TooLarge(id) => format!("too large {id}"),
    };
    page.entries.iter().map(words).collect()
}

/// Adds an entry; waits for a server that still loads.
fn add(server: &Server, stream: &str, id: &str, value: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let answer = server.call(&["XADD", stream, id, "data", value]).remove(0);
        if !answer.starts_with("LOADING") {
            return assert_eq!(answer, id);
        }
        assert!(std::time::Instant::now() < deadline, "{answer}");
    }
}
