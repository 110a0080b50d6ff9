//! The connection that subscribes, from its dial to its end: sends commands, handles their answers.
//!
//! Commands are pipelined. Each channel is acknowledged by its name, and its gap is marked in the rings
//! at that very place: after the confirmation, so that nothing published later can be missed, and
//! before the first message that follows. Redis refuses a command as a whole for one bad channel; its
//! halves are then asked side by side, until each bad one stands alone, and what was refused once is
//! asked alone from then on. An error that passes (BUSY) refuses nobody: the command is put off.
//! Whatever Redis answers to one of these commands, the link stays.

use super::{
    internal_channel::InternalChannel, node::Node, outstanding::Outstanding, put_off::PutOff,
    router::Router, table::Table,
};
use crate::{
    channel::{ChannelName, is_pattern},
    config,
    upstream::link::{Command, Link, LinkError},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

mod answers;

/// Channels in one SUBSCRIBE or UNSUBSCRIBE.
const BATCH: usize = 1_000;

/// Commands for sessions' channels that may wait for their answers at one time.
const IN_FLIGHT: usize = 64;

/// … among them, of those for one channel that was refused before: the others never wait for these.
const ALONE_IN_FLIGHT: usize = 32;

/// Between two batches, so that joins that come together go out together. The first after a pause
/// goes at once.
const PACE: Duration = Duration::from_millis(1);

/// The connection, and the commands on it.
pub(super) struct Subscriber<L> {
    pub(super) link: L,
    pub(super) commands: Commands,
}

/// What was asked on the connection, and what is to be asked next.
pub(super) struct Commands {
    pub(super) outstanding: Outstanding,
    /// Parts of a batch that was refused: one of their channels, or more, is not allowed.
    halves: VecDeque<Vec<Box<str>>>,
    /// What failed for a reason that passes.
    pub(super) put_off: PutOff,
    /// Why our own channels are among that; until this is taken.
    own_put_off: Option<LinkError>,
    /// Our own channels were answered, and what that means for revocations is not told yet.
    control_untold: bool,
    /// Redis has let go of the control channel; until this is taken.
    control_lost: bool,
    /// Batches are not sent before.
    not_before: Instant,
    probe: InternalChannel,
    control: InternalChannel,
    /// Our own channels were answered, for the first time or otherwise than before.
    own_changed: bool,
    /// What Redis complains of in its answers to PING.
    warning: Option<LinkError>,
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
        let commands = Commands {
            outstanding: Outstanding::new(settings.probe_timeout, now),
            halves: VecDeque::new(),
            put_off: PutOff::default(),
            own_put_off: None,
            control_untold: false,
            control_lost: false,
            not_before: now,
            probe: own(&settings.probe_channel),
            control: own(&settings.control_channel),
            own_changed: settings.probe_channel.is_none() && settings.control_channel.is_none(),
            warning: None,
        };
        Self { link, commands }
    }

    /// Takes in one arrival, if there is any. `None`: there is not.
    ///
    /// # Errors
    /// When the link must be given up.
    pub(super) fn handle_next(&mut self, node: &mut Node, now: Instant) -> Option<Result<(), End>> {
        let arrival = self.link.try_next()?;
        Some(self.commands.handle(arrival, node, now))
    }

    /// Whether the link must be given up. Take in everything that has arrived before you ask.
    pub(super) fn is_dead(&mut self, now: Instant) -> bool {
        if !self.commands.outstanding.is_late(now) {
            return false;
        }
        self.commands.outstanding.received(self.link.received(), now);
        self.commands.outstanding.is_dead(now)
    }

    /// Sends what is due, as far as the socket takes it.
    pub(super) fn send_next(&mut self, node: &mut Node, now: Instant) {
        let before = self.commands.outstanding.len();
        self.commands.send_own(&mut self.link, node, now);
        self.commands.send_batches(&mut self.link, node, now);
        if self.commands.outstanding.len() != before {
            self.link.flush();
        }
    }
}

impl Commands {
    /// Whether our own channels are answered, so that probing makes sense.
    pub(super) fn own_answered(&self) -> bool {
        self.probe.is_settled() && self.control.is_settled()
    }

    /// Whether our own channels were answered since this was last asked, so that probing makes sense
    /// again.
    pub(super) fn take_changed(&mut self) -> bool {
        let changed = self.own_answered() && std::mem::take(&mut self.own_changed);
        self.control_untold |= changed;
        changed
    }

    /// Whether it is to be told now what was answered for the control channel: once, and not by a
    /// server that may have to be left again.
    pub(super) fn take_control_answer(&mut self, node: &Node) -> bool {
        !node.primary.is_awaited() && std::mem::take(&mut self.control_untold)
    }

    /// Why there are no canaries, if Redis refuses the probe channel.
    pub(super) fn probe_refused(&self) -> Option<&str> {
        self.probe.refused()
    }

    /// Why nobody can be revoked, if Redis refuses the control channel.
    pub(super) fn control_refused(&self) -> Option<&str> {
        self.control.refused()
    }

    /// Why Redis does not take our own channels now, if it said so since this was last asked.
    pub(super) fn take_own_put_off(&mut self) -> Option<LinkError> {
        self.own_put_off.take()
    }

    /// Whether Redis has let go of the control channel since this was last asked.
    pub(super) fn take_control_lost(&mut self) -> bool {
        std::mem::take(&mut self.control_lost)
    }

    /// Asks once more for those of our own channels that were refused.
    pub(super) fn retry_own(&mut self) {
        self.probe.retry();
        self.control.retry();
    }

    /// Whether everything wanted has been asked for and answered.
    pub(super) fn settled(&self, table: &Table) -> bool {
        self.own_answered()
            && self.halves.is_empty()
            && self.put_off.is_empty()
            && !table.subscribes()
            && !self.outstanding.any_subscribe()
    }

    /// When the next batch may go out, if one is waiting for that.
    pub(super) fn pace(&self, node: &Node) -> Option<Instant> {
        let table = &node.table;
        let limit = match () {
            () if node.primary.is_awaited() => 0,
            () if table.has_batches() => IN_FLIGHT,
            () if table.subscribes() => ALONE_IN_FLIGHT,
            () => 0,
        };
        (self.outstanding.len() < limit).then_some(self.not_before)
    }

    // ---- what is asked ----

    fn send(&mut self, link: &mut impl Link, command: Command, now: Instant) {
        self.outstanding.sent(&command, now);
        link.send(command);
    }

    /// Subscribes to these, the patterns among them by a command of their own.
    fn subscribe(&mut self, link: &mut impl Link, names: Vec<Box<str>>, now: Instant) {
        let (patterns, channels) = split(names);
        if !channels.is_empty() {
            self.send(link, Command::Subscribe(channels), now);
        }
        if !patterns.is_empty() {
            self.send(link, Command::SubscribePatterns(patterns), now);
        }
    }

    fn unsubscribe(&mut self, link: &mut impl Link, names: Vec<Box<str>>, now: Instant) {
        let (patterns, channels) = split(names);
        if !channels.is_empty() {
            self.send(link, Command::Unsubscribe(channels), now);
        }
        if !patterns.is_empty() {
            self.send(link, Command::UnsubscribePatterns(patterns), now);
        }
    }

    /// Our own channels, the probe, what is left of a refused batch, and what was put off.
    fn send_own(&mut self, link: &mut impl Link, node: &mut Node, now: Instant) {
        let own = [self.probe.take_wanted(), self.control.take_wanted()];
        for name in own.into_iter().flatten() {
            self.subscribe(link, vec![name], now);
        }
        if node.probe.wants_ping() {
            // In this order: a proof is not believed before the role is known.
            if node.primary.asks() {
                self.send(link, Command::Role, now);
            }
            self.send(link, Command::Ping, now);
            node.probe.ping_sent();
        }
        while let Some(half) = self.halves.pop_front() {
            self.subscribe(link, half, now);
        }
        for mut channels in self.put_off.take_due(now) {
            channels
                .retain(|name| self.own(name.as_bytes()).is_some() || node.is_still_asked(name));
            if !channels.is_empty() {
                self.subscribe(link, channels, now);
            }
        }
    }

    /// Sessions' channels, unless the last batch has only just gone out.
    fn send_batches(&mut self, link: &mut impl Link, node: &mut Node, now: Instant) {
        if !(node.table.has_batches() || node.table.subscribes())
            || now < self.not_before
            || node.primary.is_awaited()
        {
            return;
        }
        self.not_before = now + PACE;
        while self.outstanding.len() < IN_FLIGHT {
            let batch = node.table.take_subscribes(BATCH);
            if batch.is_empty() {
                break;
            }
            self.subscribe(link, names(&batch, &node.router), now);
        }
        let leaves = node.table.take_unsubscribes(BATCH, now);
        if !leaves.is_empty() {
            self.unsubscribe(link, names(&leaves, &node.router), now);
        }
        let room = ALONE_IN_FLIGHT.saturating_sub(self.outstanding.len());
        for channel in node.table.take_alone(room) {
            self.subscribe(link, names(&[channel], &node.router), now);
        }
    }
}

/// Patterns, and channels.
fn split(names: Vec<Box<str>>) -> (Vec<Box<str>>, Vec<Box<str>>) {
    names.into_iter().partition(|name| is_pattern(name))
}

fn names(batch: &[ChannelName], router: &Router) -> Vec<Box<str>> {
    batch.iter().map(|channel| router.redis_name(channel)).collect()
}
