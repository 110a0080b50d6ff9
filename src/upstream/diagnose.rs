//! What `sockway doctor` asks of Redis, over the same connections that the gateway would make.
//!
//! Each question has its own answer and its own time limit; one that fails does not spoil the next,
//! unless the connection itself is gone. Subscribes, and publishes one canary; what else it writes is its
//! own and gone after a second.

use super::{
    connect::{Connect, PublishConnection},
    connector::Connector,
    link::{
        Arrival, Command, CommandLink, Connection, Credentials, Link, LinkError, Pending, Target,
        Value,
    },
    publish::CommandConnection,
};
use crate::{channel::is_pattern, config};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::time::timeout;
pub use {presence::PresenceDiagnostics, publish::PublishDiagnostics, streams::StreamDiagnostics};

mod presence;
mod publish;
mod streams;

/// Both connections, made and authenticated.
pub struct RedisDiagnostics {
    subscriber: Connection,
    publisher: CommandConnection,
    /// How long each answer may take.
    patience: Duration,
}

impl RedisDiagnostics {
    /// Dials both connections, as the gateway would.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis: TLS, the login, an old version, a limit.
    pub async fn dial(settings: &config::Redis) -> Result<Self, LinkError> {
        let connector = Connector::new(settings, Credentials::new(settings));
        let subscriber = connector.link(&Target::Configured).await?;
        let publisher = connector.publisher(&Target::Configured).await?;
        Ok(Self { subscriber, publisher, patience: settings.probe_timeout })
    }

    /// Redis's version, in its own words.
    ///
    /// # Errors
    /// When the account may not ask, or no answer comes.
    pub async fn version(&self) -> Result<String, LinkError> {
        self.info("server", "redis_version").await
    }

    /// How many keys Redis tells the changes of, to all clients together.
    ///
    /// # Errors
    /// When the account may not ask, or no answer comes.
    pub async fn tracked_keys(&self) -> Result<String, LinkError> {
        self.info("stats", "tracking_total_keys").await
    }

    async fn info(&self, section: &str, name: &str) -> Result<String, LinkError> {
        let info: String = self.in_time(self.publisher.ask("INFO", &[section])).await?;
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim());
        let no_value = || LinkError::Answered(format!("INFO names no {name}"));
        values.next().map(str::to_owned).ok_or_else(no_value)
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

    /// Subscribes to a channel, or to a pattern, named as Redis knows it.
    ///
    /// # Errors
    /// [`LinkError::ChannelRefused`] when the account may not have this channel.
    pub async fn subscribe(&mut self, channel: &str) -> Result<(), LinkError> {
        let names = vec![channel.into()];
        self.subscriber.send(if is_pattern(channel) {
            Command::SubscribePatterns(names)
        } else {
            Command::Subscribe(names)
        });
        self.until(|arrival| match arrival {
            Arrival::Confirmed(name) if name == channel.as_bytes() => Some(Ok(())),
            Arrival::Rejected(_, error) => Some(Err(error)),
            _ => None,
        })
        .await
    }

    /// Unsubscribes from a channel or a pattern that is subscribed.
    ///
    /// # Errors
    /// When the account may not, or no answer comes.
    pub async fn unsubscribe(&mut self, channel: &str) -> Result<(), LinkError> {
        let names = vec![channel.into()];
        self.subscriber.send(if is_pattern(channel) {
            Command::UnsubscribePatterns(names)
        } else {
            Command::Unsubscribe(names)
        });
        self.until(|arrival| match arrival {
            Arrival::Released(name) if name == channel.as_bytes() => Some(Ok(())),
            Arrival::Rejected(_, error) => Some(Err(error)),
            _ => None,
        })
        .await
    }

    /// Publishes a canary on a channel that is subscribed, and waits until it has come back.
    ///
    /// # Errors
    /// When it may not be published, or does not come back.
    pub async fn canary(&mut self, channel: &str) -> Result<Duration, LinkError> {
        let started = Instant::now();
        let canary = format!("sockway doctor {:016x}", fastrand::u64(..));
        self.in_time(self.publisher.publish(channel, &canary)).await?;
        let back = self.until(|arrival| match arrival {
            // Other gateways use this channel as well.
            Arrival::Message { payload, .. } if payload == canary.as_bytes() => Some(Ok(())),
            _ => None,
        });
        back.await?;
        Ok(started.elapsed())
    }

    /// The time that a PING takes on the connection that subscribes.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn ping(&mut self) -> Result<Duration, LinkError> {
        let started = Instant::now();
        self.subscriber.send(Command::Ping);
        self.until(|arrival| matches!(arrival, Arrival::Pong { .. }).then_some(Ok(()))).await?;
        Ok(started.elapsed())
    }

    /// Takes in what arrives until `wanted` has its answer.
    async fn until(
        &mut self,
        wanted: impl Fn(Arrival<'_>) -> Option<Result<(), LinkError>>,
    ) -> Result<(), LinkError> {
        let (link, patience) = (&mut self.subscriber, self.patience);
        let answer = async {
            loop {
                link.ready().await;
                while let Some(arrival) = link.try_next() {
                    if let Arrival::Ended(error) = arrival {
                        return Err(error);
                    }
                    if let Some(answer) = wanted(arrival) {
                        return answer;
                    }
                }
            }
        };
        timeout(patience, answer).await.map_err(|_| no_answer(patience))?
    }

    async fn in_time<T>(&self, reply: Pending<T>) -> Result<T, LinkError> {
        timeout(self.patience, reply).await.map_err(|_| no_answer(self.patience))?
    }
}

/// Asks, and waits for the answer.
///
/// # Errors
/// Redis's own error, or that no answer comes.
async fn ask(
    link: &mut CommandLink,
    words: &[&str],
    patience: Duration,
) -> Result<Value, LinkError> {
    match send_and_take(link, words, patience).await? {
        Value::Error(text) => Err(link.error(&text)),
        value => Ok(value),
    }
}

/// Sends these words, if there are any, and takes the next answer, which may be an error of Redis.
async fn send_and_take(
    link: &mut CommandLink,
    words: &[&str],
    patience: Duration,
) -> Result<Value, LinkError> {
    if !words.is_empty() {
        link.send(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    }
    let answer = async {
        loop {
            link.ready().await;
            if let Some(answer) = link.try_next() {
                return answer;
            }
        }
    };
    timeout(patience, answer).await.map_err(|_| no_answer(patience))?
}

fn no_answer(patience: Duration) -> LinkError {
    LinkError::Lost(format!("no answer within {patience:?}"))
}
