//! Publishes what clients and HTTP callers send, over one pipelined connection of its own.
//!
//! Promises: nothing is published twice, since nothing is ever retried; what was written and not answered when
//! its connection ends is reported as unknown, and only that; what was not written is reported as
//! unavailable. It dials when there is something to publish, and follows the primary like the connections
//! that read. What waits is bounded by [`PublishHandle`](crate::bus::PublishHandle).
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `answers` `command`: what an answer of Redis means; what it is asked
//! 1. `waiting`: batches from their coming to their answer
//! 2. `publish_link`: the connection, and what was written to it
//! 3. `mod`: the task: dials, writes, takes answers

mod answers;
mod command;
mod publish_link;
mod waiting;

pub(super) use {answers::answer, command::command};

use super::{
    backoff::Backoff,
    link::{CommandLink, Dialler, LinkError, Pending},
    primary::Primary,
};
use crate::{
    bus::{PublishBatch, PublishBatches},
    config,
};
use publish_link::{Arrived, PublishLink, PublishSettings};
use std::{future::pending, pin::Pin, time::Duration};
use tokio::{
    task::yield_now,
    time::{Instant, Sleep, sleep_until},
};
use tracing::{debug, info, warn};
use waiting::Waiting;

/// Batches that are taken from the queue before they are written together. More would make other tasks of a
/// shard's thread wait.
const BATCHES_AT_ONCE: usize = 256;

/// A connection that lived at least this long resets the back-off.
const PROVEN: Duration = Duration::from_secs(10);

/// A connection that lived no longer than this counts as a failed dial.
const SHORT_LIFE: Duration = Duration::from_millis(100);

/// Batches, and the connection that they are published over.
pub(super) struct Publications {
    batches: PublishBatches,
    waiting: Waiting,
    dialler: Dialler,
    settings: PublishSettings,
    state: State,
    primary: Primary,
    backoff: Backoff,
    /// Since when there is no connection though one is wanted.
    away: Option<Instant>,
}

enum State {
    /// Nothing is to be published.
    Off,
    Backoff {
        until: Instant,
    },
    Dialling {
        dial: Pending<CommandLink>,
        started: Instant,
    },
    Linked(Box<PublishLink>),
}

enum Event {
    Batch(PublishBatch),
    Dialled(Box<Result<CommandLink, LinkError>>),
    Arrived,
    Timer,
}

impl Publications {
    /// Nothing is connected before the first batch.
    pub(super) fn new(dialler: Dialler, settings: &config::Redis, batches: PublishBatches) -> Self {
        Self {
            batches,
            waiting: Waiting::default(),
            dialler,
            settings: PublishSettings {
                prefix: settings.channel_prefix.clone(),
                field: settings.stream_field.clone(),
                interval: settings.probe_interval,
                timeout: settings.probe_timeout,
            },
            state: State::Off,
            primary: Primary::new(&settings.address),
            backoff: Backoff::new(settings.reconnect_min, settings.reconnect_max),
            away: None,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            let event = self.next(&mut timer).await;
            let now = Instant::now();
            let is_behind = self.handle(event, now);
            self.take_more(now);
            self.tick(now);
            self.write(now);
            if is_behind {
                // On a shard's thread, its tasks get their turn between two bursts.
                yield_now().await;
            }
        }
    }

    /// Waits for what happens next. Cancel-safe.
    async fn next(&mut self, timer: &mut Pin<Box<Sleep>>) -> Event {
        let deadline = self.deadline();
        if let Some(deadline) = deadline
            && timer.deadline() != deadline
        {
            timer.as_mut().reset(deadline);
        }
        let takes = self.takes();
        tokio::select! {
            biased;
            event = self.state.next() => event,
            Some(batch) = self.batches.recv(), if takes => Event::Batch(batch),
            () = timer.as_mut(), if deadline.is_some() => Event::Timer,
        }
    }

    /// Returns whether more may have arrived than was handled.
    fn handle(&mut self, event: Event, now: Instant) -> bool {
        match event {
            Event::Batch(batch) => self.waiting.push(batch, now),
            Event::Dialled(dialled) => match *dialled {
                Ok(link) => {
                    self.away = None;
                    let link = PublishLink::new(link, &mut self.primary, &self.settings, now);
                    self.state = State::Linked(Box::new(link));
                }
                Err(error) => self.failed(&error, now),
            },
            Event::Arrived => return self.arrived(now),
            Event::Timer => {}
        }
        false
    }

    fn arrived(&mut self, now: Instant) -> bool {
        let State::Linked(link) = &mut self.state else { return false };
        match link.take_arrived(&mut self.waiting, &mut self.primary, &self.settings, now) {
            Ok(Arrived { is_behind }) => is_behind,
            Err(error) => {
                self.link_lost(&error, now);
                false
            }
        }
    }

    /// Whether there is room for what is still in the queue.
    fn takes(&self) -> bool {
        match &self.state {
            State::Linked(link) => link.has_room(),
            _ => true,
        }
    }

    /// Takes what else has come, so that all of it is written at once.
    fn take_more(&mut self, now: Instant) {
        for _ in 0..BATCHES_AT_ONCE {
            if !self.takes() {
                break;
            }
            let Ok(batch) = self.batches.try_recv() else { break };
            self.waiting.push(batch, now);
        }
    }

    fn tick(&mut self, now: Instant) {
        match &mut self.state {
            State::Off if self.waiting.has_unsent() => {
                self.away.get_or_insert(now);
                self.dial(now);
            }
            State::Backoff { until } if *until <= now => match self.waiting.has_unsent() {
                true => self.dial(now),
                false => self.state = State::Off,
            },
            State::Linked(link) => {
                if let Some(error) = link.tick(&self.primary, now) {
                    self.link_lost(&error, now);
                }
            }
            State::Off | State::Backoff { .. } | State::Dialling { .. } => {}
        }
        // Nothing waits longer than `probe_timeout`, for a connection or behind others.
        if let Some(since) = now.checked_sub(self.settings.timeout) {
            self.waiting.fail_unsent_since(since);
        }
    }

    fn dial(&mut self, now: Instant) {
        let dial = self.dialler.dial_commands(self.primary.target());
        self.state = State::Dialling { dial, started: now };
    }

    fn write(&mut self, now: Instant) {
        if let State::Linked(link) = &mut self.state {
            link.write(&mut self.waiting, &self.settings, now);
        }
    }

    // ---- failures ----

    /// A dial has failed: what waited for it fails, too.
    fn failed(&mut self, error: &LinkError, now: Instant) {
        debug!(%error, "cannot connect to Redis for publishing");
        self.primary.lost();
        self.waiting.fail_unsent();
        self.retry(error, now);
    }

    fn retry(&mut self, error: &LinkError, now: Instant) {
        let from = match &self.state {
            State::Dialling { started, .. } => *started,
            _ => now,
        };
        let away = now - *self.away.get_or_insert(now);
        self.state = State::Backoff { until: self.backoff.after(error, away, from) };
    }

    /// The connection has ended, or must be given up. What was written and not answered may have been
    /// published; what was not waits for the next connection.
    fn link_lost(&mut self, error: &LinkError, now: Instant) {
        let State::Linked(link) = &mut self.state else { return };
        let unknown = link.give_up(&mut self.waiting);
        let lived = now - link.made;
        if lived >= PROVEN {
            self.backoff.reset();
        }
        let moved = link.has_moved;
        if unknown > 0 {
            warn!(%error, unknown, "the connection for publishing is lost: these may have been published or not");
        } else if moved {
            info!(%error, "the connection for publishing follows the primary");
        } else {
            debug!(%error, "Redis has closed the idle connection for publishing");
        }
        if !moved {
            self.primary.lost();
        }
        // To be closed while idle is no failure.
        match unknown == 0 && !moved && lived > SHORT_LIFE {
            true => self.state = State::Off,
            false => self.retry(error, now),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let own = match &self.state {
            State::Off | State::Dialling { .. } => None,
            State::Backoff { until } => Some(*until),
            State::Linked(link) => Some(link.deadline()),
        };
        let unsent = self.waiting.unsent_since().map(|since| since + self.settings.timeout);
        own.into_iter().chain(unsent).min()
    }
}

impl State {
    /// Waits for what happens next on the connection. Cancel-safe.
    async fn next(&mut self) -> Event {
        match self {
            Self::Off | Self::Backoff { .. } => pending().await,
            Self::Dialling { dial, .. } => Event::Dialled(Box::new(dial.await)),
            Self::Linked(link) => {
                link.ready().await;
                Event::Arrived
            }
        }
    }
}
