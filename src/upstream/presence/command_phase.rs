//! The command connection, dialled when the first room is there and dialled anew when it is lost.

use crate::upstream::{
    backoff::Backoff,
    link::{CommandLink, Dialler, LinkError, Pending, Target},
};
use std::{future::pending, time::Duration};
use tokio::time::Instant;

pub(super) struct CommandPhase {
    state: CommandState,
    backoff: Backoff,
    /// Since when there is no connection; `None` while there is one.
    away: Option<Instant>,
}

enum CommandState {
    /// No room has been entered yet.
    Off,
    Waiting {
        until: Instant,
    },
    Dialling {
        dial: Pending<CommandLink>,
        started: Instant,
    },
    Linked(Box<CommandLink>),
}

/// What can happen.
pub(super) enum CommandEvent {
    Dialled(Result<Box<CommandLink>, LinkError>),
    Arrived,
}

impl CommandPhase {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { state: CommandState::Off, backoff: Backoff::new(min, max), away: None }
    }

    /// Dials now, unless there is a connection or a dial.
    pub(super) fn start(&mut self, now: Instant) {
        if matches!(self.state, CommandState::Off) {
            self.away = Some(now);
            self.state = CommandState::Waiting { until: now };
        }
    }

    /// Dials when that is due.
    pub(super) fn tick(&mut self, dialler: &Dialler, target: &Target, now: Instant) {
        if let CommandState::Waiting { until } = self.state
            && until <= now
        {
            let dial = dialler.dial_commands(target);
            self.state = CommandState::Dialling { dial, started: now };
        }
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> CommandEvent {
        match &mut self.state {
            CommandState::Off | CommandState::Waiting { .. } => pending().await,
            CommandState::Dialling { dial, .. } => CommandEvent::Dialled(dial.await.map(Box::new)),
            CommandState::Linked(link) => {
                link.ready().await;
                CommandEvent::Arrived
            }
        }
    }

    pub(super) fn linked(&mut self, link: Box<CommandLink>) {
        self.away = None;
        self.state = CommandState::Linked(link);
    }

    /// The connection has proven itself.
    pub(super) fn proven(&mut self) {
        self.backoff.reset();
    }

    /// The connection, or the dial, has failed: the next dial is planned.
    pub(super) fn failed(&mut self, error: &LinkError, now: Instant) {
        let away = now - *self.away.get_or_insert(now);
        let from = match &self.state {
            CommandState::Dialling { started, .. } => *started,
            _ => now,
        };
        self.state = CommandState::Waiting { until: self.backoff.after(error, away, from) };
    }

    pub(super) fn get(&mut self) -> Option<&mut CommandLink> {
        match &mut self.state {
            CommandState::Linked(link) => Some(link),
            _ => None,
        }
    }

    /// When [`CommandPhase::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            CommandState::Waiting { until } => Some(until),
            _ => None,
        }
    }
}
