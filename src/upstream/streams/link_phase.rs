//! A connection for streams, dialled when it is wanted and dialled anew when it is lost.

use crate::upstream::{
    backoff::Backoff,
    link::{Dialler, LinkError, Pending, StreamLink, Target},
};
use std::{future::pending, time::Duration};
use tokio::time::Instant;

/// A connection as `L` that is made of a [`StreamLink`].
pub(super) struct LinkPhase<L> {
    pub(super) state: LinkState<L>,
    backoff: Backoff,
    /// Since when there is none; `None` while there is.
    away: Option<Instant>,
    /// No dial has failed since it was started.
    is_first: bool,
}

pub(super) enum LinkState<L> {
    /// Not wanted.
    Off,
    Waiting {
        until: Instant,
    },
    Dialling {
        dial: Pending<StreamLink>,
        started: Instant,
    },
    Linked(Box<L>),
}

/// What can happen.
pub(super) enum LinkEvent {
    Dialled(Result<Box<StreamLink>, LinkError>),
    Arrived,
}

/// What is a connection.
pub(super) trait Connected {
    fn link(&mut self) -> &mut StreamLink;
}

impl<L: Connected> LinkPhase<L> {
    pub(super) fn new(reconnect: (Duration, Duration)) -> Self {
        let backoff = Backoff::new(reconnect.0, reconnect.1);
        Self { state: LinkState::Off, backoff, away: None, is_first: true }
    }

    /// Dials now, unless there is a connection or a dial.
    pub(super) fn start(&mut self, now: Instant) {
        if matches!(self.state, LinkState::Off) {
            (self.away, self.is_first) = (Some(now), true);
            self.state = LinkState::Waiting { until: now };
        }
    }

    /// Closes the connection and makes none until [`LinkPhase::start`].
    pub(super) fn stop(&mut self) {
        self.state = LinkState::Off;
    }

    /// Does what time asks for.
    pub(super) fn tick(&mut self, dialler: &Dialler, target: &Target, field: &str, now: Instant) {
        if let LinkState::Waiting { until } = self.state
            && until <= now
        {
            let dial = dialler.dial_streams(target, field);
            self.state = LinkState::Dialling { dial, started: now };
        }
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            LinkState::Off | LinkState::Waiting { .. } => pending().await,
            LinkState::Dialling { dial, .. } => LinkEvent::Dialled(dial.await.map(Box::new)),
            LinkState::Linked(linked) => {
                linked.link().ready().await;
                LinkEvent::Arrived
            }
        }
    }

    /// The connection is made.
    pub(super) fn linked(&mut self, link: L) {
        self.away = None;
        self.state = LinkState::Linked(Box::new(link));
    }

    /// The connection has proven itself.
    pub(super) fn proven(&mut self) {
        self.backoff.reset();
    }

    /// The connection, or the dial, has failed: the next dial is planned.
    pub(super) fn failed(&mut self, error: &LinkError, now: Instant) {
        self.is_first = false;
        let away = now - *self.away.get_or_insert(now);
        let from = match &self.state {
            LinkState::Dialling { started, .. } => *started,
            _ => now,
        };
        self.state = LinkState::Waiting { until: self.backoff.after(error, away, from) };
    }

    pub(super) fn get(&mut self) -> Option<&mut L> {
        match &mut self.state {
            LinkState::Linked(link) => Some(link),
            _ => None,
        }
    }

    /// Whether there is a connection, or may soon be one.
    pub(super) fn is_expected(&self) -> bool {
        match self.state {
            LinkState::Off => false,
            // A first dial that is due now.
            LinkState::Waiting { .. } => self.is_first,
            LinkState::Dialling { .. } | LinkState::Linked(_) => true,
        }
    }

    /// When [`LinkPhase::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            LinkState::Waiting { until } => Some(until),
            _ => None,
        }
    }
}
