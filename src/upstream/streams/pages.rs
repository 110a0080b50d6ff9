//! The second connection for streams: reads entries that are in a stream already, for sessions that
//! return, and adds the canary that the tail must be told of.
//!
//! Those who ask for the same share one reading, and its messages; at most [`IN_FLIGHT`] are under way.

use super::link_phase::{Connected, LinkEvent, LinkPhase};
use crate::{
    bus::{PageAsk, PageError, PageRequest},
    channel::ChannelName,
    config,
    upstream::{
        link::{Dialler, Entries, LinkError, StreamArrival, StreamCommand, StreamLink, Target},
        patience::Patience,
    },
};
use building::{PageBuild, PageKey};
use cache::PageCache;
use flights::Flights;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

mod building;
mod cache;
mod flights;

/// Readings that may be under way at one time: enough to keep Redis busy, and so few that those who
/// return in a crowd do not all have work for the shards at the same moment.
const IN_FLIGHT: usize = 8;

/// How long the canary's stream lives after its last entry.
const CANARY_LIFE: Duration = Duration::from_secs(60);

/// Pages that are asked for, and the connection that reads them.
pub(super) struct Pages {
    pub(super) phase: LinkPhase<PagesLink>,
    flights: Flights,
    cache: PageCache,
    prefix: String,
    field: String,
    timeout: Duration,
}

/// The connection, and what was asked on it.
pub(super) struct PagesLink {
    link: StreamLink,
    patience: Patience,
    asked: VecDeque<Asked>,
    reading: usize,
}

enum Asked {
    Canary,
    Page(Box<PageBuild>),
}

/// What has happened to the canary.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CanaryEvent {
    Added,
    Failed(LinkError),
}

impl Connected for PagesLink {
    fn link(&mut self) -> &mut StreamLink {
        &mut self.link
    }
}

impl Pages {
    pub(super) fn new(settings: &config::Redis) -> Self {
        Self {
            phase: LinkPhase::new((settings.reconnect_min, settings.reconnect_max)),
            flights: Flights::default(),
            cache: PageCache::default(),
            prefix: settings.channel_prefix.clone(),
            field: settings.stream_field.clone(),
            timeout: settings.probe_timeout,
        }
    }

    /// Takes a request. It is answered now, or when it was read.
    pub(super) fn request(&mut self, request: PageRequest, now: Instant) {
        if !self.phase.is_expected() {
            // An error means that nobody waits for it any more.
            let _ = request.answer.send(Err(PageError::LinkDown));
            return;
        }
        let PageRequest { stream, ask, answer } = request;
        let key = PageKey::of(stream, ask);
        let until = match ask {
            PageAsk::After { until, .. } => until,
            PageAsk::Newest { .. } => None,
        };
        match self.cache.get(&key, now) {
            Some(page) => drop(answer.send(Ok(building::until(page, until)))),
            None => self.flights.add(key, until, answer),
        }
    }

    /// A stream is, or may be, another one.
    pub(super) fn forget(&mut self, stream: &ChannelName) {
        self.cache.forget(stream);
    }

    // ---- the link ----

    pub(super) fn linked(&mut self, link: StreamLink, now: Instant) {
        self.phase.linked(PagesLink {
            link,
            patience: Patience::new(self.timeout, now),
            asked: VecDeque::new(),
            reading: 0,
        });
    }

    /// There is no link, for this reason, and another one is dialled.
    pub(super) fn failed(&mut self, error: &LinkError, now: Instant) {
        self.give_up();
        self.phase.failed(error, now);
    }

    /// There is no link, and none is wanted.
    pub(super) fn stop(&mut self) {
        self.give_up();
        self.phase.stop();
    }

    fn give_up(&mut self) {
        self.flights.fail_all(PageError::LinkDown);
        self.cache = PageCache::default();
    }

    pub(super) async fn next(&mut self) -> LinkEvent {
        self.phase.next().await
    }

    /// Does what time asks for. Returns why the link may be dead, if so: take in everything that has
    /// arrived, then ask [`Pages::is_dead`].
    pub(super) fn tick(
        &mut self,
        dialler: &Dialler,
        target: &Target,
        now: Instant,
    ) -> Option<LinkError> {
        self.cache.expire(now);
        self.phase.tick(dialler, target, &self.field, now);
        let linked = self.phase.get()?;
        linked.patience.is_late(now).then(|| LinkError::Lost(linked.patience.why()))
    }

    pub(super) fn is_dead(&mut self, now: Instant) -> bool {
        self.phase.get().is_some_and(|linked| linked.patience.is_dead(now))
    }

    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let patience = self.phase.get().and_then(|linked| linked.patience.deadline());
        [patience, self.phase.deadline(), self.cache.deadline()].into_iter().flatten().min()
    }

    // ---- what is asked ----

    /// Adds the canary. `false`: there is no link.
    pub(super) fn add_canary(&mut self, key: &str, value: &str, now: Instant) -> bool {
        let Some(linked) = self.phase.get() else { return false };
        let milliseconds = CANARY_LIFE.as_millis() as u64;
        let command = StreamCommand::Only { key, field: &self.field, value, milliseconds };
        linked.send(&command, Asked::Canary, now);
        linked.link.flush();
        true
    }

    /// Sends what waits to be read, as far as there may be more under way.
    pub(super) fn send_next(&mut self, now: Instant) {
        let Some(linked) = self.phase.get() else { return };
        let before = linked.asked.len();
        while linked.reading < IN_FLIGHT
            && let Some(key) = self.flights.take()
        {
            linked.read(PageBuild::new(key), &self.prefix, now);
        }
        if linked.asked.len() != before {
            linked.link.flush();
        }
    }

    // ---- what arrives ----

    /// Takes in one arrival, if there is any.
    ///
    /// # Errors
    /// When the link must be given up.
    pub(super) fn handle_next(
        &mut self,
        now: Instant,
    ) -> Option<Result<Option<CanaryEvent>, LinkError>> {
        let linked = self.phase.get()?;
        let PagesLink { link, asked, .. } = linked;
        let building = match asked.front_mut() {
            Some(Asked::Page(page)) => Some(page),
            _ => None,
        };
        match (link.try_next()?, building) {
            (StreamArrival::Facts(facts), Some(page)) => page.facts(facts),
            (StreamArrival::Entry { id, payload }, Some(page)) => page.entry(id, Some(payload)),
            (StreamArrival::TooLarge(id), Some(page)) => page.entry(id, None),
            (StreamArrival::Done, _) => return Some(Ok(self.done(None, now))),
            (StreamArrival::Failed(error), _) => return Some(Ok(self.done(Some(error), now))),
            (StreamArrival::Ended(error), _) => return Some(Err(error)),
            _ => {}
        }
        Some(Ok(None))
    }

    /// Everything that has arrived until now was handled.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(linked) = self.phase.get() {
            linked.patience.received(linked.link.received(), now);
        }
    }

    /// The oldest command is answered, perhaps by an error.
    fn done(&mut self, error: Option<LinkError>, now: Instant) -> Option<CanaryEvent> {
        let linked = self.phase.get()?;
        linked.patience.answered();
        match (linked.asked.pop_front()?, error) {
            (Asked::Canary, None) => {
                self.phase.proven();
                return Some(CanaryEvent::Added);
            }
            (Asked::Canary, Some(error)) => return Some(CanaryEvent::Failed(error)),
            (Asked::Page(page), error) => {
                linked.reading -= 1;
                match error {
                    None => self.read(*page, now),
                    Some(error) => {
                        let passes = error.passes();
                        let why = if passes { PageError::LinkDown } else { PageError::Refused };
                        self.flights.fail(&page.key, why);
                    }
                }
            }
        }
        None
    }

    fn read(&mut self, page: PageBuild, now: Instant) {
        if page.wants_facts() {
            // The place's own entry is gone: only together with facts does the page say anything.
            self.flights.begin(&page.key);
            if let Some(linked) = self.phase.get() {
                linked.read(page.with_facts(), &self.prefix, now);
                linked.link.flush();
            }
            return;
        }
        let (key, page) = page.finish();
        if page.is_full && page.facts.is_none() {
            self.cache.insert(key.clone(), page.clone(), now);
        }
        self.flights.serve(&key, &page);
    }
}

impl PagesLink {
    fn send(&mut self, command: &StreamCommand<'_>, asked: Asked, now: Instant) {
        self.patience.asked(now);
        self.link.send(command);
        self.asked.push_back(asked);
    }

    fn read(&mut self, page: PageBuild, prefix: &str, now: Instant) {
        self.reading += 1;
        let key = [prefix, &*page.key.stream].concat();
        let entries = match page.key.ask {
            PageAsk::After { after, .. } => {
                Entries::From { key: &key, first: after, count: page.asked() }
            }
            PageAsk::Newest { until, count } => {
                Entries::NewestUpTo { key: &key, last: until, count }
            }
        };
        let command = match page.has_facts {
            true => StreamCommand::Both(entries),
            false => StreamCommand::Entries(entries),
        };
        self.send(&command, Asked::Page(Box::new(page)), now);
    }
}
