//! The connection for every command but SUBSCRIBE: it publishes the canaries.
//!
//! It fails and is dialled again on its own; it knows nothing of the connection that subscribes.
//! Redis may close it for idleness at any time, which is no failure: it is dialled again when there is
//! something to publish, and what was under way just then is published once more.
//!
//! Here is the `Publisher`; `command_dialler` dials, `command_connection` is what it makes.

mod command_connection;
mod command_dialler;

pub(super) use command_connection::CommandConnection;
pub(super) use command_dialler::CommandDialler;

use super::{
    backoff::Backoff,
    connect::{Connect, PublishConnection},
    link::{LinkError, Pending, Target},
};
use std::{future::pending, time::Duration};
use tokio::time::Instant;
use tracing::debug;

/// Publishes over a connection that is made and mended as needed.
pub(super) struct Publisher<C: Connect> {
    state: PublisherState<C::Publisher>,
    target: Target,
    /// What is being published, or will be once there is a connection.
    order: Option<Order>,
    backoff: Backoff,
    /// How long a PUBLISH may take.
    timeout: Duration,
    /// Since when it has failed; `None` while it works.
    failing: Option<Instant>,
}

struct Order {
    channel: Box<str>,
    payload: String,
    /// It was tried before, on a connection that turned out to be closed.
    again: bool,
}

enum PublisherState<P> {
    /// Not wanted.
    Off,
    Waiting {
        until: Instant,
    },
    Dialling {
        dial: Pending<P>,
        started: Instant,
    },
    Ready(P),
    /// Redis has closed it while it was idle.
    Closed,
    Publishing {
        connection: P,
        reply: Pending<()>,
        deadline: Instant,
    },
}

/// What became of the connection.
pub(super) enum PublishEvent<P> {
    Dialled(Result<P, LinkError>),
    Published(Result<(), LinkError>),
    Closed,
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublishOutcome {
    /// Nothing that anyone else has to know.
    Nothing,
    /// There is a connection.
    Connected,
    /// Redis has acknowledged a PUBLISH.
    Published,
    /// It does not work, in words.
    Failed(String),
}

impl<C: Connect> Publisher<C> {
    pub(super) fn new(backoff: Backoff, timeout: Duration) -> Self {
        let target = Target::default();
        Self { state: PublisherState::Off, target, order: None, backoff, timeout, failing: None }
    }

    /// Closes the connection and makes none until [`Publisher::start`].
    pub(super) fn stop(&mut self) {
        self.state = PublisherState::Off;
        self.order = None;
    }

    /// Whether it is to make no connection.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.state, PublisherState::Off)
    }

    /// Dials this server now.
    pub(super) fn start(&mut self, connect: &C, target: &Target, now: Instant) {
        self.target = target.clone();
        self.order = None;
        self.dial(connect, now);
    }

    fn dial(&mut self, connect: &C, now: Instant) {
        self.state =
            PublisherState::Dialling { dial: connect.publisher(&self.target), started: now };
    }

    /// Waits for what happens next. Cancel-safe.
    pub(super) async fn next(&mut self) -> PublishEvent<C::Publisher> {
        match &mut self.state {
            PublisherState::Off | PublisherState::Waiting { .. } | PublisherState::Closed => {
                pending().await
            }
            PublisherState::Dialling { dial, .. } => PublishEvent::Dialled(dial.await),
            PublisherState::Ready(connection) => {
                connection.closed().await;
                PublishEvent::Closed
            }
            PublisherState::Publishing { connection, reply, .. } => tokio::select! {
                biased;
                reply = reply => PublishEvent::Published(reply),
                () = connection.closed() => {
                    let closed = "the connection was closed".to_owned();
                    PublishEvent::Published(Err(LinkError::Lost(closed)))
                }
            },
        }
    }

    /// Takes in what has happened.
    pub(super) fn handle(
        &mut self,
        event: PublishEvent<C::Publisher>,
        connect: &C,
        now: Instant,
    ) -> PublishOutcome {
        match event {
            PublishEvent::Closed => {
                debug!("Redis has closed the idle command connection");
                self.state = PublisherState::Closed;
                PublishOutcome::Nothing
            }
            PublishEvent::Dialled(Ok(connection)) => {
                self.state = PublisherState::Ready(connection);
                self.send(now);
                PublishOutcome::Connected
            }
            PublishEvent::Dialled(Err(error)) => self.fail("connection", &error, now),
            PublishEvent::Published(Ok(())) => {
                if let PublisherState::Publishing { connection, .. } = self.take_state() {
                    self.state = PublisherState::Ready(connection);
                }
                (self.order, self.failing) = (None, None);
                self.backoff.reset();
                PublishOutcome::Published
            }
            PublishEvent::Published(Err(error)) => self.not_published(&error, connect, now),
        }
    }

    /// A connection may have been closed just when it was wanted; a fresh one tells.
    fn not_published(&mut self, error: &LinkError, connect: &C, now: Instant) -> PublishOutcome {
        match &mut self.order {
            Some(order) if !order.again && matches!(error, LinkError::Lost(_)) => {
                order.again = true;
                self.dial(connect, now);
                PublishOutcome::Nothing
            }
            _ => self.fail("PUBLISH", error, now),
        }
    }

    fn take_state(&mut self) -> PublisherState<C::Publisher> {
        std::mem::replace(&mut self.state, PublisherState::Off)
    }

    /// Drops the connection and plans the next dial.
    fn fail(&mut self, what: &str, error: &LinkError, now: Instant) -> PublishOutcome {
        let since = *self.failing.get_or_insert(now);
        let from = match self.take_state() {
            PublisherState::Dialling { started, .. } => started,
            _ => now,
        };
        self.state =
            PublisherState::Waiting { until: self.backoff.after(error, now - since, from) };
        self.order = None;
        debug!(%error, "Redis command connection: {what} failed");
        PublishOutcome::Failed(format!("cannot probe: {what} failed: {error}"))
    }

    /// Does what time asks for: dials again, or gives a PUBLISH up.
    pub(super) fn tick(&mut self, connect: &C, now: Instant) -> PublishOutcome {
        match &self.state {
            PublisherState::Waiting { until } if *until <= now => self.dial(connect, now),
            PublisherState::Publishing { deadline, .. } if *deadline <= now => {
                let error = LinkError::Lost(format!("no answer within {:?}", self.timeout));
                return self.fail("PUBLISH", &error, now);
            }
            _ => {}
        }
        PublishOutcome::Nothing
    }

    /// When [`Publisher::tick`] must be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            PublisherState::Waiting { until } => Some(*until),
            PublisherState::Publishing { deadline, .. } => Some(*deadline),
            PublisherState::Off
            | PublisherState::Dialling { .. }
            | PublisherState::Ready(_)
            | PublisherState::Closed => None,
        }
    }

    /// Whether [`Publisher::publish`] may be called.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, PublisherState::Ready(_) | PublisherState::Closed)
    }

    /// Publishes; only when [`Publisher::is_ready`].
    pub(super) fn publish(
        &mut self,
        channel: Box<str>,
        payload: String,
        connect: &C,
        now: Instant,
    ) {
        self.order = Some(Order { channel, payload, again: false });
        match self.state {
            PublisherState::Closed => self.dial(connect, now),
            _ => self.send(now),
        }
    }

    fn send(&mut self, now: Instant) {
        self.state = match (self.take_state(), &self.order) {
            (PublisherState::Ready(connection), Some(order)) => {
                let reply = connection.publish(&order.channel, &order.payload);
                PublisherState::Publishing { connection, reply, deadline: now + self.timeout }
            }
            (state, _) => state,
        };
    }
}
