//! What `sockway doctor` asks of Redis for presence: everything that a room asks, for a user who is nobody
//! in a room of its own, gone after a second.

use super::ask;
use crate::{
    config,
    upstream::{
        connector::Connector,
        link::{CommandLink, Credentials, LinkError, Target, Value},
        presence::Canary,
    },
};
use std::time::Duration;

/// A connection for presence, made and authenticated.
pub struct PresenceDiagnostics {
    link: CommandLink,
    prefix: String,
    /// How long each answer may take.
    patience: Duration,
}

impl PresenceDiagnostics {
    /// Dials, as the gateway would.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis.
    pub async fn dial(settings: &config::Redis) -> Result<Self, LinkError> {
        let links = Connector::new(settings, Credentials::new(settings)).links();
        let link = links.dial_commands(&Target::Configured).await?;
        let prefix = settings.channel_prefix.clone();
        Ok(Self { link, prefix, patience: settings.probe_timeout })
    }

    /// The channel of a room's announcements, as Redis knows it.
    #[must_use]
    pub fn news_of(&self, room: &str) -> String {
        Canary::new(room, &self.prefix).news().to_owned()
    }

    /// Has somebody enter a room, stay and leave. The room is named without the prefix.
    ///
    /// # Errors
    /// The first command that Redis refuses; what was written until then is gone after a second all the same.
    pub async fn enter_and_leave(&mut self, room: &str) -> Result<(), LinkError> {
        let canary = Canary::new(room, &self.prefix);
        // Without it, what is written next would stay.
        self.tries(&canary.expiry_of("never")).await.or_else(|error| match &error {
            LinkError::Answered(said) if said.contains("is not an integer") => Ok(Value::Null),
            _ => Err(error),
        })?;
        self.tries(&["TIME".to_owned()]).await?;
        let Value::Text(script) = self.tries(&Canary::load()).await? else {
            return Err(LinkError::Answered("SCRIPT LOAD gives no name".to_owned()));
        };
        let script = String::from_utf8_lossy(&script).into_owned();
        let mut first = Ok(());
        for command in canary.commands(&script) {
            let tried = self.tries(&command).await.map(drop);
            first = first.and(tried);
        }
        first
    }

    async fn tries(&mut self, words: &[String]) -> Result<Value, LinkError> {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        ask(&mut self.link, &words, self.patience).await
    }
}
