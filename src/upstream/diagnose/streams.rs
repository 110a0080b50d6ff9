//! What `sockway doctor` asks of Redis for streams, over a connection like those that follow them.

use super::no_answer;
use crate::{
    config,
    stream_id::StreamId,
    upstream::{
        connector::Connector,
        link::{Credentials, Entries, LinkError, StreamArrival, StreamCommand, StreamLink, Target},
    },
};
use std::time::Duration;
use tokio::time::timeout;

/// How long the entry lives that is added, in milliseconds.
const CANARY_LIFE: u64 = 1_000;

/// A connection for streams, made and authenticated.
pub struct StreamDiagnostics {
    link: StreamLink,
    /// How long each answer may take.
    patience: Duration,
}

impl StreamDiagnostics {
    /// Dials, as the gateway would.
    ///
    /// # Errors
    /// Whatever keeps the gateway from Redis.
    pub async fn dial(settings: &config::Redis) -> Result<Self, LinkError> {
        let links = Connector::new(settings, Credentials::new(settings)).links();
        let link = links.dial_streams(&Target::Configured, &settings.stream_field).await?;
        Ok(Self { link, patience: settings.probe_timeout })
    }

    /// Asks to be told which keys change.
    ///
    /// # Errors
    /// When Redis refuses, or cannot tell on such a connection.
    pub async fn track(&mut self) -> Result<(), LinkError> {
        if !self.link.can_track() {
            return Err(LinkError::Answered("it speaks RESP2 alone".to_owned()));
        }
        self.ask(&StreamCommand::Track).await
    }

    /// Reads a stream, named as Redis knows it, as its new entries are read.
    ///
    /// # Errors
    /// When the account may not, or the key is no stream.
    pub async fn read(&mut self, key: &str) -> Result<(), LinkError> {
        let (first, count) = (StreamId::ZERO, 1);
        self.ask(&StreamCommand::Both(Entries::From { key, first, count })).await
    }

    /// … as for a client that asks for the newest.
    ///
    /// # Errors
    /// When the account may not, or the key is no stream.
    pub async fn read_newest(&mut self, key: &str) -> Result<(), LinkError> {
        let count = 1;
        let last = StreamId { milliseconds: u64::MAX, sequence: u64::MAX };
        self.ask(&StreamCommand::Entries(Entries::NewestUpTo { key, last, count })).await
    }

    /// Adds an entry to a stream of our own, which is gone after a second.
    ///
    /// # Errors
    /// When the account may not.
    pub async fn add(&mut self, key: &str) -> Result<(), LinkError> {
        let (field, value, milliseconds) = ("data", "sockway doctor", CANARY_LIFE);
        self.ask(&StreamCommand::Only { key, field, value, milliseconds }).await
    }

    async fn ask(&mut self, command: &StreamCommand<'_>) -> Result<(), LinkError> {
        self.link.send(command);
        let (link, patience) = (&mut self.link, self.patience);
        let answer = async {
            loop {
                link.ready().await;
                while let Some(arrival) = link.try_next() {
                    match arrival {
                        StreamArrival::Done => return Ok(()),
                        StreamArrival::Failed(error) | StreamArrival::Ended(error) => {
                            return Err(error);
                        }
                        _ => {}
                    }
                }
            }
        };
        timeout(patience, answer).await.map_err(|_| no_answer(patience))?
    }
}
