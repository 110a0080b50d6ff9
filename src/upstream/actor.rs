//! The one task of the Redis side: it waits for what happens next, takes it in, then does what is
//! due. It alone owns the table; nothing is shared, nothing is locked.
//!
//! Start-up, recovery and everyday work are one path: dial, then make *wanted* and *held* equal.

use super::{
    Status,
    backoff::Backoff,
    client::{Arrival, LinkError, Redis, Reply, Subscriber},
    health::Health,
    probe::{Outcome, Probe},
    publish_connection::{PublishConnection, PublishEvent},
    router::{Router, Sinks},
    session::{Answer, Session, Work},
    shard_queues::ShardQueues,
    table::{Joined, Table},
};
use crate::{
    bus::{Event, RejectedBy, Request, RequestBatch, SubscriptionEvent, UpstreamEnd},
    config,
    metrics::Metrics,
    reason::GapReason,
};
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep_until},
};
use tracing::warn;

/// Messages routed before requests, timers and replies get their turn again.
const BURST: usize = 256;

/// How long a refusal is remembered before Redis is asked again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// The actor's timer when nothing is due: far, and soon enough for any clock.
const FAR: Duration = Duration::from_secs(3_600);

/// The state of the Redis side.
pub(super) struct Actor<R: Redis> {
    redis: R,
    settings: config::Redis,
    requests: mpsc::Receiver<RequestBatch>,
    queues: ShardQueues,
    table: Table,
    router: Router,
    probe: Probe,
    health: Health,
    backoff: Backoff,
    phase: Phase<R::Subscriber>,
    publish_connection: PublishConnection<R>,
    retry_refused: Instant,
}

enum Phase<S> {
    Waiting { until: Instant },
    Dialling { dial: Reply<S>, started: Instant },
    Linked(Box<Session<S>>),
}

/// What can happen.
enum ActorEvent<R: Redis> {
    RequestBatch(Option<RequestBatch>),
    Dialled(Result<R::Subscriber, LinkError>),
    Answered(Result<(), LinkError>),
    PublishConnection(PublishEvent<R::Publisher>),
    Arrived(Arrival),
    Timer,
}

impl<R: Redis> Actor<R> {
    /// Nothing is connected before [`Actor::run`].
    pub(super) fn new(
        redis: R,
        settings: config::Redis,
        end: UpstreamEnd,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Status>) {
        let now = Instant::now();
        let (health, status) = Health::new(metrics, now);
        let (queues, requests) = ShardQueues::new(end);
        let backoff = || Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let actor = Self {
            redis,
            requests,
            queues,
            table: Table::new(settings.linger, now),
            router: Router::new(&settings),
            probe: Probe::new(settings.probe_interval, settings.probe_timeout, now),
            health,
            backoff: backoff(),
            phase: Phase::Waiting { until: now },
            publish_connection: PublishConnection::new(backoff(), settings.probe_timeout),
            retry_refused: now + REFUSED_RETRY,
            settings,
        };
        (actor, status)
    }

    /// Runs until every shard has gone.
    pub(super) async fn run(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            match self.next(&mut timer).await {
                ActorEvent::RequestBatch(None) => return,
                happening => self.take(happening),
            }
            self.tick(Instant::now());
            self.queues.flush();
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self, timer: &mut Pin<Box<Sleep>>) -> ActorEvent<R> {
        let deadline = self.deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        let Self { requests, phase, publish_connection, .. } = self;
        tokio::select! {
            // Messages last: there may always be one more, and the others would never be heard.
            biased;
            request = requests.recv() => ActorEvent::RequestBatch(request),
            () = timer.as_mut() => ActorEvent::Timer,
            news = publish_connection.next() => ActorEvent::PublishConnection(news),
            happening = phase.next() => happening,
        }
    }

    fn take(&mut self, happening: ActorEvent<R>) {
        let now = Instant::now();
        match happening {
            ActorEvent::RequestBatch(request) => {
                request.into_iter().for_each(|d| self.request(&d, now))
            }
            ActorEvent::Dialled(Ok(link)) => self.linked(link, now),
            ActorEvent::Dialled(Err(error)) => self.lost(&error, now),
            ActorEvent::Answered(reply) => self.answered(reply, now),
            ActorEvent::PublishConnection(news) => self.publish_event(news, now),
            ActorEvent::Arrived(arrival) => self.arrived(arrival, now),
            ActorEvent::Timer => {}
        }
    }

    // ---- what shards want ----

    fn request(&mut self, request: &RequestBatch, now: Instant) {
        let shard = request.shard;
        for change in &request.requests {
            let channel = match change {
                Request::Subscribe(channel) => channel,
                Request::Unsubscribe(channel) => {
                    self.table.leave(shard, channel, now);
                    continue;
                }
            };
            let subscription_event = match self.table.join(shard, channel) {
                Joined::Pending => continue,
                Joined::Held => SubscriptionEvent::Confirmed(channel.clone()),
                Joined::Refused => SubscriptionEvent::Rejected(channel.clone(), RejectedBy::Redis),
                Joined::NoLink => {
                    SubscriptionEvent::Rejected(channel.clone(), RejectedBy::LinkDown)
                }
            };
            self.queues.tell(1 << shard, &subscription_event);
        }
        self.queues.read(shard, request.sequence);
    }

    // ---- the link ----

    fn linked(&mut self, link: R::Subscriber, now: Instant) {
        let session = Session::new(link, &self.settings, now);
        self.phase = Phase::Linked(Box::new(session));
        self.table.link_up();
        self.health.linked(now);
        if self.settings.probe_channel.is_some() {
            self.publish_connection.start(&self.redis, now);
        }
        self.begin_round(now);
    }

    /// The link, or the dial, has failed. What was received before is delivered first.
    fn lost(&mut self, error: &LinkError, now: Instant) {
        self.drain(now);
        self.health.down(&error.to_string(), now);
        let wait = self.backoff.after(error, self.health.away(now));
        // A dial that took long has waited already: a Redis that hung is dialled at once.
        let from = match &self.phase {
            Phase::Dialling { started, .. } => *started,
            _ => now,
        };
        let was_linked = matches!(self.phase, Phase::Linked(_));
        self.phase = Phase::Waiting { until: from + wait };
        self.publish_connection.stop();
        self.probe.abandon();
        if was_linked {
            for (channel, shards) in self.table.link_lost() {
                let subscription_event = SubscriptionEvent::Rejected(channel, RejectedBy::LinkDown);
                self.queues.tell(shards, &subscription_event);
            }
            self.queues.tell_all(&SubscriptionEvent::LinkLost);
        }
    }

    // ---- what comes from Redis ----

    fn arrived(&mut self, first: Arrival, now: Instant) {
        if let Phase::Linked(session) = &mut self.phase {
            session.heard(now);
        }
        self.router.start_burst();
        let (mut next, mut room) = (Some(first), BURST);
        while let Some(arrival) = next {
            if let Some(end) = self.route(arrival) {
                self.lost(&end, now);
                return;
            }
            room -= 1;
            next = match &mut self.phase {
                Phase::Linked(session) if room > 0 => session.try_next(now),
                _ => None,
            };
        }
        self.router.count(&self.health.metrics.upstream);
    }

    /// Routes everything that has arrived already.
    fn drain(&mut self, now: Instant) {
        self.router.start_burst();
        while let Phase::Linked(session) = &mut self.phase
            && let Some(arrival) = session.try_next(now)
            && self.route(arrival).is_none()
        {}
        self.router.count(&self.health.metrics.upstream);
    }

    /// Routes one arrival; hands back why the link has ended, if that is what it was.
    fn route(&mut self, arrival: Arrival) -> Option<LinkError> {
        match arrival {
            Arrival::Message { channel, payload } => {
                let mut sinks =
                    Sinks { table: &self.table, queues: &self.queues, probe: &mut self.probe };
                self.router.message(&channel, &payload, &mut sinks);
            }
            Arrival::Lagged(missed) => {
                warn!(missed, "taken from the Redis client too slowly, messages were lost");
                self.queues.send_all(&Event::GapAll(GapReason::UpstreamLagged));
            }
            Arrival::Ended(error) => return Some(error),
        }
        None
    }

    fn answered(&mut self, reply: Result<(), LinkError>, now: Instant) {
        // What Redis sent before its answer must be looked at before the answer is believed.
        self.drain(now);
        let Phase::Linked(session) = &mut self.phase else { return };
        match session.answered(reply, now) {
            Ok(answer) => self.take_answer(answer, now),
            Err(error) => self.lost(&error, now),
        }
    }

    fn take_answer(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Nothing => {}
            Answer::Introduced => self.begin_round(now),
            Answer::Ping => self.probe.ping_answered(),
            Answer::Held(batch) => {
                for channel in batch {
                    let shards = self.table.confirm(&channel, now);
                    self.queues.tell(shards, &SubscriptionEvent::Confirmed(channel));
                }
            }
            Answer::Refused(channel) => {
                let shards = self.table.refuse(&channel);
                self.queues.tell(shards, &SubscriptionEvent::Rejected(channel, RejectedBy::Redis));
            }
            Answer::Released(batch) => {
                batch.iter().for_each(|channel| self.table.released(channel));
            }
        }
    }

    fn publish_event(&mut self, news: PublishEvent<R::Publisher>, now: Instant) {
        let published = matches!(news, PublishEvent::Published(Ok(())));
        let result = self.publish_connection.take(news, now);
        if published {
            self.probe.published(now);
        } else if result.is_ok() && !self.health.is_up() && !self.probe.is_running() {
            // The command connection works again: no need to wait for the next interval.
            self.begin_round(now);
        }
        self.unproven(result, now);
    }

    /// The command connection has failed: the subscriber stays, but is not proven alive.
    fn unproven(&mut self, result: Result<(), String>, now: Instant) {
        if let Err(reason) = result {
            self.probe.abandon();
            self.health.down(&reason, now);
        }
    }

    // ---- what is due ----

    /// Does everything that time, or what has just happened, asks for. Doing it twice does no harm.
    fn tick(&mut self, now: Instant) {
        if let Phase::Waiting { until } = self.phase
            && until <= now
        {
            self.phase = Phase::Dialling { dial: self.redis.subscriber(), started: now };
        }
        let result = self.publish_connection.tick(&self.redis, now);
        self.unproven(result, now);
        self.table.expire(now);
        if self.retry_refused <= now {
            self.retry_refused = now + REFUSED_RETRY;
            self.table.retry_refused();
        }
        match self.dead(now) {
            Some(error) => self.lost(&error, now),
            None => self.reconcile(now),
        }
        self.health.refresh(self.table.wanted(), self.table.held(), now);
    }

    /// Why the link must be given up, if it must.
    fn dead(&mut self, now: Instant) -> Option<LinkError> {
        let Phase::Linked(session) = &mut self.phase else { return None };
        session.dead(now)?;
        // Messages that came meanwhile prove it alive all the same.
        self.drain(now);
        let Phase::Linked(session) = &mut self.phase else { return None };
        session.dead(now)
    }

    fn reconcile(&mut self, now: Instant) {
        let Phase::Linked(session) = &mut self.phase else { return };
        if session.introduced() && self.probe.due(now) {
            self.begin_round(now);
            if let Phase::Linked(session) = &mut self.phase {
                session.retry_own();
            }
        }
        self.judge(now);
        let Phase::Linked(session) = &mut self.phase else { return };
        if self.probe.wants_canary()
            && self.publish_connection.is_ready()
            && let Some(channel) = self.settings.probe_channel.as_deref()
        {
            let payload = self.probe.release_canary();
            self.publish_connection.publish(&self.router.redis_name(channel), &payload, now);
        }
        let mut work = Work {
            table: &mut self.table,
            queues: &self.queues,
            router: &self.router,
            probe: &mut self.probe,
        };
        session.send_next(&mut work, now);
        if session.settled(&self.table) {
            self.health.all_held(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        let Phase::Linked(session) = &self.phase else { return };
        if session.introduced() {
            let with_canary = self.settings.probe_channel.is_some();
            self.probe.begin(with_canary && session.probe_refused().is_none(), now);
        }
    }

    /// Believes or disbelieves the link, when a round is over.
    fn judge(&mut self, now: Instant) {
        let Some(outcome) = self.probe.check(now) else { return };
        let Phase::Linked(session) = &self.phase else { return };
        match (outcome, session.probe_refused()) {
            (Outcome::Dead, _) => {
                let text = "what is published on the probe channel does not come back";
                self.lost(&LinkError::Lost(text.to_owned()), now);
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
        let phase = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Dialling { .. } => None,
            Phase::Linked(session) => {
                let probe = self.probe.deadline().filter(|_| session.introduced());
                let pace = session.pace(&self.table);
                [session.deadline(), probe, pace].into_iter().flatten().min()
            }
        };
        let refused = self.table.has_refused().then_some(self.retry_refused);
        let others =
            [self.publish_connection.deadline(), self.health.deadline(), self.table.next_expiry()];
        let all = others.into_iter().chain([phase, refused]).flatten();
        all.min().unwrap_or_else(|| Instant::now() + FAR)
    }
}

impl<S: Subscriber> Phase<S> {
    async fn next<R: Redis<Subscriber = S>>(&mut self) -> ActorEvent<R> {
        match self {
            Self::Waiting { .. } => pending().await,
            Self::Dialling { dial, .. } => ActorEvent::Dialled(dial.await),
            Self::Linked(session) => session.next().await,
        }
    }
}

impl<S: Subscriber> Session<S> {
    async fn next<R: Redis<Subscriber = S>>(&mut self) -> ActorEvent<R> {
        let (reply, link) = self.parts();
        tokio::select! {
            biased;
            reply = async { match reply { Some(reply) => reply.await, None => pending().await } } =>
                ActorEvent::Answered(reply),
            arrival = link.next() => ActorEvent::Arrived(arrival),
        }
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
