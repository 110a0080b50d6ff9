//! The subscription to rooms' announcements: upstream takes part in its own pub/sub as a shard does.

use crate::{
    bus::{
        Event, NewsEnd, Request, RequestBatch, RingError, SubscriptionEvent, SubscriptionEvents,
    },
    channel::ChannelName,
};
use hashbrown::HashMap;
use std::future::pending;
use tokio::sync::mpsc;

/// Events that are taken from the ring at once.
const AT_ONCE: usize = 256;

pub(super) struct News {
    end: NewsEnd,
    /// The room of each channel.
    rooms: HashMap<ChannelName, u32, foldhash::fast::RandomState>,
    pending: Vec<Request>,
    sequence: u64,
}

/// What can happen.
pub(super) enum NewsEvent {
    /// Announcements and gaps, in order.
    Events(Vec<Event>),
    /// The ring overflowed, and some were dropped.
    Lagged,
    Subscriptions(SubscriptionEvents),
    /// The queue of requests has room for the next batch.
    Asks(mpsc::OwnedPermit<RequestBatch>),
}

impl News {
    pub(super) fn new(end: NewsEnd) -> Self {
        Self { end, rooms: HashMap::default(), pending: Vec::new(), sequence: 1 }
    }

    /// Subscribes; returns the number of the batch that asks for it.
    pub(super) fn subscribe(&mut self, channel: &ChannelName, room: u32) -> u64 {
        self.rooms.insert(channel.clone(), room);
        self.pending.push(Request::Subscribe(channel.clone()));
        self.sequence
    }

    pub(super) fn unsubscribe(&mut self, channel: &ChannelName) {
        if let Some((channel, _)) = self.rooms.remove_entry(channel) {
            self.pending.push(Request::Unsubscribe(channel));
        }
    }

    pub(super) fn room(&self, channel: &str) -> Option<u32> {
        self.rooms.get(channel).copied()
    }

    /// Sends what is to be asked.
    pub(super) fn ask(&mut self, permit: mpsc::OwnedPermit<RequestBatch>) {
        let requests = std::mem::take(&mut self.pending);
        permit.send(RequestBatch { shard: self.end.id, sequence: self.sequence, requests });
        self.sequence += 1;
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> NewsEvent {
        let Self { end, pending: asks, .. } = self;
        let NewsEnd { ring, subscription_events, requests, .. } = end;
        let permit = async {
            match asks.is_empty() {
                true => pending().await,
                false => requests.clone().reserve_owned().await,
            }
        };
        let mut events = Vec::new();
        tokio::select! {
            biased;
            Ok(permit) = permit => NewsEvent::Asks(permit),
            Some(events) = subscription_events.recv() => NewsEvent::Subscriptions(events),
            taken = ring.recv_many(&mut events, AT_ONCE) => match taken {
                Ok(()) => NewsEvent::Events(events),
                Err(RingError::Lagged(_)) => NewsEvent::Lagged,
                Err(RingError::Closed) => pending().await,
            },
            else => pending().await,
        }
    }
}

/// The channels that are confirmed by these events, each of which may speak of the past.
pub(super) fn confirmed(events: Vec<SubscriptionEvent>) -> impl Iterator<Item = ChannelName> {
    events.into_iter().filter_map(|event| match event {
        SubscriptionEvent::Confirmed(channel) => Some(channel),
        SubscriptionEvent::Rejected(..) | SubscriptionEvent::Lost(_) => None,
    })
}
