//! Reads the link in bursts, and gives it up when it has ended or is dead.

use super::{Actor, LinkPhase};
use crate::{
    reason::GapReason,
    upstream::{
        burst::{self, Burst, LAST_BURSTS},
        connect::Connect,
        link::LinkError,
        pubsub::subscriber::{End, Subscriber},
    },
};
use tokio::time::Instant;

impl<C: Connect> Actor<C> {
    pub(super) fn linked(&mut self, link: C::Link, now: Instant) {
        let subscriber = Subscriber::new(link, &self.settings, &self.node.router, now);
        self.phase = LinkPhase::Linked(Box::new(subscriber));
        self.node.table.link_up();
        self.node.primary.linked();
        self.health.linked(now);
    }

    /// The link, or the dial, is of no use any more. What was received before is delivered first.
    pub(super) fn give_up(&mut self, end: &End, now: Instant) {
        self.take_arrived(now);
        let (gap, error) = match end {
            End::Lost(error) => {
                self.node.primary.lost();
                (GapReason::RedisReconnected, error.clone())
            }
            // The same patience as with a server that hangs up: two may name each other.
            End::Moved(why) => (GapReason::RedisMoved, LinkError::Lost(why.clone())),
        };
        if self.is_idle(&error) {
            self.health.idle_link_closed();
        } else {
            self.health.down(&error.to_string(), now);
        }
        // A dial that took long has waited already: a Redis that hung is dialled at once.
        let from = match &self.phase {
            LinkPhase::Dialling { started, .. } => *started,
            LinkPhase::Waiting { .. } | LinkPhase::Linked(_) => now,
        };
        let until = self.backoff.after(&error, self.health.away(now), from);
        let was_linked = matches!(
            std::mem::replace(&mut self.phase, LinkPhase::Waiting { until }),
            LinkPhase::Linked(_)
        );
        self.publisher.stop();
        self.node.probe.link_lost();
        self.pauses.end(now);
        if was_linked {
            self.revocation_gap.lost();
            self.node.link_lost(gap);
        }
    }

    /// Whether Redis has closed a link on which nothing is subscribed and nothing was asked, as it does
    /// with idle connections (`timeout` in redis.conf): nobody has missed anything. If the next dial
    /// fails, that is an outage.
    fn is_idle(&self, error: &LinkError) -> bool {
        let LinkPhase::Linked(subscriber) = &self.phase else { return false };
        let table = &self.node.table;
        matches!(error, LinkError::Lost(_))
            && self.health.is_up()
            && subscriber.commands.outstanding.len() == 0
            && self.settings.probe_channel.is_none()
            && self.settings.control_channel.is_none()
            && table.wanted() + table.subscribed() == 0
    }

    pub(super) fn arrived(&mut self, now: Instant) {
        if let Some(end) = self.burst(now) {
            self.give_up(&end, now);
        }
    }

    /// Routes what has arrived already.
    fn take_arrived(&mut self, now: Instant) {
        for _ in 0..LAST_BURSTS {
            self.is_behind = false;
            if self.burst(now).is_some() || !self.is_behind {
                break;
            }
            self.node.queues.flush();
        }
        self.is_behind = false;
    }

    /// Takes in one burst of what has arrived; hands back why the link must be given up, if so.
    pub(super) fn burst(&mut self, now: Instant) -> Option<End> {
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return None };
        self.node.router.start_burst();
        let node = &mut self.node;
        let Burst { is_behind, end } = burst::take(|| {
            let handled = subscriber.handle_next(node, now)?;
            Some(handled.map(|()| {
                subscriber.commands.outstanding.heard(now);
                node.queues.staged()
            }))
        });
        self.is_behind = is_behind;
        end
    }

    /// Why the link must be given up, if it must.
    pub(super) fn dead(&mut self, now: Instant) -> Option<End> {
        if self.pauses.is_paused() || !self.is_dead(now) {
            return None;
        }
        // Messages that came meanwhile prove it alive all the same.
        if let Some(end) = self.burst(now) {
            return Some(end);
        }
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return None };
        let why = format!("no answer within {:?}", subscriber.commands.outstanding.timeout());
        subscriber.is_dead(now).then_some(End::Lost(LinkError::Lost(why)))
    }

    fn is_dead(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            LinkPhase::Linked(subscriber) => subscriber.is_dead(now),
            LinkPhase::Waiting { .. } | LinkPhase::Dialling { .. } => false,
        }
    }
}
