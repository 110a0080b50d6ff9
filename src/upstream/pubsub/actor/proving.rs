//! Proves the link in rounds: when one begins, what it publishes, what its outcome means.

use super::{Actor, LinkPhase};
use crate::upstream::{
    connect::Connect,
    link::LinkError,
    publish::{PublishEvent, PublishOutcome},
    pubsub::{probe::Outcome, subscriber::End},
};
use tokio::time::Instant;

impl<C: Connect> Actor<C> {
    pub(super) fn publish_event(&mut self, event: PublishEvent<C::Publisher>, now: Instant) {
        match self.publisher.handle(event, &self.connect, now) {
            PublishOutcome::Nothing => {}
            PublishOutcome::Published => self.node.probe.published(now),
            PublishOutcome::Connected => {
                if !self.health.is_up() && !self.node.probe.is_running() {
                    // It works again: no need to wait for the next interval.
                    self.begin_round(now);
                }
            }
            PublishOutcome::Failed(reason) => self.unproven(&reason, now),
        }
    }

    /// The command connection has failed: the subscriber stays, but is not proven alive.
    pub(super) fn unproven(&mut self, reason: &str, now: Instant) {
        self.node.probe.abandon();
        self.health.down(reason, now);
    }

    pub(super) fn begin_round(&mut self, now: Instant) {
        let LinkPhase::Linked(subscriber) = &self.phase else { return };
        if subscriber.commands.own_answered() {
            let with_canary = self.settings.probe_channel.is_some();
            // Not before: a Redis that refuses the subscriber is spared the dial of the publisher.
            if with_canary && self.publisher.is_off() {
                self.publisher.start(&self.connect, self.node.primary.target(), now);
            }
            self.node
                .probe
                .begin(with_canary && subscriber.commands.probe_refused().is_none(), now);
        }
    }

    pub(super) fn release_canary(&mut self, now: Instant) {
        let Some(channel) = self.settings.probe_channel.as_deref() else { return };
        if self.node.probe.wants_canary() && self.publisher.is_ready() {
            let (name, payload) =
                (self.node.router.redis_name(channel), self.node.probe.release_canary());
            self.publisher.publish(name, payload, &self.connect, now);
        }
    }

    /// Why the link must be given up, if messages arrive on it and answers do not.
    fn one_way(&mut self, now: Instant) -> Option<End> {
        if self.pauses.is_paused() || !self.node.probe.is_one_way(now) {
            return None;
        }
        // It may be we who stood still: the answer counts that has arrived, and those not yet read may be
        // in front of it.
        if let Some(end) = self.burst(now) {
            return Some(end);
        }
        let text = "what is published arrives, but Redis does not answer on this connection";
        let is_one_way = !self.is_behind && self.node.probe.is_one_way(now);
        is_one_way.then(|| End::Lost(LinkError::Lost(text.to_owned())))
    }

    /// Says that the link is up, or gives it up, when a round is over.
    pub(super) fn conclude_round(&mut self, now: Instant) {
        if let Some(end) = self.one_way(now) {
            return self.give_up(&end, now);
        }
        let Some(outcome) = self.node.probe.check(now) else { return };
        let LinkPhase::Linked(subscriber) = &self.phase else { return };
        match (outcome, subscriber.commands.probe_refused()) {
            (Outcome::Dead, _) => {
                let text = "what is published on the probe channel does not come back";
                self.give_up(&End::Lost(LinkError::Lost(text.to_owned())), now);
            }
            (Outcome::Proven, Some(reason)) => {
                self.health.down(&format!("cannot probe: {reason}"), now);
            }
            (Outcome::Proven, None) => {
                self.backoff.reset();
                self.health.proven(now);
            }
        }
    }
}
