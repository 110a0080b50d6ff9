//! A fake Redis behind the traits of `connect`: it does what a test tells it to.

use super::{
    connect::{Connect, PublishConnection},
    link::{Arrival, Command, Link, LinkError, Pending, Role, Target},
};
use std::{
    collections::{HashSet, VecDeque},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// What the fake Redis does, and what was done to it.
pub(super) struct Server {
    /// Why dials fail.
    pub(super) down: Option<LinkError>,
    /// Commands get no answer.
    pub(super) mute: bool,
    /// Canaries do not come back.
    pub(super) deaf: bool,
    /// Why PUBLISH fails.
    pub(super) publish_fails: Option<LinkError>,
    /// … once.
    pub(super) publish_fails_once: Option<LinkError>,
    pub(super) forbidden: HashSet<String>,
    /// Why every SUBSCRIBE fails …
    pub(super) subscribe_fails: Option<LinkError>,
    /// … and every one that names one of these.
    pub(super) busy: HashSet<String>,
    /// Why every UNSUBSCRIBE fails.
    pub(super) unsubscribe_fails: Option<LinkError>,
    /// Servers that nobody reaches.
    pub(super) away: Vec<Target>,
    pub(super) role: Role,
    /// What it complains of in its answers to PING.
    pub(super) warning: Option<LinkError>,
    /// How long an answer takes.
    pub(super) latency: Duration,
    /// What is published right behind the confirmation of its channel.
    pub(super) publish_on_subscribe: Option<(String, String)>,
    pub(super) dials: Vec<Instant>,
    pub(super) targets: Vec<Target>,
    pub(super) publisher_targets: Vec<Target>,
    pub(super) commands: Vec<Command>,
    pub(super) subscribed: HashSet<String>,
    /// Bytes received of what has not arrived whole.
    pub(super) trickled: u64,
    link: Option<mpsc::UnboundedSender<Due>>,
    /// Of the connections that publish, in the order of their making, the first so many are closed.
    closed: watch::Sender<usize>,
}

/// What arrives on the link, and when.
type Due = (Instant, Sent);

/// As [`Arrival`], and not borrowed.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    Message(String, String),
    /// Of the pattern that comes first.
    Matched(String, String, String),
    Oversized(String, u64),
    Confirmed(String),
    Released(String),
    Rejected(Command, LinkError),
    Pong(Option<LinkError>),
    Role(Role),
    Ended(LinkError),
}

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<Server>>);

impl Default for Fake {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Server {
            down: None,
            mute: false,
            deaf: false,
            publish_fails: None,
            publish_fails_once: None,
            forbidden: HashSet::new(),
            subscribe_fails: None,
            busy: HashSet::new(),
            unsubscribe_fails: None,
            away: Vec::new(),
            role: Role::Primary,
            warning: None,
            latency: Duration::from_micros(100),
            publish_on_subscribe: None,
            dials: Vec::new(),
            targets: Vec::new(),
            publisher_targets: Vec::new(),
            commands: Vec::new(),
            subscribed: HashSet::new(),
            trickled: 0,
            link: None,
            closed: watch::Sender::new(0),
        })))
    }
}

impl Fake {
    pub(super) fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap()
    }

    pub(super) fn publish(&self, channel: &str, payload: &str) {
        self.lock().publish(channel, payload);
    }

    /// Has anything at all arrive on the link.
    pub(super) fn send(&self, sent: Sent) {
        self.lock().send(Duration::ZERO, sent);
    }

    /// Ends the link.
    pub(super) fn drop_link(&self) {
        self.send(Sent::Ended(LinkError::Lost("reset".to_owned())));
        self.lock().link = None;
    }

    /// Closes the connection that publishes, as Redis does with idle ones.
    pub(super) fn close_publisher(&self) {
        let server = self.lock();
        server.closed.send_replace(server.publisher_targets.len());
    }

    pub(super) fn subscribes(&self) -> Vec<Vec<String>> {
        let server = self.lock();
        let batches = server.commands.iter().filter_map(|command| match command {
            Command::Subscribe(batch) => Some(batch.iter().map(ToString::to_string).collect()),
            _ => None,
        });
        batches.collect()
    }

    pub(super) fn count(&self, command: &Command) -> usize {
        self.lock().commands.iter().filter(|sent| *sent == command).count()
    }
}

impl Server {
    fn send(&self, after: Duration, sent: Sent) {
        if let Some(link) = &self.link {
            let _ = link.send((Instant::now() + after, sent));
        }
    }

    fn publish(&self, channel: &str, payload: &str) {
        if self.subscribed.contains(channel) {
            self.send(Duration::ZERO, Sent::Message(channel.to_owned(), payload.to_owned()));
        }
    }

    fn subscribe_error(&self, batch: &[Box<str>]) -> Option<LinkError> {
        if let Some(bad) = batch.iter().find(|name| self.forbidden.contains(&***name)) {
            return Some(LinkError::ChannelRefused(format!("NOPERM channel {bad}")));
        }
        let is_busy = batch.iter().any(|name| self.busy.contains(&**name));
        let busy = is_busy.then(|| LinkError::Answered("BUSY".to_owned()));
        self.subscribe_fails.clone().or(busy)
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Ping => self.send(self.latency, Sent::Pong(self.warning.clone())),
            Command::Role => self.send(self.latency, Sent::Role(self.role.clone())),
            Command::SubscribePatterns(batch) => {
                for name in batch {
                    self.subscribed.insert(name.to_string());
                    self.send(self.latency, Sent::Confirmed(name.to_string()));
                }
            }
            Command::UnsubscribePatterns(batch) => {
                for name in batch {
                    self.subscribed.remove(&*name);
                    self.send(self.latency, Sent::Released(name.to_string()));
                }
            }
            Command::Subscribe(batch) => {
                if let Some(error) = self.subscribe_error(&batch) {
                    let rejected = Sent::Rejected(Command::Subscribe(batch), error);
                    return self.send(self.latency, rejected);
                }
                for name in batch {
                    self.subscribed.insert(name.to_string());
                    self.send(self.latency, Sent::Confirmed(name.to_string()));
                    if let Some((channel, payload)) = &self.publish_on_subscribe
                        && *channel == *name
                    {
                        self.send(self.latency, Sent::Message(channel.clone(), payload.clone()));
                    }
                }
            }
            Command::Unsubscribe(batch) => {
                if let Some(error) = self.unsubscribe_fails.clone() {
                    let rejected = Sent::Rejected(Command::Unsubscribe(batch), error);
                    return self.send(self.latency, rejected);
                }
                for name in batch {
                    self.subscribed.remove(&*name);
                    self.send(self.latency, Sent::Released(name.to_string()));
                }
            }
        }
    }
}

pub(super) struct FakeLink {
    fake: Fake,
    incoming: mpsc::UnboundedReceiver<Due>,
    arrived: VecDeque<Due>,
    /// What the last arrival borrows.
    taken: Option<Sent>,
}

impl Connect for Fake {
    type Link = FakeLink;
    type Publisher = FakePublisher;

    fn link(&self, target: &Target) -> Pending<FakeLink> {
        let mut server = self.lock();
        server.dials.push(Instant::now());
        server.targets.push(target.clone());
        server.subscribed.clear();
        let away = server.away.contains(target);
        let away = away.then(|| LinkError::Unreachable("Connection refused".to_owned()));
        let result = server.down.clone().or(away).map_or_else(
            || {
                let (link, incoming) = mpsc::unbounded_channel();
                server.link = Some(link);
                let fake = self.clone();
                Ok(FakeLink { fake, incoming, arrived: VecDeque::new(), taken: None })
            },
            Err,
        );
        Box::pin(async { result })
    }

    fn publisher(&self, target: &Target) -> Pending<FakePublisher> {
        let mut server = self.lock();
        server.publisher_targets.push(target.clone());
        let (number, closed) = (server.publisher_targets.len(), server.closed.subscribe());
        let publisher = FakePublisher { fake: self.clone(), number, closed };
        Box::pin(async { Ok(publisher) })
    }
}

impl Link for FakeLink {
    fn send(&mut self, command: Command) {
        let mut server = self.fake.lock();
        server.commands.push(command.clone());
        if !server.mute {
            server.carry_out(command);
        }
    }

    fn flush(&mut self) {}

    async fn ready(&mut self) {
        if self.arrived.is_empty() {
            match self.incoming.recv().await {
                Some(due) => self.arrived.push_back(due),
                None => pending().await,
            }
        }
        sleep_until(self.arrived[0].0).await;
    }

    fn try_next(&mut self) -> Option<Arrival<'_>> {
        while let Ok(due) = self.incoming.try_recv() {
            self.arrived.push_back(due);
        }
        if self.arrived.front()?.0 > Instant::now() {
            return None;
        }
        let (_, sent) = self.arrived.pop_front()?;
        Some(match self.taken.insert(sent) {
            Sent::Message(channel, payload) => Arrival::Message {
                channel: channel.as_bytes(),
                pattern: None,
                payload: payload.as_bytes(),
            },
            Sent::Matched(pattern, channel, payload) => Arrival::Message {
                channel: channel.as_bytes(),
                pattern: Some(pattern.as_bytes()),
                payload: payload.as_bytes(),
            },
            Sent::Oversized(channel, bytes) => {
                Arrival::Oversized { channel: channel.as_bytes(), pattern: None, bytes: *bytes }
            }
            Sent::Confirmed(channel) => Arrival::Confirmed(channel.as_bytes()),
            Sent::Released(channel) => Arrival::Released(channel.as_bytes()),
            Sent::Rejected(command, error) => Arrival::Rejected(command.clone(), error.clone()),
            Sent::Pong(warning) => Arrival::Pong { warning: warning.clone() },
            Sent::Role(role) => Arrival::Role(role.clone()),
            Sent::Ended(error) => Arrival::Ended(error.clone()),
        })
    }

    fn received(&self) -> u64 {
        self.fake.lock().trickled
    }
}

pub(super) struct FakePublisher {
    fake: Fake,
    /// From 1.
    number: usize,
    closed: watch::Receiver<usize>,
}

impl PublishConnection for FakePublisher {
    fn publish(&self, channel: &str, payload: &str) -> Pending<()> {
        let mut server = self.fake.lock();
        let fails = server.publish_fails_once.take().or_else(|| server.publish_fails.clone());
        let result = fails.map_or(Ok(()), Err);
        if result.is_ok() && !server.deaf {
            server.publish(channel, payload);
        }
        Box::pin(async {
            sleep(Duration::from_micros(100)).await;
            result
        })
    }

    async fn closed(&mut self) {
        let number = self.number;
        // The fake lives as long as its connections.
        let _ = self.closed.wait_for(|closed| *closed >= number).await;
    }
}
