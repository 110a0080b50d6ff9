//! What `sockway doctor` asks of Redis, over the same two links that the gateway would make.
//!
//! Each question has its own answer and its own time limit; one that fails does not spoil the next,
//! unless the link itself is gone. Subscribes, and publishes one canary; changes nothing else.

use super::{
    client::{Arrival, Command, LinkError, Publisher, Redis, Reply, Subscriber},
    fred_link::{Connection, Fred, FredSubscriber},
};
use crate::config;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Both links, made and authenticated.
pub struct RedisDiagnostics {
    subscriber: FredSubscriber,
    publisher: Connection,
    /// How long each answer may take.
    patience: Duration,
}

impl RedisDiagnostics {
    /// Dials both links, as the gateway would.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis: TLS, the login, an old version, a limit.
    pub async fn dial(settings: &config::Redis) -> Result<Self, LinkError> {
        let redis = Fred::new(settings);
        let subscriber = redis.subscriber().await?;
        let publisher = redis.publisher().await?;
        Ok(Self { subscriber, publisher, patience: settings.probe_timeout })
    }

    /// Redis's version, in its own words.
    ///
    /// # Errors
    /// When the account may not ask, or no answer comes.
    pub async fn version(&self) -> Result<String, LinkError> {
        let info: String = self.in_time(self.publisher.ask("INFO", &["server"])).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let no_version = || LinkError::Answered("INFO names no redis_version".to_owned());
        version.map(|version| version.trim().to_owned()).ok_or_else(no_version)
    }

    /// The value of one of Redis's own settings.
    ///
    /// # Errors
    /// When the account may not ask, or no answer comes.
    pub async fn setting(&self, name: &str) -> Result<String, LinkError> {
        let asked = self.publisher.ask("CONFIG", &["GET", name]);
        let mut settings: HashMap<String, String> = self.in_time(asked).await?;
        let no_setting = || LinkError::Answered(format!("there is no setting {name}"));
        settings.remove(name).ok_or_else(no_setting)
    }

    /// Subscribes to a channel, named as Redis knows it.
    ///
    /// # Errors
    /// [`LinkError::ChannelRefused`] when the account may not have this channel.
    pub async fn subscribe(&mut self, channel: &str) -> Result<(), LinkError> {
        let reply = self.subscriber.send(Command::Subscribe(vec![channel.to_owned()]));
        self.in_time(reply).await
    }

    /// Publishes a canary on a channel that is subscribed, and waits until it has come back.
    ///
    /// # Errors
    /// When it may not be published, or does not come back.
    pub async fn canary(&mut self, channel: &str) -> Result<Duration, LinkError> {
        let started = Instant::now();
        let canary = format!("sockway doctor {:016x}", fastrand::u64(..));
        self.in_time(self.publisher.publish(channel, &canary)).await?;
        let back = timeout(self.patience, comes_back(&mut self.subscriber, &canary)).await;
        back.map_err(|_| LinkError::Lost("what was published did not come back".to_owned()))??;
        Ok(started.elapsed())
    }

    /// The time that a PING takes on the subscribing link.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn ping(&mut self) -> Result<Duration, LinkError> {
        let started = Instant::now();
        let reply = self.subscriber.send(Command::Ping);
        self.in_time(reply).await?;
        Ok(started.elapsed())
    }

    async fn in_time<T>(&self, reply: Reply<T>) -> Result<T, LinkError> {
        let no_answer = |_| LinkError::Lost(format!("no answer within {:?}", self.patience));
        timeout(self.patience, reply).await.map_err(no_answer)?
    }
}

async fn comes_back(subscriber: &mut FredSubscriber, canary: &str) -> Result<(), LinkError> {
    loop {
        match subscriber.next().await {
            // Other gateways use this channel as well.
            Arrival::Message { payload, .. } if payload == canary => return Ok(()),
            Arrival::Message { .. } | Arrival::Lagged(_) => {}
            Arrival::Ended(error) => return Err(error),
        }
    }
}
