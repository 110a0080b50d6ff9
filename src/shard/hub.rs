//! Fan-out table of a shard: which sessions are in each channel, and whether Redis has confirmed it.
//!
//! The hub never talks to Redis: it notes what changed in what is wanted, and takes upstream's
//! subscription events. It knows sessions only by their keys. A shard has one for pub/sub channels and
//! one for streams, of each of which it also keeps how far it has come.

use super::members::Members;
use crate::{
    bus::{RejectedBy, Request, SubscriptionEvent, SubscriptionEvents},
    channel::ChannelName,
    reason::Refusal,
};
use hashbrown::{HashMap, hash_map::Entry};
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Debug)]
pub(super) struct Hub<K = ()> {
    channels: HashMap<ChannelName, Channel<K>, foldhash::fast::RandomState>,
    /// Requests that upstream has not been sent yet.
    requests: Vec<Request>,
    /// Counts from 1 the times that all gaps were told at once: what was lost before is not any more.
    epoch: u32,
    /// The number that the next batch of requests will have.
    sequence: u64,
}

/// Small on purpose: often there is one for each session.
#[derive(Debug)]
struct Channel<K> {
    confirmation: Confirmation,
    /// [`Hub::epoch`] when it was lost, in the order of the ring; 0: its gap was told.
    interrupted: u32,
    /// Places taken in this channel, those of sessions included. At 0 it is given up.
    places: u32,
    /// Keys of the sessions that messages go to.
    members: Members,
    /// What the shard keeps of it beside that.
    kept: K,
}

/// What upstream has said of a channel.
#[derive(Debug)]
enum Confirmation {
    Awaited(Box<Awaited>),
    Subscribed,
    Rejected(RejectedBy),
}

/// A channel of which upstream has said nothing yet.
#[derive(Debug)]
struct Awaited {
    /// The number of the batch that asks for it.
    sequence: u64,
    /// Handshakes that wait for the confirmation.
    waiting: Vec<Waker>,
}

impl<K> Channel<K> {
    fn is_refused(&self) -> bool {
        matches!(self.confirmation, Confirmation::Rejected(RejectedBy::Redis))
    }
}

impl<K: Default> Hub<K> {
    pub(super) fn new() -> Self {
        Self { channels: HashMap::default(), requests: Vec::new(), epoch: 1, sequence: 1 }
    }

    /// Takes a place in a channel. The first one asks upstream for it.
    pub(super) fn acquire(&mut self, name: &ChannelName) {
        match self.channels.entry(name.clone()) {
            Entry::Occupied(mut channel) => channel.get_mut().places += 1,
            Entry::Vacant(vacant) => {
                let awaited = Awaited { sequence: self.sequence, waiting: Vec::new() };
                vacant.insert(Channel {
                    confirmation: Confirmation::Awaited(Box::new(awaited)),
                    interrupted: 0,
                    places: 1,
                    members: Members::NONE,
                    kept: K::default(),
                });
                self.requests.push(Request::Subscribe(name.clone()));
            }
        }
    }

    /// Gives a place back. With the last one the channel is given up.
    pub(super) fn release(&mut self, name: &ChannelName) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.places -= 1;
        if channel.places == 0 {
            self.channels.remove(name);
            self.requests.push(Request::Unsubscribe(name.clone()));
        }
    }

    /// Whether all of these channels, in which the caller has places, are subscribed.
    pub(super) fn poll_subscribed(
        &mut self,
        names: &[ChannelName],
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refusal>> {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            match &mut channel.confirmation {
                Confirmation::Subscribed => {}
                Confirmation::Rejected(by) => return Poll::Ready(Err((*by).into())),
                Confirmation::Awaited(awaited) => {
                    // A handshake is polled for other reasons too, such as each byte that its client
                    // sends early; it waits here once all the same.
                    if !awaited.waiting.iter().any(|known| known.will_wake(cx.waker())) {
                        awaited.waiting.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes upstream's subscription events and wakes the handshakes that waited for them. Returns the
    /// channels that Redis has taken away from sessions.
    pub(super) fn apply(
        &mut self,
        SubscriptionEvents { read_up_to, events }: SubscriptionEvents,
    ) -> Vec<ChannelName> {
        let mut taken_away = Vec::new();
        for event in events {
            match event {
                SubscriptionEvent::Confirmed(name) => {
                    self.confirm(&name, read_up_to);
                }
                SubscriptionEvent::Rejected(name, by) => {
                    if self.reject(&name, by, read_up_to) {
                        taken_away.push(name);
                    }
                }
                SubscriptionEvent::Lost(names) => self.lost(&names),
            }
        }
        taken_away
    }

    /// Upstream has confirmed a channel. `false`: it speaks of the past.
    pub(super) fn confirm(&mut self, name: &ChannelName, read_up_to: u64) -> bool {
        self.settle(name, Confirmation::Subscribed, read_up_to)
    }

    /// Upstream cannot have a channel. `true`: Redis has taken it away from sessions.
    pub(super) fn reject(&mut self, name: &ChannelName, by: RejectedBy, read_up_to: u64) -> bool {
        self.settle(name, Confirmation::Rejected(by), read_up_to);
        self.is_refused(name) && self.members(name).len() > 0
    }

    /// Whether Redis refuses this channel: no session can have it now.
    pub(super) fn is_refused(&self, name: &str) -> bool {
        self.channels.get(name).is_some_and(Channel::is_refused)
    }

    /// `false`: the event is of before the channel was given up, and perhaps asked for again.
    fn settle(&mut self, name: &ChannelName, event: Confirmation, read_up_to: u64) -> bool {
        let Some(channel) = self.channels.get_mut(name) else { return false };
        let confirmation = &mut channel.confirmation;
        if matches!(confirmation, Confirmation::Awaited(one) if one.sequence > read_up_to) {
            return false;
        }
        if let Confirmation::Awaited(awaited) = std::mem::replace(confirmation, event) {
            awaited.waiting.into_iter().for_each(Waker::wake);
        }
        // Of a refused channel no gap is told, so that nobody may wait for its end.
        if channel.is_refused() {
            channel.interrupted = 0;
        }
        true
    }

    /// Channels whose confirmation is awaited stay as they are: each gets an event of its own.
    fn lost(&mut self, names: &[ChannelName]) {
        for name in names {
            if let Some(channel) = self.channels.get_mut(name)
                && matches!(channel.confirmation, Confirmation::Subscribed)
            {
                channel.confirmation = Confirmation::Rejected(RejectedBy::LinkDown);
            }
        }
    }

    /// The ring says that these channels miss messages from here on.
    pub(super) fn interrupt(&mut self, names: &[ChannelName]) {
        for name in names {
            if let Some(channel) = self.channels.get_mut(name)
                && !channel.is_refused()
            {
                channel.interrupted = self.epoch;
            }
        }
    }

    /// The ring says that a channel's gap ends here.
    pub(super) fn resume(&mut self, name: &str) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.interrupted = 0;
        }
    }

    /// All gaps are told at once.
    pub(super) fn resume_all(&mut self) {
        self.epoch += 1;
    }

    /// Whether any of these channels has a gap that has not ended yet.
    pub(super) fn is_interrupted(&self, names: &[ChannelName]) -> bool {
        names
            .iter()
            .any(|name| self.channels.get(name).is_some_and(|it| it.interrupted == self.epoch))
    }

    /// Lets messages of a channel go to a session, which has a place in it already.
    pub(super) fn add_member(&mut self, name: &ChannelName, key: u32) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.members.insert(key);
        }
    }

    /// Takes a session out of a channel, if it is there, and gives its place back.
    pub(super) fn remove_member(&mut self, name: &ChannelName, key: u32) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.members.remove(key);
        }
        self.release(name);
    }

    /// What is kept of a channel, and the sessions that its messages go to.
    pub(super) fn find(&self, name: &str) -> Option<(&K, &Members)> {
        self.channels.get(name).map(|channel| (&channel.kept, &channel.members))
    }

    /// The sessions that a channel's messages go to.
    pub(super) fn members(&self, name: &str) -> &Members {
        self.channels.get(name).map_or(&Members::NONE, |channel| &channel.members)
    }

    /// What upstream must be asked next, with its number; `None` when nothing changed.
    pub(super) fn take_requests(&mut self) -> Option<(u64, Vec<Request>)> {
        self.has_requests().then(|| self.next_batch())
    }

    /// What changed since the last batch, if anything did, and the number of the next one.
    pub(super) fn next_batch(&mut self) -> (u64, Vec<Request>) {
        let sequence = self.sequence;
        self.sequence += 1;
        (sequence, std::mem::take(&mut self.requests))
    }

    /// Whether [`Hub::take_requests`] has something to hand out.
    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Often there is one for each session.
    #[test]
    fn a_channel_is_no_larger_than_it_was() {
        assert!(size_of::<Channel<()>>() <= 48, "{}", size_of::<Channel<()>>());
    }

    #[test]
    fn a_handshake_waits_once_however_often_it_is_polled() {
        let (mut hub, names) = (Hub::<()>::new(), [ChannelName::new("orders")]);
        hub.acquire(&names[0]);
        let waker = futures_util::task::noop_waker();
        for _ in 0..100 {
            assert!(hub.poll_subscribed(&names, &Context::from_waker(&waker)).is_pending());
        }
        let Confirmation::Awaited(awaited) = &hub.channels[&names[0]].confirmation else {
            panic!("upstream said nothing")
        };
        assert_eq!(awaited.waiting.len(), 1);
    }
}
