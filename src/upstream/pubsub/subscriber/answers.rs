//! What arrives on the connection, and what each answer means.

use super::{Commands, End};
use crate::upstream::{
    link::{Arrival, Command, LinkError},
    pubsub::{internal_channel::InternalChannel, node::Node, outstanding::Kind},
};
use tokio::time::Instant;
use tracing::warn;

impl Commands {
    pub(super) fn handle(
        &mut self,
        arrival: Arrival<'_>,
        node: &mut Node,
        now: Instant,
    ) -> Result<(), End> {
        match arrival {
            Arrival::Message { channel, pattern: None, payload } => {
                node.message(channel, payload);
            }
            Arrival::Message { channel, pattern: Some(pattern), payload } => {
                node.matched(pattern, channel, payload);
            }
            Arrival::Oversized { channel, pattern: None, bytes } => {
                node.oversized(channel, bytes);
            }
            Arrival::Oversized { channel, pattern: Some(pattern), bytes } => {
                node.oversized_match(pattern, channel, bytes);
            }
            Arrival::Confirmed(channel) => {
                self.outstanding.answered(Kind::Subscribe);
                self.confirmed(channel, node, now);
            }
            Arrival::Released(channel) => {
                self.outstanding.answered(Kind::Unsubscribe);
                self.released(channel, node);
            }
            Arrival::Rejected(command, error) => {
                self.outstanding.rejected();
                self.rejected(command, error, node, now);
            }
            Arrival::Pong { warning } => {
                self.outstanding.answered(Kind::Ping);
                self.log_warning(warning);
                node.probe.ping_answered();
            }
            Arrival::Role(role) => {
                self.outstanding.answered(Kind::Role);
                if let Some(why) = node.primary.observe(role) {
                    return Err(End::Moved(why));
                }
            }
            Arrival::Ended(error) => return Err(End::Lost(error)),
        }
        Ok(())
    }

    fn confirmed(&mut self, channel: &[u8], node: &mut Node, now: Instant) {
        if let Some(own) = self.own(channel) {
            let changed = own.confirm();
            self.own_changed |= changed;
        } else {
            node.confirmed(channel, now);
        }
    }

    fn released(&mut self, channel: &[u8], node: &mut Node) {
        self.control_lost |= self.control.is(channel);
        if let Some(own) = self.own(channel) {
            own.release();
        } else {
            node.released(channel);
        }
    }

    pub(super) fn own(&mut self, channel: &[u8]) -> Option<&mut InternalChannel> {
        [&mut self.probe, &mut self.control].into_iter().find(|own| own.is(channel))
    }

    fn rejected(&mut self, command: Command, error: LinkError, node: &mut Node, now: Instant) {
        match command {
            Command::Subscribe(names) | Command::SubscribePatterns(names) if error.passes() => {
                node.put_off(&error, now);
                if names.iter().any(|name| self.own(name.as_bytes()).is_some()) {
                    self.own_put_off = Some(error);
                }
                self.put_off.add(names, now);
            }
            Command::Subscribe(names) | Command::SubscribePatterns(names) => {
                self.not_subscribed(names, &error, node, now);
            }
            Command::Unsubscribe(names) | Command::UnsubscribePatterns(names) => {
                node.not_released(&names, error);
            }
            // An error in answer to one of these is no rejection.
            Command::Ping | Command::Role => {}
        }
    }

    /// Redis refuses a whole command for one bad channel: halve until it stands alone.
    fn not_subscribed(
        &mut self,
        mut names: Vec<Box<str>>,
        error: &LinkError,
        node: &mut Node,
        now: Instant,
    ) {
        if names.len() > 1 {
            let half = names.split_off(names.len() / 2);
            self.halves.extend([names, half]);
        } else if let Some(name) = names.first() {
            self.refused(name, error.to_string(), node, now);
        }
    }

    fn refused(&mut self, channel: &str, why: String, node: &mut Node, now: Instant) {
        if let Some(own) = self.own(channel.as_bytes()) {
            let changed = own.refuse(why);
            self.own_changed |= changed;
        } else {
            node.refused(channel, &why, now);
        }
    }

    /// Logs what Redis complains of, once.
    fn log_warning(&mut self, warning: Option<LinkError>) {
        if let Some(reason) = &warning
            && self.warning.as_ref() != Some(reason)
        {
            warn!(%reason, "Redis answers PING with an error; the connection works all the same");
        }
        self.warning = warning;
    }
}
