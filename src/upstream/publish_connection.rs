//! The connection for every other command: it publishes the canaries.
//!
//! It fails and is dialled again on its own; the subscriber connection is none of its business.

use super::{
    backoff::Backoff,
    client::{LinkError, Publisher, Redis, Reply},
};
use std::{future::pending, time::Duration};
use tokio::time::Instant;
use tracing::debug;

/// The command connection, made and mended as needed.
pub(super) struct PublishConnection<R: Redis> {
    state: State<R::Publisher>,
    backoff: Backoff,
    /// How long a PUBLISH may take.
    timeout: Duration,
    /// Since when it has failed; `None` while it works.
    failing: Option<Instant>,
}

enum State<P> {
    /// Not wanted.
    Off,
    Waiting {
        until: Instant,
    },
    Dialling {
        dial: Reply<P>,
        started: Instant,
    },
    Ready(P),
    Publishing {
        publisher: P,
        reply: Reply<()>,
        deadline: Instant,
    },
}

/// What became of the command connection.
pub(super) enum PublishEvent<P> {
    Dialled(Result<P, LinkError>),
    Published(Result<(), LinkError>),
}

impl<R: Redis> PublishConnection<R> {
    pub(super) fn new(backoff: Backoff, timeout: Duration) -> Self {
        Self { state: State::Off, backoff, timeout, failing: None }
    }

    /// Closes the connection and makes none until [`PublishConnection::start`].
    pub(super) fn stop(&mut self) {
        self.state = State::Off;
    }

    /// Dials now.
    pub(super) fn start(&mut self, redis: &R, now: Instant) {
        self.state = State::Dialling { dial: redis.publisher(), started: now };
    }

    /// Waits for news. Cancel-safe.
    pub(super) async fn next(&mut self) -> PublishEvent<R::Publisher> {
        match &mut self.state {
            State::Off | State::Waiting { .. } | State::Ready(_) => pending().await,
            State::Dialling { dial, .. } => PublishEvent::Dialled(dial.await),
            State::Publishing { reply, .. } => PublishEvent::Published(reply.await),
        }
    }

    /// Takes in the news. Returns whether something has failed, in words.
    pub(super) fn take(
        &mut self,
        news: PublishEvent<R::Publisher>,
        now: Instant,
    ) -> Result<(), String> {
        match news {
            PublishEvent::Dialled(Ok(publisher)) => self.state = State::Ready(publisher),
            PublishEvent::Published(Ok(())) => {
                if let State::Publishing { publisher, .. } = self.take_state() {
                    self.state = State::Ready(publisher);
                }
                self.failing = None;
                self.backoff.reset();
            }
            PublishEvent::Dialled(Err(error)) => return Err(self.fail("connection", &error, now)),
            PublishEvent::Published(Err(error)) => return Err(self.fail("PUBLISH", &error, now)),
        }
        Ok(())
    }

    fn take_state(&mut self) -> State<R::Publisher> {
        std::mem::replace(&mut self.state, State::Off)
    }

    /// Drops the connection and plans the next dial.
    fn fail(&mut self, what: &str, error: &LinkError, now: Instant) -> String {
        let since = *self.failing.get_or_insert(now);
        let wait = self.backoff.after(error, now - since);
        let from = match self.take_state() {
            State::Dialling { started, .. } => started,
            _ => now,
        };
        self.state = State::Waiting { until: from + wait };
        debug!(%error, "Redis command connection: {what} failed");
        format!("cannot probe: {what} failed: {error}")
    }

    /// Does what time requests: dials again, or gives a PUBLISH up.
    pub(super) fn tick(&mut self, redis: &R, now: Instant) -> Result<(), String> {
        match &self.state {
            State::Waiting { until } if *until <= now => self.start(redis, now),
            State::Publishing { deadline, .. } if *deadline <= now => {
                let error = LinkError::Lost(format!("no answer within {:?}", self.timeout));
                return Err(self.fail("PUBLISH", &error, now));
            }
            _ => {}
        }
        Ok(())
    }

    /// When [`PublishConnection::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { until } => Some(*until),
            State::Publishing { deadline, .. } => Some(*deadline),
            State::Off | State::Dialling { .. } | State::Ready(_) => None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Publishes; only when [`PublishConnection::is_ready`].
    pub(super) fn publish(&mut self, channel: &str, payload: &str, now: Instant) {
        if let State::Ready(publisher) = self.take_state() {
            let reply = publisher.publish(channel, payload);
            self.state = State::Publishing { publisher, reply, deadline: now + self.timeout };
        }
    }
}
