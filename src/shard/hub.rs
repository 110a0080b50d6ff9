//! A shard's table of channels: who is in each, and whether Redis has confirmed it.
//!
//! The hub never talks to Redis: it notes what changed in what is wanted, and takes upstream's
//! subscription events. It knows sessions only by their keys.

use crate::{
    bus::{RejectedBy, Request, SubscriptionEvent, SubscriptionEvents},
    channel::ChannelName,
    reason::Refusal,
};
use hashbrown::{HashMap, hash_map::Entry};
use smallvec::SmallVec;
use std::task::{Context, Poll, Waker};

/// Which sessions are in which channel.
#[derive(Debug)]
pub(super) struct Hub {
    channels: HashMap<ChannelName, Channel, foldhash::fast::RandomState>,
    /// Joins and leaves that upstream has not been told yet.
    changes: Vec<Request>,
    /// The number that the next request will have.
    sequence: u64,
}

/// Small on purpose: often there is one for each session.
#[derive(Debug)]
struct Channel {
    state: State,
    /// Lost, in the order of the ring, and its gap not told yet.
    interrupted: bool,
    /// Seats, those of sessions included. At 0 the channel is left.
    seats: u32,
    /// Keys of the sessions that messages go to. Up to four need no memory of their own.
    members: SmallVec<[u32; 4]>,
}

#[derive(Debug)]
enum State {
    Asked(Box<Asked>),
    Held,
    NotHeld(RejectedBy),
}

/// A channel that has no answer yet.
#[derive(Debug)]
struct Asked {
    /// The number of the request that it was asked for in.
    sequence: u64,
    /// Handshakes that wait for the answer.
    waiting: Vec<Waker>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self { channels: HashMap::default(), changes: Vec::new(), sequence: 1 }
    }

    /// Takes a seat in a channel. The first seat asks upstream for it.
    pub(super) fn acquire(&mut self, name: &ChannelName) {
        match self.channels.entry(name.clone()) {
            Entry::Occupied(mut channel) => channel.get_mut().seats += 1,
            Entry::Vacant(vacant) => {
                let asked = Asked { sequence: self.sequence, waiting: Vec::new() };
                vacant.insert(Channel {
                    state: State::Asked(Box::new(asked)),
                    interrupted: false,
                    seats: 1,
                    members: SmallVec::new(),
                });
                self.changes.push(Request::Subscribe(name.clone()));
            }
        }
    }

    /// Gives a seat back. The last one leaves the channel.
    pub(super) fn release(&mut self, name: &ChannelName) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.seats -= 1;
        if channel.seats == 0 {
            self.channels.remove(name);
            self.changes.push(Request::Unsubscribe(name.clone()));
        }
    }

    /// Whether all of these channels, in which the caller has seats, are held.
    pub(super) fn poll_subscribed(
        &mut self,
        names: &[ChannelName],
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            match &mut channel.state {
                State::Held => {}
                State::NotHeld(RejectedBy::Redis) => {
                    return Poll::Ready(Err(Refusal::ChannelRefused));
                }
                State::NotHeld(RejectedBy::LinkDown) => {
                    return Poll::Ready(Err(Refusal::RedisUnavailable));
                }
                State::Asked(asked) => {
                    // A handshake is polled for other reasons too, such as each byte that its client
                    // sends early; it waits here once all the same.
                    if !asked.waiting.iter().any(|known| known.will_wake(cx.waker())) {
                        asked.waiting.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes upstream's subscription events and wakes the handshakes that waited for them.
    pub(super) fn apply(&mut self, SubscriptionEvents { read_up_to, events }: SubscriptionEvents) {
        for event in events {
            match event {
                SubscriptionEvent::Confirmed(name) => self.judge(&name, State::Held, read_up_to),
                SubscriptionEvent::Rejected(name, by) => {
                    self.judge(&name, State::NotHeld(by), read_up_to)
                }
                SubscriptionEvent::Lost(names) => self.lost(&names),
            }
        }
    }

    fn judge(&mut self, name: &ChannelName, state: State, read_up_to: u64) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if matches!(&channel.state, State::Asked(asked) if asked.sequence > read_up_to) {
            return; // It speaks of an earlier stay in this channel.
        }
        if let State::Asked(asked) = std::mem::replace(&mut channel.state, state) {
            asked.waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Channels asked for stay as they are: each gets an event of its own.
    fn lost(&mut self, names: &[ChannelName]) {
        for name in names {
            if let Some(channel) = self.channels.get_mut(name)
                && matches!(channel.state, State::Held)
            {
                channel.state = State::NotHeld(RejectedBy::LinkDown);
            }
        }
    }

    /// The ring says that these channels miss messages from here on.
    pub(super) fn interrupt(&mut self, names: &[ChannelName]) {
        for name in names {
            if let Some(channel) = self.channels.get_mut(name) {
                channel.interrupted = true;
            }
        }
    }

    /// The ring says that a channel's gap ends here.
    pub(super) fn resume(&mut self, name: &str) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.interrupted = false;
        }
    }

    /// All gaps were told at once.
    pub(super) fn resume_all(&mut self) {
        self.channels.values_mut().for_each(|channel| channel.interrupted = false);
    }

    /// Whether any of these channels has a gap that has not ended yet.
    pub(super) fn is_interrupted(&self, names: &[ChannelName]) -> bool {
        names.iter().any(|name| self.channels.get(name).is_some_and(|it| it.interrupted))
    }

    /// Lets messages of a channel go to a session, whose seat it already has.
    pub(super) fn add_member(&mut self, name: &ChannelName, key: u32) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.members.push(key);
        }
    }

    /// Ends a session's place in a channel, seat included.
    pub(super) fn remove_member(&mut self, name: &ChannelName, key: u32) {
        if let Some(channel) = self.channels.get_mut(name)
            && let Some(at) = channel.members.iter().position(|&member| member == key)
        {
            channel.members.swap_remove(at);
        }
        self.release(name);
    }

    /// The sessions that a channel's messages go to.
    pub(super) fn members(&self, name: &str) -> &[u32] {
        self.channels.get(name).map_or(&[], |channel| &channel.members)
    }

    /// What upstream must be told next, with its number; `None` when nothing changed.
    pub(super) fn take_requests(&mut self) -> Option<(u64, Vec<Request>)> {
        if self.changes.is_empty() {
            return None;
        }
        let sequence = self.sequence;
        self.sequence += 1;
        Some((sequence, std::mem::take(&mut self.changes)))
    }

    /// Whether [`Hub::take_requests`] has something to hand out.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Channels whose names begin with `prefix`, and how many sessions each has.
    pub(super) fn sessions_by_channel(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = (&ChannelName, usize)> {
        self.channels
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, channel)| (name, channel.members.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_waits_once_however_often_it_is_polled() {
        let (mut hub, names) = (Hub::new(), [ChannelName::new("orders")]);
        hub.acquire(&names[0]);
        let waker = futures_util::task::noop_waker();
        for _ in 0..100 {
            assert!(hub.poll_subscribed(&names, &Context::from_waker(&waker)).is_pending());
        }
        let State::Asked(asked) = &hub.channels[&names[0]].state else {
            panic!("no subscription_event came")
        };
        assert_eq!(asked.waiting.len(), 1);
    }
}
