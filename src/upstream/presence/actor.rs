//! The one task for presence: waits for the next event, handles it, then does what is due.
//!
//! It alone owns the connection and all that is known of rooms; nothing is shared, nothing is locked.
//! Start-up, recovery and everyday work are one path: dial, then put back everyone who is held here.

use super::{
    command_phase::{CommandEvent, CommandPhase},
    commands::{Asked, Commands},
    names::{Announcement, announced_room, news_channel},
    news::{News, NewsEvent, confirmed},
    output::Output,
    pending_rosters::PendingRosters,
    room::Subscription,
    rooms::Rooms,
    under_way::{Leaving, Told},
};
use crate::{
    bus::{
        Event, NewsEnd, PresenceRequest, PresenceRules, PresenceUpstreamEnd, RejectedBy,
        SubscriptionEvent, SubscriptionEvents,
    },
    channel::ChannelName,
    config,
    log_throttle::LogThrottle,
    metrics::Metrics,
    upstream::{
        link::{Dialler, LinkError},
        primary::Primary,
    },
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};
use tracing::{debug, warn};

mod answers;

/// Arrivals, or rooms, that are handled before other tasks get their turn.
const AT_ONCE: usize = 512;

/// The actor's timer when nothing is due.
const FAR: Duration = Duration::from_secs(3_600);

/// How often those who have left are looked at while Redis takes nothing.
const FORGETS_EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two turns of the timer, so that arrivals get theirs.
const STEP: Duration = Duration::from_millis(1);

/// All rooms, their connection, and what shards say of them.
pub(in crate::upstream) struct PresenceActor {
    dialler: Dialler,
    prefix: String,
    ping_interval: Duration,
    requests: mpsc::UnboundedReceiver<PresenceRequest>,
    news: News,
    rooms: Rooms,
    phase: CommandPhase,
    commands: Commands,
    primary: Primary,
    output: Output,
    rosters: PendingRosters,
    /// When to look next for users to forget, while Redis takes nothing.
    forget_at: Instant,
    settles: Vec<oneshot::Sender<()>>,
    metrics: Arc<Metrics>,
    refusals: LogThrottle,
    /// More may have arrived than was handled.
    is_behind: bool,
}

/// What can happen.
enum ActorEvent {
    Request(Option<PresenceRequest>),
    News(NewsEvent),
    Link(CommandEvent),
    Timer,
}

impl PresenceActor {
    /// Nothing is connected before [`PresenceActor::run`] and before the first room.
    pub(in crate::upstream) fn new(
        dialler: Dialler,
        settings: &config::Redis,
        (end, news): (PresenceUpstreamEnd, NewsEnd),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            dialler,
            prefix: settings.channel_prefix.clone(),
            ping_interval: settings.probe_interval,
            requests: end.requests,
            news: News::new(news),
            rooms: Rooms::default(),
            phase: CommandPhase::new(settings.reconnect_min, settings.reconnect_max),
            commands: Commands::new(&settings.channel_prefix, settings.probe_timeout),
            primary: Primary::new(&settings.address),
            output: Output::new(end.rings),
            rosters: PendingRosters::default(),
            forget_at: Instant::now(),
            settles: Vec::new(),
            metrics,
            refusals: LogThrottle::default(),
            is_behind: false,
        }
    }

    /// Runs until every shard has gone.
    pub(in crate::upstream) async fn run(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            match self.next(&mut timer).await {
                ActorEvent::Request(None) => return,
                event => self.handle(event),
            }
            self.tick(Instant::now());
            if std::mem::take(&mut self.is_behind) {
                // On a shard's thread, its tasks get their turn between two bursts.
                yield_now().await;
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self, timer: &mut Pin<Box<Sleep>>) -> ActorEvent {
        let deadline = self.deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        let Self { requests, news, phase, .. } = self;
        tokio::select! {
            biased;
            event = phase.next() => ActorEvent::Link(event),
            request = requests.recv() => ActorEvent::Request(request),
            event = news.next() => ActorEvent::News(event),
            () = timer.as_mut() => ActorEvent::Timer,
        }
    }

    fn handle(&mut self, event: ActorEvent) {
        let now = Instant::now();
        match event {
            ActorEvent::Request(request) => {
                let mut next = request;
                for _ in 0..AT_ONCE {
                    let Some(request) = next else { break };
                    self.request(request, now);
                    next = self.requests.try_recv().ok();
                }
                if let Some(request) = next {
                    self.request(request, now);
                }
            }
            ActorEvent::News(event) => self.news(event, now),
            ActorEvent::Link(CommandEvent::Dialled(Ok(link))) => {
                self.phase.linked(link);
                self.commands.reset(now);
                self.primary.linked();
            }
            ActorEvent::Link(CommandEvent::Dialled(Err(error))) => self.give_up(&error, now),
            ActorEvent::Link(CommandEvent::Arrived) => self.take_arrived(now),
            ActorEvent::Timer => {}
        }
    }

    // ---- what shards say ----

    fn request(&mut self, request: PresenceRequest, now: Instant) {
        match request {
            PresenceRequest::Enter { shard, room, user, rules } => {
                self.phase.start(now);
                let first_refresh = || self.commands.first_refresh(now, rules.ttl);
                let key = self.rooms.get_or_make(&room, &rules, first_refresh);
                self.enter(key, shard, &user, now);
                self.rule(key, &rules, now);
            }
            PresenceRequest::Leave { room, user } => self.leave(&room, &user, now),
            PresenceRequest::Again { shard, room } => {
                if let Some(key) = self.rooms.find(&room) {
                    self.rosters.asked(shard, key);
                }
            }
            PresenceRequest::Settle(settled) => self.settles.push(settled),
        }
    }

    fn enter(&mut self, key: u32, shard: usize, user: &Arc<str>, now: Instant) {
        let Some(room) = self.rooms.get(key) else { return };
        let untold = |leaving: &[Leaving]| leaving.iter().filter(|it| it.told != Told::Yes).count();
        let before = untold(&room.under_way.leaving);
        let is_new = room.enter(shard, user);
        let returned = before - untold(&room.under_way.leaving);
        if room.subscription == Subscription::None {
            room.subscription = Subscription::Asked;
            let channel = news_channel(&room.name, &self.prefix);
            room.under_way.asked_by = self.news.subscribe(channel);
        }
        if room.owes_rosters() {
            self.rosters.joined(key, room.shards, &self.output, now);
        }
        self.rooms.untold -= returned;
        if is_new {
            self.metrics.upstream.presence_members.inc();
            self.rooms.make_ready(key);
        }
    }

    /// A reload may have brought other rules for a room that is still there.
    fn rule(&mut self, key: u32, rules: &Arc<PresenceRules>, now: Instant) {
        if self.rooms.get(key).is_some_and(|room| room.take_rules(rules, now)) {
            self.rooms.make_ready(key);
        }
    }

    fn leave(&mut self, name: &ChannelName, user: &Arc<str>, now: Instant) {
        let Some(key) = self.rooms.find(name) else { return };
        let Some(room) = self.rooms.get(key) else { return };
        if !room.exit(user, now) {
            return;
        }
        if room.users.held() == 0 {
            room.subscription = Subscription::None;
            room.under_way.asked_by = 0;
            self.news.unsubscribe(news_channel(name, &self.prefix));
        }
        self.rooms.untold += 1;
        self.metrics.upstream.presence_members.dec();
        self.rooms.make_ready(key);
    }

    // ---- what is announced ----

    fn news(&mut self, event: NewsEvent, now: Instant) {
        match event {
            NewsEvent::Asks(permit) => self.news.ask(permit),
            NewsEvent::Events(events) => {
                self.is_behind = true;
                events.iter().for_each(|event| self.announced(event, now));
            }
            NewsEvent::Lagged => {
                warn!("presence fell behind its announcements: all rosters are read anew");
                let keys: Vec<_> = self.rooms.all().map(|(key, _)| key).collect();
                keys.into_iter().for_each(|key| self.missed(key, now));
            }
            NewsEvent::Subscriptions(SubscriptionEvents { read_up_to, events }) => {
                self.log_refused(&events);
                confirmed(events).for_each(|channel| self.confirmed(&channel, read_up_to, now));
            }
        }
    }

    fn log_refused(&mut self, events: &[SubscriptionEvent]) {
        let is_refused = |it: &SubscriptionEvent| {
            matches!(it, SubscriptionEvent::Rejected(_, RejectedBy::Redis))
        };
        if events.iter().any(is_refused)
            && let Some(before) = self.refusals.to_log(std::time::Instant::now())
        {
            warn!(before, "Redis refuses a channel of announcements for presence");
        }
    }

    fn announced(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Message(message) => {
                let Some(key) = self.room_of(&message.channel) else { return };
                let Some(news) = Announcement::parse(message.payload()) else { return };
                if let Some(room) = self.rooms.get(key) {
                    room.announced(news, now, &mut self.output);
                }
                self.rooms.make_ready(key);
            }
            // The room's `Gap` follows when its channel is confirmed again.
            Event::Lost(_) => {}
            Event::Gap(channel, _) => {
                if let Some(key) = self.room_of(channel) {
                    self.missed(key, now);
                }
            }
        }
    }

    /// The room that is announced on this channel.
    fn room_of(&self, channel: &str) -> Option<u32> {
        self.rooms.find(announced_room(channel, &self.prefix)?)
    }

    fn missed(&mut self, key: u32, now: Instant) {
        if let Some(room) = self.rooms.get(key) {
            room.announcements_missed(now);
            self.rooms.make_ready(key);
        }
    }

    /// The room's announcements are subscribed: read its roster.
    fn confirmed(&mut self, channel: &ChannelName, read_up_to: u64, now: Instant) {
        let Some(key) = self.room_of(channel) else { return };
        if self.rooms.get(key).is_some_and(|room| room.subscribed(read_up_to, now)) {
            self.rooms.make_ready(key);
        }
    }

    // ---- the link ----

    fn give_up(&mut self, error: &LinkError, now: Instant) {
        debug!(%error, "Redis connection for presence");
        self.primary.lost();
        self.drop_link(error, now);
    }

    fn drop_link(&mut self, error: &LinkError, now: Instant) {
        self.phase.failed(error, now);
        self.commands.reset(now);
        self.rooms.link_lost();
    }

    fn take_arrived(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some(link) = self.phase.get() else { return };
            match link.try_next() {
                None => return self.heard(now),
                Some(Ok(value)) => self.answer(&value, now),
                Some(Err(error)) => return self.give_up(&error, now),
            }
        }
        self.is_behind = true;
        self.heard(now);
    }

    fn heard(&mut self, now: Instant) {
        if let Some(link) = self.phase.get() {
            self.commands.patience.received(link.received(), now);
        }
    }

    // ---- what is due ----

    /// Does everything that is due. Calling it twice does no harm.
    fn tick(&mut self, now: Instant) {
        self.phase.tick(&self.dialler, self.primary.target(), now);
        if self.phase.get().is_some() && self.commands.patience.is_late(now) {
            // Perhaps it was this process that stood still: an answer that has arrived counts.
            self.take_arrived(now);
            if self.commands.patience.is_dead(now) && !self.is_behind {
                let why = LinkError::Lost(self.commands.patience.why());
                self.give_up(&why, now);
            }
        }
        self.ping(now);
        self.work(now);
        self.forget_gone(now);
        self.metrics.upstream.presence_rooms.set(self.rooms.len() as i64);
        self.settle();
        self.send_rosters(now);
        self.output.flush();
        if let Some(link) = self.phase.get() {
            link.flush();
        }
    }

    fn ping(&mut self, now: Instant) {
        let Some(link) = self.phase.get().filter(|_| self.commands.next_ping <= now) else {
            return;
        };
        self.commands.next_ping = now + self.ping_interval;
        if self.primary.asks() {
            self.commands.send(link, &[b"ROLE"], Asked::Role);
        }
        self.commands.send(link, &[b"PING"], Asked::Ping);
    }

    fn work(&mut self, now: Instant) {
        let Some(link) = self.phase.get() else { return };
        // Until ROLE is answered, the server may be a replica: nothing is asked of it.
        if self.primary.is_awaited() {
            return;
        }
        for _ in 0..AT_ONCE {
            if !self.rooms.has_ready(now) || !self.commands.can_ask(link, now) {
                return;
            }
            let Some(key) = self.rooms.take_ready(now) else { return };
            if let Some(room) = self.rooms.get(key) {
                self.commands.work(link, key, room, now);
            }
            self.rooms.reschedule(key);
        }
        self.is_behind = true;
    }

    fn send_rosters(&mut self, now: Instant) {
        for key in self.rosters.take_joined(&self.output, now) {
            if let Some(room) = self.rooms.get(key) {
                room.welcome(&mut self.output);
                room.under_way.free_if_idle();
            }
        }
        while let Some((shard, key)) = self.rosters.take_asked(&self.output) {
            if let Some(room) = self.rooms.get(key) {
                room.tell_again(shard, &mut self.output);
            }
        }
    }

    fn forget_gone(&mut self, now: Instant) {
        if self.forget_at <= now && !self.is_ready(now) {
            self.forget_at = now + FORGETS_EVERY;
            self.rooms.forget_gone(now);
        }
    }

    /// Whether Redis takes what is asked for rooms.
    fn is_ready(&mut self, now: Instant) -> bool {
        self.phase.get().is_some() && self.commands.is_ready(now)
    }

    fn settle(&mut self) {
        if self.rooms.untold == 0 {
            for settled in self.settles.drain(..) {
                // An error means that the shard has ended.
                let _ = settled.send(());
            }
        }
    }

    /// When [`PresenceActor::tick`] must be called next, at the latest.
    fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let is_linked = self.phase.get().is_some();
        let of_link = [self.commands.patience.deadline(), Some(self.commands.next_ping)];
        let rooms = self.rooms.next_timer().filter(|_| is_linked && self.commands.script.is_some());
        let of_link = of_link.into_iter().flatten().filter(|_| is_linked);
        let rosters = self.rosters.deadline(now);
        let is_idle = self.rooms.len() == 0 || self.is_ready(now);
        let forget = (!is_idle).then_some(self.forget_at);
        let all = of_link.chain(rooms).chain(self.phase.deadline()).chain(rosters).chain(forget);
        all.min().unwrap_or_else(|| now + FAR).max(now + STEP)
    }
}
