//! The one task of the Redis side: it waits for what happens next, takes it in, then does what is
//! due. It alone owns the table; nothing is shared, nothing is locked.
//!
//! Start-up, recovery and everyday work are one path: dial, then make *wanted* and *held* equal.

use super::{
    Status,
    backoff::Backoff,
    commander::{Commander, News},
    health::Health,
    intake::{Intake, Sinks},
    link::{Arrival, LinkError, Redis, Reply, Subscriber},
    outlet::Outlet,
    probe::{Outcome, Probe},
    session::{Answer, Session, Work},
    table::{Joined, Table},
};
use crate::{
    config,
    exchange::{Change, Demand, Event, RefusedBy, UpstreamEnd, Verdict},
    metrics::Metrics,
    reason::GapReason,
};
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep_until},
};
use tracing::warn;

/// Messages routed before demands, timers and replies get their turn again.
const BURST: usize = 256;

/// How long a refusal is remembered before Redis is asked again.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// The actor's timer when nothing is due: far, and soon enough for any clock.
const FAR: Duration = Duration::from_secs(3_600);

/// The state of the Redis side.
pub(super) struct Actor<R: Redis> {
    redis: R,
    settings: config::Redis,
    demands: mpsc::Receiver<Demand>,
    outlet: Outlet,
    table: Table,
    intake: Intake,
    probe: Probe,
    health: Health,
    backoff: Backoff,
    phase: Phase<R::Subscriber>,
    commander: Commander<R>,
    retry_refused: Instant,
}

enum Phase<S> {
    Waiting { until: Instant },
    Dialling { dial: Reply<S>, started: Instant },
    Linked(Box<Session<S>>),
}

/// What can happen.
enum Happening<R: Redis> {
    Demand(Option<Demand>),
    Dialled(Result<R::Subscriber, LinkError>),
    Answered(Result<(), LinkError>),
    Commander(News<R::Publisher>),
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
        let (outlet, demands) = Outlet::new(end);
        let backoff = || Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let actor = Self {
            redis,
            demands,
            outlet,
            table: Table::new(settings.linger, now),
            intake: Intake::new(&settings),
            probe: Probe::new(settings.probe_interval, settings.probe_timeout, now),
            health,
            backoff: backoff(),
            phase: Phase::Waiting { until: now },
            commander: Commander::new(backoff(), settings.probe_timeout),
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
                Happening::Demand(None) => return,
                happening => self.take(happening),
            }
            self.do_what_is_due(Instant::now());
            self.outlet.flush();
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self, timer: &mut Pin<Box<Sleep>>) -> Happening<R> {
        let deadline = self.deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        let Self { demands, phase, commander, .. } = self;
        tokio::select! {
            // Messages last: there may always be one more, and the others would never be heard.
            biased;
            demand = demands.recv() => Happening::Demand(demand),
            () = timer.as_mut() => Happening::Timer,
            news = commander.next() => Happening::Commander(news),
            happening = phase.next() => happening,
        }
    }

    fn take(&mut self, happening: Happening<R>) {
        let now = Instant::now();
        match happening {
            Happening::Demand(demand) => demand.into_iter().for_each(|d| self.demand(&d, now)),
            Happening::Dialled(Ok(link)) => self.linked(link, now),
            Happening::Dialled(Err(error)) => self.lost(&error, now),
            Happening::Answered(reply) => self.answered(reply, now),
            Happening::Commander(news) => self.commander_news(news, now),
            Happening::Arrived(arrival) => self.arrived(arrival, now),
            Happening::Timer => {}
        }
    }

    // ---- what shards want ----

    fn demand(&mut self, demand: &Demand, now: Instant) {
        let shard = demand.shard;
        for change in &demand.changes {
            let channel = match change {
                Change::Join(channel) => channel,
                Change::Leave(channel) => {
                    self.table.leave(shard, channel, now);
                    continue;
                }
            };
            let verdict = match self.table.join(shard, channel) {
                Joined::Pending => continue,
                Joined::Held => Verdict::Held(channel.clone()),
                Joined::Refused => Verdict::Refused(channel.clone(), RefusedBy::Redis),
                Joined::NoLink => Verdict::Refused(channel.clone(), RefusedBy::LinkDown),
            };
            self.outlet.verdict(1 << shard, &verdict);
        }
        self.outlet.read(shard, demand.sequence);
    }

    // ---- the link ----

    fn linked(&mut self, link: R::Subscriber, now: Instant) {
        let session = Session::new(link, &self.settings, now);
        self.phase = Phase::Linked(Box::new(session));
        self.table.link_up();
        self.health.linked(now);
        if self.settings.probe_channel.is_some() {
            self.commander.start(&self.redis, now);
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
        self.commander.stop();
        self.probe.abandon();
        if was_linked {
            for (channel, shards) in self.table.link_lost() {
                let verdict = Verdict::Refused(channel, RefusedBy::LinkDown);
                self.outlet.verdict(shards, &verdict);
            }
            self.outlet.verdict_all(&Verdict::LinkLost);
        }
    }

    // ---- what comes from Redis ----

    fn arrived(&mut self, first: Arrival, now: Instant) {
        if let Phase::Linked(session) = &mut self.phase {
            session.heard(now);
        }
        self.intake.start_burst();
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
        self.intake.count(&self.health.metrics.upstream);
    }

    /// Routes everything that has arrived already.
    fn drain(&mut self, now: Instant) {
        self.intake.start_burst();
        while let Phase::Linked(session) = &mut self.phase
            && let Some(arrival) = session.try_next(now)
            && self.route(arrival).is_none()
        {}
        self.intake.count(&self.health.metrics.upstream);
    }

    /// Routes one arrival; hands back why the link has ended, if that is what it was.
    fn route(&mut self, arrival: Arrival) -> Option<LinkError> {
        match arrival {
            Arrival::Message { channel, payload } => {
                let mut sinks =
                    Sinks { table: &self.table, outlet: &self.outlet, probe: &mut self.probe };
                self.intake.message(&channel, &payload, &mut sinks);
            }
            Arrival::Lagged(missed) => {
                warn!(missed, "taken from the Redis client too slowly, messages were lost");
                self.outlet.send_all(&Event::GapAll(GapReason::UpstreamLagged));
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
                    self.outlet.verdict(shards, &Verdict::Held(channel));
                }
            }
            Answer::Refused(channel) => {
                let shards = self.table.refuse(&channel);
                self.outlet.verdict(shards, &Verdict::Refused(channel, RefusedBy::Redis));
            }
            Answer::Released(batch) => {
                batch.iter().for_each(|channel| self.table.released(channel));
            }
        }
    }

    fn commander_news(&mut self, news: News<R::Publisher>, now: Instant) {
        let published = matches!(news, News::Published(Ok(())));
        let result = self.commander.take(news, now);
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
    fn do_what_is_due(&mut self, now: Instant) {
        if let Phase::Waiting { until } = self.phase
            && until <= now
        {
            self.phase = Phase::Dialling { dial: self.redis.subscriber(), started: now };
        }
        let result = self.commander.tick(&self.redis, now);
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
            && self.commander.is_ready()
            && let Some(channel) = self.settings.probe_channel.as_deref()
        {
            let payload = self.probe.release_canary();
            self.commander.publish(&self.intake.redis_name(channel), &payload, now);
        }
        let mut work = Work {
            table: &mut self.table,
            outlet: &self.outlet,
            intake: &self.intake,
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

    /// When [`Actor::do_what_is_due`] must be called next, at the latest.
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
        let others = [self.commander.deadline(), self.health.deadline(), self.table.next_expiry()];
        let all = others.into_iter().chain([phase, refused]).flatten();
        all.min().unwrap_or_else(|| Instant::now() + FAR)
    }
}

impl<S: Subscriber> Phase<S> {
    async fn next<R: Redis<Subscriber = S>>(&mut self) -> Happening<R> {
        match self {
            Self::Waiting { .. } => pending().await,
            Self::Dialling { dial, .. } => Happening::Dialled(dial.await),
            Self::Linked(session) => session.next().await,
        }
    }
}

impl<S: Subscriber> Session<S> {
    async fn next<R: Redis<Subscriber = S>>(&mut self) -> Happening<R> {
        let (reply, link) = self.parts();
        tokio::select! {
            biased;
            reply = async { match reply { Some(reply) => reply.await, None => pending().await } } =>
                Happening::Answered(reply),
            arrival = link.next() => Happening::Arrived(arrival),
        }
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
