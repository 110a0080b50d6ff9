//! A Redis that does what a test tells it to.

use super::client::{Arrival, Command, LinkError, Publisher, Redis, Reply, Subscriber};
use bytes::Bytes;
use std::{
    collections::HashSet,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// What the fake Redis does, and what was done to it.
#[derive(Default)]
pub(super) struct Server {
    /// Why dials fail.
    pub(super) down: Option<LinkError>,
    /// Commands get no answer.
    pub(super) mute: bool,
    /// Canaries do not come back.
    pub(super) deaf: bool,
    /// Why PUBLISH fails.
    pub(super) publish_fails: Option<LinkError>,
    pub(super) forbidden: HashSet<String>,
    pub(super) dials: Vec<Instant>,
    pub(super) commands: Vec<Command>,
    pub(super) subscribed: HashSet<String>,
    /// What happens right behind a SUBSCRIBE, before its acknowledgement is seen.
    pub(super) publish_on_subscribe: Option<(String, String)>,
    pub(super) subscriber: Option<mpsc::UnboundedSender<Arrival>>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Server>>);

impl Fake {
    pub(super) fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap()
    }

    pub(super) fn publish(&self, channel: &str, payload: &str) {
        self.lock().publish(channel, payload);
    }

    /// Ends the subscriber's connection.
    pub(super) fn drop_link(&self) {
        let lost = LinkError::Lost("reset".to_owned());
        let subscriber = self.lock().subscriber.take();
        let _ = subscriber.unwrap().send(Arrival::Ended(lost));
    }

    pub(super) fn subscribes(&self) -> Vec<Vec<String>> {
        let server = self.lock();
        let batches = server.commands.iter().filter_map(|command| match command {
            Command::Subscribe(batch) => Some(batch.clone()),
            _ => None,
        });
        batches.collect()
    }
}

impl Server {
    fn publish(&self, channel: &str, payload: &str) {
        if let Some(subscriber) = self.subscriber.as_ref()
            && self.subscribed.contains(channel)
        {
            let payload = Bytes::copy_from_slice(payload.as_bytes());
            let _ = subscriber.send(Arrival::Message { channel: channel.into(), payload });
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<(), LinkError> {
        match command {
            Command::Ping => {}
            Command::Subscribe(batch) => {
                if let Some(bad) = batch.iter().find(|name| self.forbidden.contains(*name)) {
                    return Err(LinkError::ChannelRefused(format!("NOPERM channel {bad}")));
                }
                self.subscribed.extend(batch.iter().cloned());
                if let Some((channel, payload)) = &self.publish_on_subscribe {
                    self.publish(channel, payload);
                }
            }
            Command::Unsubscribe(batch) => {
                self.subscribed.retain(|name| !batch.contains(name));
            }
        }
        Ok(())
    }
}

pub(super) struct FakeSubscriber(Fake, mpsc::UnboundedReceiver<Arrival>);

impl Redis for Fake {
    type Subscriber = FakeSubscriber;
    type Publisher = Self;

    fn subscriber(&self) -> Reply<FakeSubscriber> {
        let mut server = self.lock();
        server.dials.push(Instant::now());
        server.subscribed.clear();
        let result = server.down.clone().map_or_else(
            || {
                let (sender, arrivals) = mpsc::unbounded_channel();
                server.subscriber = Some(sender);
                Ok(FakeSubscriber(self.clone(), arrivals))
            },
            Err,
        );
        Box::pin(async { result })
    }

    fn publisher(&self) -> Reply<Self> {
        let fake = self.clone();
        Box::pin(async { Ok(fake) })
    }
}

impl Subscriber for FakeSubscriber {
    fn send(&mut self, command: Command) -> Reply<()> {
        let mut server = self.0.lock();
        server.commands.push(command.clone());
        if server.mute {
            return Box::pin(pending());
        }
        let result = server.carry_out(&command);
        Box::pin(async {
            tokio::time::sleep(Duration::from_micros(100)).await;
            result
        })
    }

    async fn next(&mut self) -> Arrival {
        match self.1.recv().await {
            Some(arrival) => arrival,
            None => pending().await,
        }
    }

    fn try_next(&mut self) -> Option<Arrival> {
        self.1.try_recv().ok()
    }
}

impl Publisher for Fake {
    fn publish(&self, channel: &str, payload: &str) -> Reply<()> {
        let server = self.lock();
        let result = server.publish_fails.clone().map_or(Ok(()), Err);
        if result.is_ok() && !server.deaf {
            server.publish(channel, payload);
        }
        Box::pin(async { result })
    }
}
