//! The subscription to rooms' announcements: upstream takes part in its own pub/sub as a shard does.

use crate::{
    bus::{
        Event, NewsEnd, Request, RequestBatch, RingError, SubscriptionEvent, SubscriptionEvents,
    },
    channel::ChannelName,
};
use std::future::pending;
use tokio::sync::mpsc;

/// Events that are taken from the ring at once.
const AT_ONCE: usize = 256;

pub(super) struct News {
    end: NewsEnd,
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
        Self { end, pending: Vec::new(), sequence: 1 }
    }

    /// Subscribes; returns the number of the batch that asks for it.
    pub(super) fn subscribe(&mut self, channel: ChannelName) -> u64 {
        self.pending.push(Request::Subscribe(channel));
        self.sequence
    }

    /// Once for each [`News::subscribe`].
    pub(super) fn unsubscribe(&mut self, channel: ChannelName) {
        self.pending.push(Request::Unsubscribe(channel));
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
