//! The Redis side: subscribes to what shards want, and routes what Redis sends into their rings.
//!
//! One task for each node; there is one. A second task, with connections of its own, follows streams; a
//! third one publishes, and a fourth one keeps presence.
//! Promises: it never waits for a shard, but stops reading for a moment when one falls far behind;
//! whatever may have been lost is marked in the rings, exactly where the loss ended; and it says that it is
//! up only while a probe has proven that what is published arrives. It never gives up on Redis.
//!
//! The layers inside, each of which may use only those above it in this list:
//!
//! 0. `link` `shard_queues` `status` `control_message` `burst`: our own connections; the queues to the
//!    shards; what others may know; whose sessions a control message revokes; how much is handled at once
//! 1. `connect` `backoff` `health` `patience` `primary`: what is needed of connections; when to dial again;
//!    status, metrics and log; how long an answer may take; which server is dialled
//! 2. `publish` `publications` `streams` `presence`: the connection of the canaries; what others publish, and
//!    its one task; what is read of streams, and its one task; who is in which room, and its one task
//! 3. `connector` `pubsub`: makes both connections; what is subscribed on a node, and its one task
//! 4. `mod`: the Redis side as the rest of the program sees it
//! 5. `diagnose` `redis_publisher`: what `sockway doctor` asks; how `sockway publish` publishes

mod backoff;
mod burst;
mod connect;
mod connector;
mod control_message;
mod diagnose;
#[cfg(test)]
mod fake_redis;
mod health;
mod link;
mod patience;
mod presence;
mod primary;
mod publications;
mod publish;
mod pubsub;
mod redis_publisher;
#[cfg(test)]
mod redis_tests;
mod shard_queues;
mod status;
mod streams;
#[cfg(test)]
mod test_server;

pub use diagnose::{PresenceDiagnostics, PublishDiagnostics, RedisDiagnostics, StreamDiagnostics};
pub use link::{Credentials, LinkError, Login};
pub use redis_publisher::{PublishError, RedisPublisher};
pub use status::{LinkStatus, Status};
#[cfg(any(test, fuzzing))]
pub(crate) use {
    link::{fuzz, stream_fuzz},
    presence::fuzz as presence_fuzz,
};

use crate::{
    bus::{UpstreamEnd, publishing},
    config,
    liveness::SignOfLife,
    metrics::Metrics,
};
use connector::Connector;
use presence::PresenceActor;
use publications::Publications;
use pubsub::Actor;
use std::{fmt, sync::Arc};
use streams::StreamActor;
use tokio::{join, sync::watch};

/// The Redis side of a gateway.
pub struct Upstream {
    actor: Actor<Connector>,
    streams: Box<StreamActor>,
    publications: Box<Publications>,
    presence: Box<PresenceActor>,
    credentials: Credentials,
}

impl Upstream {
    /// Prepares the Redis side; nothing is connected before [`Upstream::run`].
    #[must_use]
    pub fn new(
        settings: config::Redis,
        mut end: UpstreamEnd,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Status>) {
        let credentials = Credentials::new(&settings);
        let connector = Connector::new(&settings, credentials.clone());
        let (dialler, stream_end) = (connector.links(), end.streams.take());
        let batches = std::mem::replace(&mut end.publishes, publishing().1);
        let publications = Box::new(Publications::new(dialler.clone(), &settings, batches));
        let presence_ends = (end.presence.take(), end.news.take());
        let presence =
            PresenceActor::new(dialler.clone(), &settings, presence_ends, Arc::clone(&metrics));
        let (actor, status) = Actor::new(connector, settings.clone(), end, Arc::clone(&metrics));
        let streams = StreamActor::new(dialler, settings, stream_end, metrics, actor.status());
        let (streams, presence) = (Box::new(streams), Box::new(presence));
        (Self { actor, streams, publications, presence, credentials }, status)
    }

    /// Connects for streams at once, not only when a first session asks for one: whether they can be
    /// followed at all is then known before.
    #[must_use]
    pub fn with_streams(mut self) -> Self {
        self.streams.connect_early();
        self
    }

    /// The login of the next dial, which a reload may replace.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Runs until dropped, and gives signs of life meanwhile. Never gives up on Redis; returns only
    /// when every shard has gone.
    pub async fn run(self, sign: SignOfLife) {
        tokio::select! {
            _ = async {
                join!(
                    self.actor.run(),
                    Box::pin(self.streams.run()),
                    Box::pin(self.presence.run())
                )
            } => {}
            // Without end: others than shards publish, too.
            () = Box::pin(self.publications.run()) => {}
            () = sign.keep_giving() => {}
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}
