//! What `sockway doctor` asks of Redis where something is to be published: whether it may be, without
//! publishing anything.
//!
//! Redis looks at an account's rights before it looks at anything else. On a connection of RESP2 that
//! subscribes it then refuses whatever does not belong there, so PUBLISH is tried and nobody hears of it;
//! XADD and PEXPIRE are given arguments that no server takes.

use super::{ask, send_and_take};
use crate::{
    channel::is_pattern,
    config,
    upstream::{
        connector::Connector,
        link::{CommandLink, Credentials, LinkError, Target, Value},
    },
};
use std::time::Duration;

/// What Redis says of a command that it would have let the account use.
const HARMLESS: [&str; 3] =
    ["allowed in this context", "must be greater than 0-0", "is not an integer"];

/// A connection on which nothing can be published.
pub struct PublishDiagnostics {
    link: CommandLink,
    /// How long each answer may take.
    patience: Duration,
}

impl PublishDiagnostics {
    /// Dials, and subscribes to the first of these channels that the account may have.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis; or that none of the channels could be subscribed to.
    pub async fn dial(settings: &config::Redis, channels: &[String]) -> Result<Self, LinkError> {
        let links = Connector::new(settings, Credentials::new(settings)).links();
        let link = links.dial_commands(&Target::Configured).await?;
        let mut this = Self { link, patience: settings.probe_timeout };
        // A server that does not know HELLO speaks nothing but RESP2.
        this.take(&["HELLO", "2"]).await?;
        for channel in channels.iter().filter(|channel| !is_pattern(channel)) {
            if this.subscribes(channel).await? {
                return Ok(this);
            }
        }
        let none = "no channel can be subscribed to, so nothing can be tried unheard";
        Err(LinkError::ChannelRefused(none.to_owned()))
    }

    /// Whether PUBLISH is refused from here on: a PING is then answered in another form.
    async fn subscribes(&mut self, channel: &str) -> Result<bool, LinkError> {
        // Only a refusal is an answer; a confirmation is none.
        self.link.send(&[b"SUBSCRIBE", channel.as_bytes()]);
        let mut answer = self.take(&["PING"]).await?;
        if matches!(answer, Value::Error(_)) {
            answer = self.take(&[]).await?;
        }
        Ok(matches!(answer, Value::List(_)))
    }

    /// Whether the account may publish to a channel, named as Redis knows it.
    ///
    /// # Errors
    /// When it may not, or no answer comes.
    pub async fn may_publish(&mut self, channel: &str) -> Result<(), LinkError> {
        self.may(&["PUBLISH", channel, "sockway doctor"]).await
    }

    /// Whether the account may add to a stream, named as Redis knows it.
    ///
    /// # Errors
    /// When it may not, or no answer comes.
    pub async fn may_add(&mut self, key: &str) -> Result<(), LinkError> {
        self.may(&["XADD", key, "NOMKSTREAM", "0-0", "data", "sockway doctor"]).await
    }

    /// Whether the account may make a key expire.
    ///
    /// # Errors
    /// When it may not, or no answer comes.
    pub async fn may_expire(&mut self, key: &str) -> Result<(), LinkError> {
        self.may(&["PEXPIRE", key, "never"]).await
    }

    async fn may(&mut self, words: &[&str]) -> Result<(), LinkError> {
        match ask(&mut self.link, words, self.patience).await {
            Err(LinkError::Answered(said)) if HARMLESS.iter().any(|it| said.contains(it)) => Ok(()),
            asked => asked.map(drop),
        }
    }

    async fn take(&mut self, words: &[&str]) -> Result<Value, LinkError> {
        send_and_take(&mut self.link, words, self.patience).await
    }
}
