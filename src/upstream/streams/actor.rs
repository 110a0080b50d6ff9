//! The one task for streams: waits for the next event, handles it, then does what is due.
//!
//! It alone owns both connections and all that is known of streams; nothing is shared, nothing is
//! locked. Start-up, recovery and everyday work are one path: dial, then read everything that is wanted.
//! Both connections are to one server, and both are made anew when the tail's is lost.

use super::{
    health::StreamHealth,
    link_phase::{Connected, LinkEvent, LinkPhase},
    pages::{CanaryEvent, Pages},
    tail::{REFUSED_RETRY, Tail},
    tail_link::{End, TailLink},
};
use crate::{
    bus::{PageRequest, RejectedBy, StreamRequests, StreamUpstreamEnd},
    config,
    metrics::Metrics,
    upstream::{
        burst::{self, Burst, LAST_BURSTS},
        link::{Dialler, LinkError, StreamLink},
        primary::Primary,
        status::Status,
    },
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};

mod due;

/// A link that has lived so long is no failure.
const PROVEN: Duration = Duration::from_secs(10);

/// Streams, their connections, and what shards ask of them.
pub(in crate::upstream) struct StreamActor {
    dialler: Dialler,
    settings: config::Redis,
    requests: mpsc::Receiver<StreamRequests>,
    page_requests: mpsc::UnboundedReceiver<PageRequest>,
    tail: Tail,
    phase: LinkPhase<TailLink>,
    pages: Pages,
    primary: Primary,
    health: StreamHealth,
    retry_refused: Instant,
    /// More may have arrived than was handled.
    is_behind: bool,
}

/// What can happen.
enum ActorEvent {
    Requests(Option<StreamRequests>),
    Page(PageRequest),
    Tail(LinkEvent),
    Pages(LinkEvent),
    Timer,
}

impl Connected for TailLink {
    fn link(&mut self) -> &mut StreamLink {
        &mut self.link
    }
}

impl StreamActor {
    /// Nothing is connected before [`StreamActor::run`].
    pub(in crate::upstream) fn new(
        dialler: Dialler,
        settings: config::Redis,
        end: StreamUpstreamEnd,
        metrics: Arc<Metrics>,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        Self {
            dialler,
            requests: end.requests,
            page_requests: end.pages,
            tail: Tail::new(&settings, end.rings, metrics, now),
            phase: LinkPhase::new((settings.reconnect_min, settings.reconnect_max)),
            pages: Pages::new(&settings),
            primary: Primary::new(&settings.address),
            health: StreamHealth::new(status),
            retry_refused: now + REFUSED_RETRY,
            is_behind: false,
            settings,
        }
    }

    /// Connects as soon as it runs, not only when the first stream is asked for.
    pub(in crate::upstream) fn connect_early(&mut self) {
        self.phase.start(Instant::now());
    }

    /// Runs until every shard has gone.
    pub(in crate::upstream) async fn run(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            match self.next(&mut timer).await {
                ActorEvent::Requests(None) => return,
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
        let Self { requests, page_requests, phase, pages, .. } = self;
        tokio::select! {
            // Entries last: there may always be one more, and the others would never be heard.
            biased;
            batch = requests.recv() => ActorEvent::Requests(batch),
            () = timer.as_mut() => ActorEvent::Timer,
            Some(request) = page_requests.recv() => ActorEvent::Page(request),
            event = phase.next() => ActorEvent::Tail(event),
            event = pages.next() => ActorEvent::Pages(event),
        }
    }

    fn handle(&mut self, event: ActorEvent) {
        let now = Instant::now();
        match event {
            ActorEvent::Requests(batch) => batch.iter().for_each(|batch| {
                self.phase.start(now);
                self.tail.request(batch, now);
            }),
            ActorEvent::Page(request) => self.pages.request(request, now),
            ActorEvent::Tail(LinkEvent::Dialled(Ok(link))) => self.linked(*link, now),
            ActorEvent::Tail(LinkEvent::Dialled(Err(error))) => {
                self.give_up(&End::Lost(error), now);
            }
            ActorEvent::Tail(LinkEvent::Arrived) => {
                if let Some(end) = self.burst(now) {
                    self.give_up(&end, now);
                }
            }
            ActorEvent::Pages(LinkEvent::Dialled(Ok(link))) => self.pages.linked(*link, now),
            ActorEvent::Pages(LinkEvent::Dialled(Err(error))) => self.pages_failed(&error, now),
            ActorEvent::Pages(LinkEvent::Arrived) => {
                if let Some(error) = self.pages_burst(now) {
                    self.pages_failed(&error, now);
                }
            }
            ActorEvent::Timer => {}
        }
    }

    // ---- links ----

    fn linked(&mut self, link: StreamLink, now: Instant) {
        let times = (self.settings.probe_interval, self.settings.probe_timeout);
        match TailLink::new(link, &mut self.primary, times, now) {
            Ok(link) => {
                self.phase.linked(link);
                self.tail.linked(now);
                self.pages.stop();
                self.pages.phase.start(now);
            }
            Err(end) => self.give_up(&end, now),
        }
    }

    /// The link, or the dial, is of no use any more. What was received before is delivered first, unless
    /// this is the wrong server.
    fn give_up(&mut self, end: &End, now: Instant) {
        let (by, error) = match end {
            End::Lost(error) => {
                self.take_arrived(now);
                self.primary.lost();
                (RejectedBy::LinkDown, error.clone())
            }
            End::Moved(why) => (RejectedBy::LinkDown, LinkError::Lost(why.clone())),
            End::Untracked(why) => {
                self.health.tracking(Some(why));
                (RejectedBy::TrackingRefused, LinkError::Answered(why.clone()))
            }
        };
        if self.phase.get().is_some_and(|link| link.is_tracked && link.made + PROVEN <= now) {
            self.phase.proven();
        }
        self.health.down(&error);
        self.phase.failed(&error, now);
        self.pages.stop();
        let by = if self.health.is_refused() { RejectedBy::TrackingRefused } else { by };
        self.tail.link_lost(by, now);
    }

    fn pages_failed(&mut self, error: &LinkError, now: Instant) {
        self.pages.failed(error, now);
        self.tail.canary.failed(now);
    }

    /// Handles what has arrived already.
    fn take_arrived(&mut self, now: Instant) {
        for _ in 0..LAST_BURSTS {
            self.is_behind = false;
            if self.burst(now).is_some() || !self.is_behind {
                break;
            }
            self.tail.queues.flush();
        }
        self.is_behind = false;
    }

    /// Takes in one burst of what has arrived; hands back why the link must be given up, if so.
    fn burst(&mut self, now: Instant) -> Option<End> {
        let Self { phase, tail, primary, .. } = self;
        let link = phase.get()?;
        tail.start_burst();
        let Burst { is_behind, end } = burst::take(|| {
            let handled = link.handle_next(tail, primary, now)?;
            Some(handled.map(|()| tail.queues.staged()))
        });
        self.is_behind = is_behind;
        link.patience.received(link.link.received(), now);
        if link.is_tracked {
            self.health.tracking(None);
        }
        end
    }

    fn pages_burst(&mut self, now: Instant) -> Option<LinkError> {
        // Nothing of it is staged for shards: pages are answers.
        let Burst { is_behind, end } = burst::take(|| {
            let handled = self.pages.handle_next(now)?;
            Some(handled.map(|canary| {
                canary.into_iter().for_each(|event| self.canary(event, now));
                0
            }))
        });
        self.is_behind = is_behind;
        self.pages.heard(now);
        end
    }

    fn canary(&mut self, event: CanaryEvent, now: Instant) {
        match event {
            CanaryEvent::Added => self.tail.canary.added(now),
            CanaryEvent::Failed(error) => {
                self.tail.canary.failed(now);
                if let Some(link) = self.phase.get() {
                    link.warn_of_canary(&error);
                }
            }
        }
    }
}
