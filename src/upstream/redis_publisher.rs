//! Publishes one message after the other, as `sockway publish` does, and says in words why one was not.
//!
//! Promises: nothing is published twice, since nothing is tried again; every wait has an end.

use super::{
    link::{CommandLink, Credentials, DialSettings, Dialler, LinkError, Target, Value},
    publications::{answer, command},
};
use crate::{
    bus::{Destination, NotPublished, Publication, Published},
    config,
};
use std::time::Duration;
use tokio::time::timeout;

/// A connection that is made and authenticated.
pub struct RedisPublisher {
    dialler: Dialler,
    link: CommandLink,
    prefix: String,
    /// Of a stream's entry, which is the payload.
    field: String,
    /// How long an answer may take.
    patience: Duration,
}

/// Why a message was not published, as far as anybody knows.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct PublishError {
    pub why: NotPublished,
    cause: LinkError,
}

impl RedisPublisher {
    /// Dials, as the gateway would.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis: TLS, the login, a limit.
    pub async fn dial(settings: &config::Redis) -> Result<Self, LinkError> {
        let dial = DialSettings::new(settings, Credentials::new(settings));
        let dialler = Dialler::new(dial, settings.max_payload.get());
        Ok(Self {
            link: dialler.dial_commands(&Target::Configured).await?,
            dialler,
            prefix: settings.channel_prefix.clone(),
            field: settings.stream_field.clone(),
            patience: settings.probe_timeout,
        })
    }

    /// Publishes, and resolves when Redis has answered.
    ///
    /// # Errors
    /// With [`NotPublished::Unknown`] where it was written and no answer came, else it is certainly not published.
    pub async fn publish(&mut self, item: &Publication) -> Result<Published, PublishError> {
        self.mend().await.map_err(unavailable)?;
        let key = format!("{}{}", self.prefix, item.to.name());
        command(item, key.as_bytes(), &self.field, |words| self.link.send(words));
        let value = self.answer().await.map_err(unknown)?;
        let refused = match &value {
            Value::Error(text) => Some(self.link.error(text)),
            _ => None,
        };
        let (published, _) = answer(&item.to, value, |text| self.link.error(text));
        let published = published.map_err(|why| {
            let cause = refused.unwrap_or_else(|| LinkError::Lost(in_words(why).to_owned()));
            PublishError { why, cause }
        })?;
        if let Destination::Stream(_, write) = &item.to
            && let Some(after) = write.expire_after
        {
            self.expire(&key, after).await;
        }
        Ok(published)
    }

    /// Redis may have closed the connection while nothing was published.
    async fn mend(&mut self) -> Result<(), LinkError> {
        if self.link.try_next().is_some() {
            self.link = self.dialler.dial_commands(&Target::Configured).await?;
        }
        Ok(())
    }

    /// The message is published, whatever comes of this: its stream stays longer at worst.
    async fn expire(&mut self, key: &str, after: Duration) {
        let after = after.as_millis().to_string();
        self.link.send(&[b"PEXPIRE", key.as_bytes(), after.as_bytes()]);
        let _ = self.answer().await;
    }

    async fn answer(&mut self) -> Result<Value, LinkError> {
        let link = &mut self.link;
        let answered = async {
            loop {
                link.ready().await;
                if let Some(answer) = link.try_next() {
                    return answer;
                }
            }
        };
        let too_late = || LinkError::Lost(format!("no answer within {:?}", self.patience));
        timeout(self.patience, answered).await.unwrap_or_else(|_| Err(too_late()))
    }
}

fn unavailable(cause: LinkError) -> PublishError {
    PublishError { why: NotPublished::Unavailable, cause }
}

fn unknown(cause: LinkError) -> PublishError {
    PublishError { why: NotPublished::Unknown, cause }
}

/// Where Redis answers no error.
fn in_words(why: NotPublished) -> &'static str {
    match why {
        NotPublished::NotFound => "there is no such stream, and it is not to be made",
        NotPublished::Unavailable | NotPublished::Refused | NotPublished::Unknown => {
            "Redis answers what it should not"
        }
    }
}
