//! The one task of a node: waits for the next event, handles it, then does what is due.
//!
//! It alone owns everything of the node; nothing is shared, nothing is locked.
//!
//! Start-up, recovery and everyday work are one path: dial, then make *wanted* and *subscribed* equal.

use super::{
    node::Node,
    pause::Pauses,
    revocation_gap::RevocationGap,
    subscriber::{End, Subscriber},
};
use crate::{
    bus::{RequestBatch, Revoke, UpstreamEnd},
    config::{self, OnRevocationGap},
    metrics::Metrics,
    upstream::{
        backoff::Backoff,
        connect::Connect,
        health::Health,
        link::{Link, LinkError, Pending},
        publish::{PublishEvent, PublishOutcome, Publisher},
        shard_queues::ShardQueues,
        status::Status,
    },
};
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};
use tracing::warn;

mod proving;
mod reading;

/// How long a refusal, of a channel or of its release, is remembered before Redis is asked again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// The actor's timer when nothing is due: far, and soon enough for any clock.
const FAR: Duration = Duration::from_secs(3_600);

/// One node, its connections, and what shards ask of it.
pub(in crate::upstream) struct Actor<C: Connect> {
    connect: C,
    settings: config::Redis,
    requests: mpsc::Receiver<RequestBatch>,
    node: Node,
    health: Health,
    backoff: Backoff,
    phase: LinkPhase<C::Link>,
    publisher: Publisher<C>,
    pauses: Pauses,
    revocation_gap: RevocationGap,
    retry_refused: Instant,
    /// More may have arrived than was routed.
    is_behind: bool,
}

enum LinkPhase<L> {
    Waiting { until: Instant },
    Dialling { dial: Pending<L>, started: Instant },
    Linked(Box<Subscriber<L>>),
}

/// What can happen.
enum ActorEvent<C: Connect> {
    Requests(Option<RequestBatch>),
    Dialled(Result<C::Link, LinkError>),
    Publisher(PublishEvent<C::Publisher>),
    Arrived,
    Timer,
}

impl<C: Connect> Actor<C> {
    /// Nothing is connected before [`Actor::run`].
    pub(in crate::upstream) fn new(
        connect: C,
        settings: config::Redis,
        end: UpstreamEnd,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Status>) {
        let now = Instant::now();
        let (health, status) = Health::new(metrics, settings.proof_expires(), now);
        let (queues, requests) = ShardQueues::new(end);
        let backoff = || Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let actor = Self {
            connect,
            requests,
            node: Node::new(&settings, queues, now),
            health,
            backoff: backoff(),
            phase: LinkPhase::Waiting { until: now },
            publisher: Publisher::new(backoff(), settings.probe_timeout),
            pauses: Pauses::default(),
            revocation_gap: RevocationGap::default(),
            retry_refused: now + REFUSED_RETRY,
            is_behind: false,
            settings,
        };
        (actor, status)
    }

    /// Where others report what they know of the Redis side.
    pub(in crate::upstream) fn status(&self) -> watch::Sender<Status> {
        self.health.status()
    }

    /// Runs until every shard has gone.
    pub(in crate::upstream) async fn run(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            match self.next(&mut timer).await {
                ActorEvent::Requests(None) => return,
                event => self.handle(event),
            }
            let now = Instant::now();
            self.tick(now);
            self.flush(now);
            if std::mem::take(&mut self.is_behind) {
                // On a shard's thread, its tasks get their turn between two bursts.
                yield_now().await;
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self, timer: &mut Pin<Box<Sleep>>) -> ActorEvent<C> {
        let deadline = self.deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        let paused = self.pauses.is_paused();
        let Self { requests, phase, publisher, .. } = self;
        tokio::select! {
            // Messages last: there may always be one more, and the others would never be heard.
            biased;
            batch = requests.recv() => ActorEvent::Requests(batch),
            () = timer.as_mut() => ActorEvent::Timer,
            event = publisher.next() => ActorEvent::Publisher(event),
            event = phase.next(paused) => event,
        }
    }

    fn handle(&mut self, event: ActorEvent<C>) {
        let now = Instant::now();
        match event {
            ActorEvent::Requests(batch) => batch.iter().for_each(|it| self.node.request(it, now)),
            ActorEvent::Dialled(Ok(link)) => self.linked(link, now),
            ActorEvent::Dialled(Err(error)) => self.give_up(&End::Lost(error), now),
            ActorEvent::Publisher(event) => self.publish_event(event, now),
            ActorEvent::Arrived => self.arrived(now),
            ActorEvent::Timer => {}
        }
    }

    /// Does everything that time, or what has just happened, asks for. Doing it twice does no harm.
    fn tick(&mut self, now: Instant) {
        if let LinkPhase::Waiting { until } = self.phase
            && until <= now
        {
            let dial = self.connect.link(self.node.primary.target());
            self.phase = LinkPhase::Dialling { dial, started: now };
        }
        if let PublishOutcome::Failed(reason) = self.publisher.tick(&self.connect, now) {
            self.unproven(&reason, now);
        }
        self.node.table.expire(now);
        if self.retry_refused <= now {
            self.retry_refused = now + REFUSED_RETRY;
            self.node.table.retry_refused();
            self.node.table.retry_kept(now);
        }
        match self.dead(now) {
            Some(end) => self.give_up(&end, now),
            None => self.reconcile(now),
        }
        self.health.metrics.upstream.patterns.set(self.node.table.patterns() as i64);
        self.health.refresh(self.node.table.wanted(), self.node.table.subscribed(), now);
    }

    /// Sends what was staged; stops reading where a shard has fallen far behind, or goes on.
    fn flush(&mut self, now: Instant) {
        self.node.queues.flush();
        // Not before the shards have what is counted.
        self.node.router.count(&self.health.metrics.upstream);
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return };
        let was_paused = self.pauses.is_paused();
        if self.pauses.update(self.node.queues.fill(), now) {
            self.health.metrics.upstream.read_pauses.inc();
        }
        if was_paused {
            // Nothing could be heard meanwhile.
            subscriber.commands.outstanding.heard(now);
            self.node.probe.paused();
        }
    }

    fn reconcile(&mut self, now: Instant) {
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return };
        if let Some(error) = subscriber.commands.take_own_put_off() {
            self.health.down(&error.to_string(), now);
        }
        if subscriber.commands.take_control_lost() {
            self.revocation_gap.lost();
        }
        let changed = subscriber.commands.take_changed();
        if subscriber.commands.take_control_answer(&self.node) {
            self.control_answered();
        }
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return };
        if subscriber.commands.own_answered() && (changed || self.node.probe.due(now)) {
            self.begin_round(now);
            if let LinkPhase::Linked(subscriber) = &mut self.phase
                && !changed
            {
                subscriber.commands.retry_own();
            }
        }
        self.conclude_round(now);
        self.release_canary(now);
        let LinkPhase::Linked(subscriber) = &mut self.phase else { return };
        subscriber.send_next(&mut self.node, now);
        if subscriber.commands.settled(&self.node.table) {
            self.health.all_subscribed(now);
        }
    }

    /// Redis has answered for the control channel, if there is one.
    fn control_answered(&mut self) {
        let LinkPhase::Linked(subscriber) = &self.phase else { return };
        let refused = subscriber.commands.control_refused();
        self.health.control(refused);
        if self.settings.control_channel.is_none()
            || !self.revocation_gap.answered(refused.is_some())
        {
            return;
        }
        self.health.metrics.upstream.revocation_gaps.inc();
        warn!(
            "the control channel was not subscribed for a while: revocations may have been missed"
        );
        if self.settings.on_revocation_gap == OnRevocationGap::Close {
            self.node.queues.revoke(&Revoke::Everyone);
        }
    }

    /// When [`Actor::tick`] must be called next, at the latest.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let phase = match &self.phase {
            LinkPhase::Waiting { until } => Some(*until),
            LinkPhase::Dialling { .. } => None,
            LinkPhase::Linked(subscriber) => {
                let commands = &subscriber.commands;
                let probe = self.node.probe.deadline().filter(|_| commands.own_answered());
                let dead = commands.outstanding.deadline().filter(|_| !self.pauses.is_paused());
                let (pace, put_off) = (commands.pace(&self.node), commands.put_off.deadline());
                [dead, probe, pace, put_off].into_iter().flatten().min()
            }
        };
        let retries = self.node.table.has_refused() || self.node.table.has_kept();
        let refused = retries.then_some(self.retry_refused);
        let others = [
            self.publisher.deadline(),
            Some(self.health.deadline()),
            self.node.table.next_expiry(),
            self.pauses.deadline(now),
        ];
        let all = others.into_iter().chain([phase, refused]).flatten();
        all.min().unwrap_or_else(|| now + FAR)
    }
}

impl<L: Link> LinkPhase<L> {
    async fn next<C: Connect<Link = L>>(&mut self, paused: bool) -> ActorEvent<C> {
        match self {
            Self::Linked(_) if paused => pending().await,
            Self::Waiting { .. } => pending().await,
            Self::Dialling { dial, .. } => ActorEvent::Dialled(dial.await),
            Self::Linked(subscriber) => {
                subscriber.link.ready().await;
                ActorEvent::Arrived
            }
        }
    }
}

#[cfg(test)]
mod tests;
