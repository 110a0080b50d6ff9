//! One life of the connection that subscribes: what it is told, in which order, and what its answers
//! change.
//!
//! Commands are pipelined. Each channel is acknowledged by its name, and its gap is marked in the rings
//! at that very place: after the confirmation, so that nothing published later can be missed, and
//! before the first message that follows. Redis refuses a command as a whole for one bad channel; its
//! halves are then asked side by side, until each bad one stands alone, and what was refused once is
//! asked alone from then on.

use super::{
    internal::InternalChannel,
    outstanding::{Kind, Outstanding},
    primary::Primary,
    probe::Probe,
    table::{Answered, Node, Table},
};
use crate::{
    bus::{RejectedBy, SubscriptionEvent},
    channel::ChannelName,
    config,
    log_throttle::LogThrottle,
    upstream::{
        link::{Arrival, Command, Link, LinkError},
        router::{Router, ShardQueues, Sinks},
    },
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use tracing::warn;

/// Channels in one SUBSCRIBE or UNSUBSCRIBE.
const BATCH: usize = 1_000;

/// Commands for sessions' channels that may wait for their answers at one time.
const IN_FLIGHT: usize = 64;

/// … among them, of those for one channel that was refused before: the others never wait for these.
const ALONE_IN_FLIGHT: usize = 32;

/// Between two batches, so that joins that come together go out together. The first after a pause
/// goes at once.
const PACE: Duration = Duration::from_millis(1);

/// The connection, and the talk on it.
pub(super) struct Subscriber<L> {
    pub(super) link: L,
    pub(super) talk: Talk,
}

/// What was asked on the connection, and what is to be asked next.
pub(super) struct Talk {
    pub(super) outstanding: Outstanding,
    /// Parts of a batch that was refused: one of their channels, or more, is not allowed.
    halves: VecDeque<Vec<Box<str>>>,
    /// Batches are not sent before.
    not_before: Instant,
    probe: InternalChannel,
    control: InternalChannel,
    /// Our own channels were answered, for the first time or otherwise than before.
    news: bool,
    /// What Redis complains of in its answers to PING.
    warning: Option<LinkError>,
}

/// What the answers change, and what decides on the next commands.
pub(super) struct Work<'a> {
    pub(super) node: Node,
    pub(super) table: &'a mut Table,
    pub(super) queues: &'a mut ShardQueues,
    pub(super) router: &'a mut Router,
    pub(super) probe: &'a mut Probe,
    pub(super) primary: &'a mut Primary,
    /// Of the log record on refused channels.
    pub(super) refusals: &'a mut LogThrottle,
    pub(super) now: Instant,
}

/// Why a link must be given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Lost(LinkError),
    /// It works, but the primary is elsewhere, in words.
    Moved(String),
}

impl<L: Link> Subscriber<L> {
    pub(super) fn new(link: L, settings: &config::Redis, router: &Router, now: Instant) -> Self {
        let own = |channel: &Option<String>| {
            InternalChannel::new(channel.as_deref().map(|name| router.redis_name(name)))
        };
        let talk = Talk {
            outstanding: Outstanding::new(settings.probe_timeout, now),
            halves: VecDeque::new(),
            not_before: now,
            probe: own(&settings.probe_channel),
            control: own(&settings.control_channel),
            news: settings.probe_channel.is_none() && settings.control_channel.is_none(),
            warning: None,
        };
        Self { link, talk }
    }

    /// Takes in one arrival, if there is any. `None`: there is not.
    ///
    /// # Errors
    /// When the link must be given up.
    pub(super) fn take_next(&mut self, work: &mut Work<'_>) -> Option<Result<(), End>> {
        let arrival = self.link.try_next()?;
        Some(self.talk.handle(arrival, work))
    }

    /// Whether the link must be given up. Take in everything that has arrived before you ask.
    pub(super) fn is_dead(&mut self, now: Instant) -> bool {
        if !self.talk.outstanding.is_late(now) {
            return false;
        }
        self.talk.outstanding.received(self.link.received(), now);
        self.talk.outstanding.is_dead(now)
    }

    /// Sends what is due, as far as the socket takes it.
    pub(super) fn send_next(&mut self, work: &mut Work<'_>) {
        let before = self.talk.outstanding.len();
        self.talk.send_own(&mut self.link, work);
        self.talk.send_batches(&mut self.link, work);
        if self.talk.outstanding.len() != before {
            self.link.flush();
        }
    }
}

impl Talk {
    /// Whether our own channels are answered, so that probing makes sense.
    pub(super) fn introduced(&self) -> bool {
        self.probe.is_settled() && self.control.is_settled()
    }

    /// Whether our own channels were answered since this was last asked, so that probing makes sense
    /// again.
    pub(super) fn take_news(&mut self) -> bool {
        self.introduced() && std::mem::take(&mut self.news)
    }

    /// Why there are no canaries, if Redis refuses the probe channel.
    pub(super) fn probe_refused(&self) -> Option<&str> {
        self.probe.refused()
    }

    /// Why nobody can be revoked, if Redis refuses the control channel.
    pub(super) fn control_refused(&self) -> Option<&str> {
        self.control.refused()
    }

    /// Asks once more for those of our own channels that were refused.
    pub(super) fn retry_own(&mut self) {
        self.probe.retry();
        self.control.retry();
    }

    /// Whether everything wanted has been asked for and answered.
    pub(super) fn settled(&self, table: &Table) -> bool {
        self.introduced()
            && self.halves.is_empty()
            && !table.subscribes()
            && !self.outstanding.any_subscribe()
    }

    /// When the next batch may go out, if one is waiting for that.
    pub(super) fn pace(&self, table: &Table) -> Option<Instant> {
        let any = table.subscribes() || table.unsubscribes();
        (any && self.outstanding.len() < ALONE_IN_FLIGHT).then_some(self.not_before)
    }

    // ---- what is asked ----

    fn send(&mut self, link: &mut impl Link, command: Command, now: Instant) {
        self.outstanding.sent(&command, now);
        link.send(command);
    }

    /// Our own channels, the probe, and what is left of a refused batch.
    fn send_own(&mut self, link: &mut impl Link, work: &mut Work<'_>) {
        let own = [self.probe.take_wanted(), self.control.take_wanted()];
        for name in own.into_iter().flatten() {
            self.send(link, Command::Subscribe(vec![name]), work.now);
        }
        if work.probe.wants_ping() {
            // In this order: a proof is not believed before the role is known.
            if work.primary.asks() {
                self.send(link, Command::Role, work.now);
            }
            self.send(link, Command::Ping, work.now);
            work.probe.ping_sent();
        }
        while let Some(half) = self.halves.pop_front() {
            self.send(link, Command::Subscribe(half), work.now);
        }
    }

    /// Sessions' channels, unless the last batch has only just gone out.
    fn send_batches(&mut self, link: &mut impl Link, work: &mut Work<'_>) {
        let any = work.table.subscribes() || work.table.unsubscribes();
        if !any || work.now < self.not_before {
            return;
        }
        self.not_before = work.now + PACE;
        while self.outstanding.len() < IN_FLIGHT {
            let batch = work.table.take_subscribes(BATCH);
            if batch.is_empty() {
                break;
            }
            self.send(link, Command::Subscribe(names(&batch, work.router)), work.now);
        }
        let leaves = work.table.take_unsubscribes(BATCH, work.now);
        if !leaves.is_empty() {
            self.send(link, Command::Unsubscribe(names(&leaves, work.router)), work.now);
        }
        let room = ALONE_IN_FLIGHT.saturating_sub(self.outstanding.len());
        for channel in work.table.take_alone(room) {
            self.send(link, Command::Subscribe(names(&[channel], work.router)), work.now);
        }
    }

    // ---- what is answered ----

    fn handle(&mut self, arrival: Arrival<'_>, work: &mut Work<'_>) -> Result<(), End> {
        match arrival {
            Arrival::Message { channel, pattern: None, payload } => {
                let (router, mut sinks) = work.routing();
                router.message(channel, payload, &mut sinks);
            }
            Arrival::Oversized { channel, pattern: None, bytes } => {
                let (router, mut sinks) = work.routing();
                router.oversized(channel, bytes, &mut sinks);
            }
            // No pattern was asked for.
            Arrival::Message { .. } | Arrival::Oversized { .. } => {}
            Arrival::Confirmed(channel) => {
                self.outstanding.answered(Kind::Subscribe);
                self.confirmed(channel, work);
            }
            Arrival::Released(channel) => {
                self.outstanding.answered(Kind::Unsubscribe);
                work.released(channel);
            }
            Arrival::Rejected(command, error) => {
                self.outstanding.rejected();
                self.rejected(command, error, work)?;
            }
            Arrival::Pong { warning } => {
                self.outstanding.answered(Kind::Ping);
                self.heed(warning);
                work.probe.ping_answered();
            }
            Arrival::Role(role) => {
                self.outstanding.answered(Kind::Role);
                if let Some(why) = work.primary.observe(role) {
                    return Err(End::Moved(why));
                }
            }
            Arrival::Ended(error) => return Err(End::Lost(error)),
        }
        Ok(())
    }

    fn confirmed(&mut self, channel: &[u8], work: &mut Work<'_>) {
        if let Some(own) = self.own(channel) {
            let news = own.confirm();
            self.news |= news;
        } else if let Some(name) = work.router.own_name(channel)
            && let Some(answered) = work.table.confirm(name, work.now)
        {
            work.tell_gap(&answered);
            let event = SubscriptionEvent::Confirmed(answered.channel);
            work.queues.tell(answered.shards, &event);
        }
    }

    fn own(&mut self, channel: &[u8]) -> Option<&mut InternalChannel> {
        [&mut self.probe, &mut self.control].into_iter().find(|own| own.is(channel))
    }

    /// Redis refuses a whole command for one bad channel: halve until it stands alone.
    fn rejected(
        &mut self,
        command: Command,
        error: LinkError,
        work: &mut Work<'_>,
    ) -> Result<(), End> {
        let (mut names, why) = match (command, error) {
            (Command::Subscribe(names), LinkError::ChannelRefused(why)) => (names, why),
            (_, error) => return Err(End::Lost(error)),
        };
        if names.len() > 1 {
            let half = names.split_off(names.len() / 2);
            self.halves.extend([names, half]);
        } else if let Some(name) = names.first() {
            self.refused(name, why, work);
        }
        Ok(())
    }

    fn refused(&mut self, channel: &str, why: String, work: &mut Work<'_>) {
        if let Some(own) = self.own(channel.as_bytes()) {
            let news = own.refuse(why);
            self.news |= news;
        } else if let Some(name) = work.router.own_name(channel.as_bytes())
            && let Some(answered) = work.table.refuse(name)
        {
            if let Some(before) = work.refusals.to_log(work.now.into_std()) {
                warn!(channel, reason = why, before, "Redis refuses a channel");
            }
            let event = SubscriptionEvent::Rejected(answered.channel, RejectedBy::Redis);
            work.queues.tell(answered.shards, &event);
        }
    }

    /// Logs what Redis complains of, once.
    fn heed(&mut self, warning: Option<LinkError>) {
        if let Some(reason) = &warning
            && self.warning.as_ref() != Some(reason)
        {
            warn!(%reason, "Redis has a trouble of its own; publish and subscribe go on");
        }
        self.warning = warning;
    }
}

impl Work<'_> {
    fn routing(&mut self) -> (&mut Router, Sinks<'_>) {
        let Self { node, table, queues, router, probe, .. } = self;
        (router, Sinks { node: *node, table, queues, probe })
    }

    /// Marks the gap of a channel in the rings, if it has one.
    fn tell_gap(&mut self, answered: &Answered) {
        if let Some(reason) = answered.gap {
            self.queues.gap(answered.shards, answered.channel.clone(), reason);
        }
    }

    fn released(&mut self, channel: &[u8]) {
        if let Some(name) = self.router.own_name(channel)
            && let Some(lost) = self.table.released(name)
        {
            self.queues.lost(vec![lost]);
        }
    }
}

fn names(batch: &[ChannelName], router: &Router) -> Vec<Box<str>> {
    batch.iter().map(|channel| router.redis_name(channel)).collect()
}
