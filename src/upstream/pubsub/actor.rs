//! The one task of a node: it waits for what happens next, takes it in, then does what is due. It
//! alone owns the table; nothing is shared, nothing is locked.
//!
//! Start-up, recovery and everyday work are one path: dial, then make *wanted* and *subscribed* equal.

use super::{
    pause::Pauses,
    primary::Primary,
    probe::{Outcome, Probe},
    revocation_gap::RevocationGap,
    router::Router,
    subscriber::{End, Subscriber, Work},
    table::{Joined, ONLY_NODE, Table},
};
use crate::{
    bus::{RejectedBy, Request, RequestBatch, Revoke, SubscriptionEvent, UpstreamEnd},
    config::{self, OnRevocationGap},
    log_throttle::LogThrottle,
    metrics::Metrics,
    reason::GapReason,
    upstream::{
        backoff::Backoff,
        connect::Connect,
        health::Health,
        link::{Link, LinkError, Reply},
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

/// Messages routed before requests, timers and replies get their turn again …
const BURST: usize = 256;

/// … or so many bytes of them: a ring's last quarter must have room for a burst.
const BURST_BYTES: usize = 256 * 1024;

/// Bursts that are still routed when a link is given up.
const LAST_BURSTS: usize = 64;

/// How long a refusal is remembered before Redis is asked again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// The actor's timer when nothing is due: far, and soon enough for any clock.
const FAR: Duration = Duration::from_secs(3_600);

/// The state of one node.
pub(in crate::upstream) struct Actor<C: Connect> {
    connect: C,
    settings: config::Redis,
    requests: mpsc::Receiver<RequestBatch>,
    queues: ShardQueues,
    table: Table,
    router: Router,
    probe: Probe,
    primary: Primary,
    health: Health,
    backoff: Backoff,
    phase: Phase<C::Link>,
    publisher: Publisher<C>,
    pauses: Pauses,
    revocation_gap: RevocationGap,
    retry_refused: Instant,
    /// Channels that Redis refuses.
    refusals: LogThrottle,
    /// More may have arrived than was routed.
    is_behind: bool,
}

enum Phase<L> {
    Waiting { until: Instant },
    Dialling { dial: Reply<L>, started: Instant },
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
        let (health, status) = Health::new(metrics, now);
        let (queues, requests) = ShardQueues::new(end);
        let backoff = || Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let actor = Self {
            connect,
            requests,
            queues,
            table: Table::new(settings.linger, now),
            router: Router::new(&settings),
            probe: Probe::new(settings.probe_interval, settings.probe_timeout, now),
            primary: Primary::new(&settings.address),
            health,
            backoff: backoff(),
            phase: Phase::Waiting { until: now },
            publisher: Publisher::new(backoff(), settings.probe_timeout),
            pauses: Pauses::default(),
            revocation_gap: RevocationGap::default(),
            retry_refused: now + REFUSED_RETRY,
            refusals: LogThrottle::default(),
            is_behind: false,
            settings,
        };
        (actor, status)
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
            ActorEvent::Requests(batch) => batch.iter().for_each(|batch| self.request(batch, now)),
            ActorEvent::Dialled(Ok(link)) => self.linked(link, now),
            ActorEvent::Dialled(Err(error)) => self.give_up(&End::Lost(error), now),
            ActorEvent::Publisher(event) => self.publish_event(event, now),
            ActorEvent::Arrived => self.arrived(now),
            ActorEvent::Timer => {}
        }
    }

    // ---- what shards want ----

    fn request(&mut self, batch: &RequestBatch, now: Instant) {
        let shard = batch.shard;
        for request in &batch.requests {
            let channel = match request {
                Request::Subscribe(channel) => channel,
                Request::Unsubscribe(channel) => {
                    self.table.leave(shard, channel, now);
                    continue;
                }
            };
            let event = match self.table.join(shard, channel) {
                Joined::Pending => continue,
                Joined::Subscribed => SubscriptionEvent::Confirmed(channel.clone()),
                Joined::Refused => SubscriptionEvent::Rejected(channel.clone(), RejectedBy::Redis),
                Joined::NoLink => {
                    SubscriptionEvent::Rejected(channel.clone(), RejectedBy::LinkDown)
                }
            };
            self.queues.tell(1 << shard, &event);
        }
        self.queues.read(shard, batch.sequence);
    }

    // ---- the link ----

    fn linked(&mut self, link: C::Link, now: Instant) {
        let subscriber = Subscriber::new(link, &self.settings, &self.router, now);
        self.phase = Phase::Linked(Box::new(subscriber));
        self.table.link_up();
        self.primary.linked();
        self.health.linked(now);
    }

    /// The link, or the dial, is of no use any more. What was received before is delivered first.
    fn give_up(&mut self, end: &End, now: Instant) {
        self.drain(now);
        let (gap, error) = match end {
            End::Lost(error) => {
                self.primary.lost();
                (GapReason::RedisReconnected, error.clone())
            }
            // The same patience as with a server that hangs up: two may name each other.
            End::Moved(why) => (GapReason::RedisMoved, LinkError::Lost(why.clone())),
        };
        self.health.down(&error.to_string(), now);
        // A dial that took long has waited already: a Redis that hung is dialled at once.
        let from = match &self.phase {
            Phase::Dialling { started, .. } => *started,
            Phase::Waiting { .. } | Phase::Linked(_) => now,
        };
        let until = self.backoff.after(&error, self.health.away(now), from);
        let was_linked = matches!(
            std::mem::replace(&mut self.phase, Phase::Waiting { until }),
            Phase::Linked(_)
        );
        self.publisher.stop();
        self.probe.link_lost();
        self.pauses.end(now);
        if was_linked {
            self.tell_lost(gap);
        }
    }

    fn tell_lost(&mut self, gap: GapReason) {
        self.revocation_gap.link_lost();
        let lost = self.table.link_lost(gap);
        for (channel, shards) in lost.unanswered {
            self.queues.tell(shards, &SubscriptionEvent::Rejected(channel, RejectedBy::LinkDown));
        }
        self.queues.lost(lost.confirmed);
    }

    // ---- what comes from Redis ----

    fn arrived(&mut self, now: Instant) {
        if let Some(end) = self.burst(now) {
            self.give_up(&end, now);
        }
    }

    /// Routes what has arrived already.
    fn drain(&mut self, now: Instant) {
        for _ in 0..LAST_BURSTS {
            self.is_behind = false;
            if self.burst(now).is_some() || !self.is_behind {
                break;
            }
            self.queues.flush();
        }
        self.is_behind = false;
    }

    /// Takes in one burst of what has arrived; hands back why the link must be given up, if so.
    fn burst(&mut self, now: Instant) -> Option<End> {
        let Phase::Linked(subscriber) = &mut self.phase else { return None };
        self.router.start_burst();
        let mut work = Work {
            node: ONLY_NODE,
            table: &mut self.table,
            queues: &mut self.queues,
            router: &mut self.router,
            probe: &mut self.probe,
            primary: &mut self.primary,
            refusals: &mut self.refusals,
            now,
        };
        let mut end = None;
        self.is_behind = true;
        for _ in 0..BURST {
            match subscriber.take_next(&mut work) {
                Some(Ok(())) => subscriber.talk.outstanding.heard(now),
                Some(Err(why)) => {
                    end = Some(why);
                    break;
                }
                None => {
                    self.is_behind = false;
                    break;
                }
            }
            if work.queues.staged() > BURST_BYTES {
                break;
            }
        }
        self.router.count(&self.health.metrics.upstream);
        end
    }

    fn publish_event(&mut self, event: PublishEvent<C::Publisher>, now: Instant) {
        match self.publisher.handle(event, &self.connect, now) {
            PublishOutcome::Nothing => {}
            PublishOutcome::Published => self.probe.published(now),
            PublishOutcome::Connected => {
                if !self.health.is_up() && !self.probe.is_running() {
                    // It works again: no need to wait for the next interval.
                    self.begin_round(now);
                }
            }
            PublishOutcome::Failed(reason) => self.unproven(&reason, now),
        }
    }

    /// The command connection has failed: the subscriber stays, but is not proven alive.
    fn unproven(&mut self, reason: &str, now: Instant) {
        self.probe.abandon();
        self.health.down(reason, now);
    }

    // ---- what is due ----

    /// Does everything that time, or what has just happened, asks for. Doing it twice does no harm.
    fn tick(&mut self, now: Instant) {
        if let Phase::Waiting { until } = self.phase
            && until <= now
        {
            let dial = self.connect.link(self.primary.target());
            self.phase = Phase::Dialling { dial, started: now };
        }
        if let PublishOutcome::Failed(reason) = self.publisher.tick(&self.connect, now) {
            self.unproven(&reason, now);
        }
        self.table.expire(now);
        if self.retry_refused <= now {
            self.retry_refused = now + REFUSED_RETRY;
            self.table.retry_refused();
        }
        match self.dead(now) {
            Some(end) => self.give_up(&end, now),
            None => self.reconcile(now),
        }
        self.health.refresh(self.table.wanted(), self.table.subscribed(), now);
    }

    /// Sends what was staged; stops reading where a shard has fallen far behind, or goes on.
    fn flush(&mut self, now: Instant) {
        self.queues.flush();
        let Phase::Linked(subscriber) = &mut self.phase else { return };
        let was_paused = self.pauses.is_paused();
        if self.pauses.update(self.queues.fill(), now) {
            self.health.metrics.upstream.read_pauses.inc();
        }
        if was_paused {
            // Nothing could be heard meanwhile.
            subscriber.talk.outstanding.heard(now);
        }
    }

    /// Why the link must be given up, if it must.
    fn dead(&mut self, now: Instant) -> Option<End> {
        if self.pauses.is_paused() || !self.is_dead(now) {
            return None;
        }
        // Messages that came meanwhile prove it alive all the same.
        if let Some(end) = self.burst(now) {
            return Some(end);
        }
        let Phase::Linked(subscriber) = &mut self.phase else { return None };
        let why = format!("no answer within {:?}", subscriber.talk.outstanding.timeout());
        subscriber.is_dead(now).then_some(End::Lost(LinkError::Lost(why)))
    }

    fn is_dead(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Linked(subscriber) => subscriber.is_dead(now),
            Phase::Waiting { .. } | Phase::Dialling { .. } => false,
        }
    }

    fn reconcile(&mut self, now: Instant) {
        let Phase::Linked(subscriber) = &mut self.phase else { return };
        let news = subscriber.talk.take_news();
        if news {
            self.control_answered();
        }
        let Phase::Linked(subscriber) = &mut self.phase else { return };
        if subscriber.talk.introduced() && (news || self.probe.due(now)) {
            self.begin_round(now);
            if let Phase::Linked(subscriber) = &mut self.phase
                && !news
            {
                subscriber.talk.retry_own();
            }
        }
        self.judge(now);
        self.release_canary(now);
        let Phase::Linked(subscriber) = &mut self.phase else { return };
        let mut work = Work {
            node: ONLY_NODE,
            table: &mut self.table,
            queues: &mut self.queues,
            router: &mut self.router,
            probe: &mut self.probe,
            primary: &mut self.primary,
            refusals: &mut self.refusals,
            now,
        };
        subscriber.send_next(&mut work);
        if subscriber.talk.settled(&self.table) {
            self.health.all_subscribed(now);
        }
    }

    /// Redis has answered for the control channel, if there is one.
    fn control_answered(&mut self) {
        let Phase::Linked(subscriber) = &self.phase else { return };
        let refused = subscriber.talk.control_refused();
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
            self.queues.revoke(&Revoke::Everyone);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        let Phase::Linked(subscriber) = &self.phase else { return };
        if subscriber.talk.introduced() {
            let with_canary = self.settings.probe_channel.is_some();
            // Not before: a Redis that refuses the subscriber is spared the dial of the publisher.
            if with_canary && self.publisher.is_off() {
                self.publisher.start(&self.connect, self.primary.target(), now);
            }
            self.probe.begin(with_canary && subscriber.talk.probe_refused().is_none(), now);
        }
    }

    fn release_canary(&mut self, now: Instant) {
        let Some(channel) = self.settings.probe_channel.as_deref() else { return };
        if self.probe.wants_canary() && self.publisher.is_ready() {
            let (name, payload) = (self.router.redis_name(channel), self.probe.release_canary());
            self.publisher.publish(name, payload, &self.connect, now);
        }
    }

    /// Believes or disbelieves the link, when a round is over.
    fn judge(&mut self, now: Instant) {
        let Some(outcome) = self.probe.check(now) else { return };
        let Phase::Linked(subscriber) = &self.phase else { return };
        match (outcome, subscriber.talk.probe_refused()) {
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

    /// When [`Actor::tick`] must be called next, at the latest.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let phase = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Dialling { .. } => None,
            Phase::Linked(subscriber) => {
                let talk = &subscriber.talk;
                let probe = self.probe.deadline().filter(|_| talk.introduced());
                let dead = talk.outstanding.deadline().filter(|_| !self.pauses.is_paused());
                [dead, probe, talk.pace(&self.table)].into_iter().flatten().min()
            }
        };
        let refused = self.table.has_refused().then_some(self.retry_refused);
        let others = [
            self.publisher.deadline(),
            self.health.deadline(),
            self.table.next_expiry(),
            self.pauses.deadline(now),
        ];
        let all = others.into_iter().chain([phase, refused]).flatten();
        all.min().unwrap_or_else(|| now + FAR)
    }
}

impl<L: Link> Phase<L> {
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
