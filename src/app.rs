//! The composition root: puts the parts together, binds everything, then serves until the end.
//!
//! Promises: an address that cannot be bound is known before anything is served; a part that ends
//! unasked, by a panic too, ends [`Gateway::run`] with an error instead of leaving a gateway that
//! looks alive. Holds no logic of its own beyond that.

mod keys;
mod live_config;
mod open_files;
#[cfg(test)]
mod tests;

pub use live_config::LiveConfig;
pub use open_files::room_for_connections;

use crate::{
    admin::{Admin, AdminContext, Playground, Turn},
    bus::{self, PublishHandle},
    config::Config,
    lifecycle::{self, StopOutcome, Stopper},
    liveness::{Liveness, SignOfLife},
    metrics::Metrics,
    phase::Phase,
    server::{self, PublicServer},
    shard::{ShardCommand, ShardDied, ShardOutcome, ShardThread},
    upstream::{Status, Upstream},
};
use futures_util::future::{self, try_join_all};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Instant};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// A gateway whose addresses are bound and which serves nobody yet.
pub struct Gateway {
    config: watch::Sender<Arc<Config>>,
    metrics: Arc<Metrics>,
    shards: Vec<ShardThread>,
    upstream: Upstream,
    publisher: PublishHandle,
    status: watch::Receiver<Status>,
    server: PublicServer,
    admin: Admin,
    playground: Option<Playground>,
    phase: watch::Sender<Phase>,
    stopper: Stopper,
    signs: Signs,
}

/// Signs of life: of all parts, and the ends of those that do not run yet.
struct Signs {
    of_all: Liveness,
    upstream: SignOfLife,
    listener: SignOfLife,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address} (server.listen)")]
    Public { address: String, source: io::Error },
    #[error("cannot listen on {address} (http_publish.listen)")]
    Publish { address: String, source: io::Error },
    #[error("cannot listen on {address} (admin.listen)")]
    Admin { address: SocketAddr, source: io::Error },
    #[error("cannot start a shard's thread")]
    Shard(#[source] io::Error),
}

/// A part that can end unasked, in words.
const REDIS_SIDE: &str = "the Redis side";

/// Why a gateway ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Shard(#[from] ShardDied),
    #[error("{part} ended unasked")]
    Ended { part: &'static str, source: Option<JoinError> },
    #[error("cannot start the admin port's thread")]
    Admin(#[source] io::Error),
}

impl Gateway {
    /// Binds both ports and starts the shards' threads. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound, or a thread cannot be made.
    pub fn bind(mut config: Config) -> Result<Self, BindError> {
        live_config::fit(&mut config);
        let config = Arc::new(config);

        let address = config.admin.listen;
        let admin = Admin::bind(address).map_err(|source| BindError::Admin { address, source })?;
        let names: Vec<_> = config.endpoints.iter().map(|one| Arc::clone(&one.name)).collect();
        let metrics = Arc::new(Metrics::new(config.server.shards.get(), &names));
        let (end, ends) = bus::queues(config.server.shards.get(), config.server.ring_bytes);
        let publisher = ends[0].publish.clone();
        let queue_memory = config.server.queue_part();
        let mut liveness = Liveness::default();
        let floods = Arc::default();
        let start = |end: bus::ShardEnd| {
            let (metrics, sign) =
                (metrics.shard(end.id), liveness.part(format!("shard {}", end.id)));
            ShardThread::start(end, metrics, sign, queue_memory, Arc::clone(&floods))
        };
        let shards: Vec<_> =
            ends.into_iter().map(start).collect::<Result<_, _>>().map_err(BindError::Shard)?;
        let signs = Signs {
            upstream: liveness.part(REDIS_SIDE),
            listener: liveness.part("the listener"),
            of_all: liveness,
        };
        let (mut upstream, status) = Upstream::new(config.redis.clone(), end, Arc::clone(&metrics));
        if config.endpoints.iter().any(|endpoint| endpoint.may_follow_streams()) {
            upstream = upstream.with_streams();
        }
        let (phase, phases) = watch::channel(Phase::Running);
        let handles: Vec<_> = shards.iter().map(ShardThread::handle).collect();
        handles.iter().for_each(|shard| shard.tell(ShardCommand::Reload(Arc::clone(&config))));
        let (current, counted) = (Arc::clone(&config), Arc::clone(&metrics));
        let server = PublicServer::bind(current, counted, handles, phases, floods)
            .map_err(|error| bind_error(&config, error))?;
        let stopper = Stopper::default();
        let config = watch::Sender::new(config);
        Ok(Self {
            config,
            metrics,
            shards,
            upstream,
            publisher,
            status,
            server,
            admin,
            playground: None,
            phase,
            stopper,
            signs,
        })
    }

    /// The public address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// The address that was bound for `http_publish`; `None` where that has no port, or a unix socket.
    #[must_use]
    pub fn publish_address(&self) -> Option<SocketAddr> {
        self.server.publish_address()
    }

    /// The private address that was bound.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// What the Redis side knows of its link, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Lets the console open sockets and publish: for `sockway dev`, and nobody else.
    #[must_use]
    pub fn with_playground(mut self, playground: Playground) -> Self {
        self.playground = Some(playground);
        self
    }

    /// What asks this gateway to stop, at leisure or at once.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The configuration, to be replaced while the gateway runs.
    #[must_use]
    pub fn live_config(&self) -> LiveConfig {
        LiveConfig {
            config: self.config.clone(),
            server: self.server.handle(),
            shards: self.shards.iter().map(ShardThread::handle).collect(),
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.subscribe(),
            credentials: self.upstream.credentials(),
        }
    }

    /// Every series.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves until `shutdown` resolves, or the [`Stopper`] or the admin port asks for the end;
    /// then goes through the whole stop sequence.
    ///
    /// # Errors
    /// When a part ended unasked.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<StopOutcome, RunError> {
        let address =
            self.address().map_or_else(|| public(&self.config.borrow()), |one| one.to_string());
        let admin_address = self.admin_address();
        let publish = self.publish_address().map(tracing::field::display);
        let keys = keys::keep(self.config.subscribe(), self.metrics.jwks.clone());
        let Signs { of_all, upstream: upstream_sign, listener: listener_sign } = self.signs;
        let context = AdminContext {
            metrics: self.metrics,
            config: self.config.subscribe(),
            shards: self.shards.iter().map(ShardThread::handle).collect(),
            turn: Turn::default(),
            liveness: of_all,
            upstream: self.status,
            publisher: self.publisher,
            phase: self.phase.subscribe(),
            proof_expires: self.config.borrow().redis.proof_expires(),
            started: Instant::now(),
            drain: self.stopper.drain.clone(),
            address: admin_address,
            playground: self.playground,
        };
        let Self { config, shards, upstream, server, admin, phase, stopper, .. } = self;

        let admin = admin.start(context).map_err(RunError::Admin)?;
        let upstream = start_upstream(upstream.run(upstream_sign), &shards);
        let upstream = AbortOnDropHandle::new(upstream);
        let keys = AbortOnDropHandle::new(tokio::spawn(keys));
        let server = AbortOnDropHandle::new(tokio::spawn(server.run(listener_sign)));
        info!(address, admin = %admin_address, publish, "listening");
        lifecycle::ready();

        let result = {
            let mut parts = pin!(async {
                tokio::select! {
                    error = upstream_panicked(upstream) => Err(error),
                    result = close(server, shards, &config, phase.subscribe()) => result,
                    result = keys => Err(unasked("the task that fetches keys", result.err())),
                    () = admin.ended() => Err(unasked("the admin port", None)),
                }
            });
            tokio::select! {
                result = parts.as_mut() => result.map(|()| StopOutcome::Clean),
                () = asked(shutdown, &stopper) => {
                    let settings = config.borrow().shutdown.clone();
                    lifecycle::stop(&phase, &settings, &stopper.now, parts).await
                }
            }
        };
        // Last, so that the admin port answers until there is nothing left to ask about.
        admin.stop().await;
        result
    }
}

fn bind_error(config: &Config, error: server::BindError) -> BindError {
    match error {
        server::BindError::Public(source) => BindError::Public { address: public(config), source },
        server::BindError::Publish(source) => {
            let own = config.http_publish.as_ref().and_then(|it| it.listen.as_ref());
            BindError::Publish { address: own.map(ToString::to_string).unwrap_or_default(), source }
        }
    }
}

fn public(config: &Config) -> String {
    config.server.listen.to_string()
}

/// Resolves when anyone asks for the end.
async fn asked(shutdown: impl Future<Output = ()>, stopper: &Stopper) {
    tokio::select! {
        () = shutdown => {}
        () = stopper.drain.cancelled() => {}
        () = stopper.now.cancelled() => {}
    }
}

/// Waits for the server to close its listener, then has the shards close their sessions, and waits
/// for the last one. In the other order a connection could be handed to a shard that has ended.
async fn close(
    server: AbortOnDropHandle<()>,
    mut shards: Vec<ShardThread>,
    config: &watch::Sender<Arc<Config>>,
    phase: watch::Receiver<Phase>,
) -> Result<(), RunError> {
    let handles: Vec<_> = shards.iter().map(ShardThread::handle).collect();
    let server = async {
        let result = server.await;
        if result.is_err() || *phase.borrow() < Phase::Draining {
            return Err(unasked("the public port", result.err()));
        }
        // As it is by now.
        let spread = config.borrow().shutdown.spread;
        handles.iter().for_each(|shard| shard.tell(ShardCommand::Drain { spread }));
        Ok(())
    };
    tokio::try_join!(server, all_ended(&mut shards))?;
    Ok(())
}

/// Waits for every shard. One that died is the cause at once. One that was abandoned is not: either
/// the Redis side says why it panicked, or, when no shard is left, its end was the first.
async fn all_ended(shards: &mut [ShardThread]) -> Result<(), RunError> {
    let outcomes = try_join_all(shards.iter_mut().map(ShardThread::ended)).await?;
    if outcomes.contains(&ShardOutcome::Abandoned) {
        return Err(unasked(REDIS_SIDE, None));
    }
    Ok(())
}

/// Starts the Redis side on this thread; with one shard alone on that shard's, where it has nobody
/// to wake for a message.
fn start_upstream(
    upstream: impl Future<Output = ()> + Send + 'static,
    shards: &[ShardThread],
) -> JoinHandle<()> {
    match shards {
        [only] => only.host(upstream),
        _ => tokio::spawn(upstream),
    }
}

/// Resolves when the Redis side has ended by a panic. It ends otherwise only with its shards: when
/// all have gone, or, cancelled, the one whose thread it was on. They say why.
async fn upstream_panicked(upstream: AbortOnDropHandle<()>) -> RunError {
    match upstream.await {
        Err(error) if !error.is_cancelled() => unasked(REDIS_SIDE, Some(error)),
        Ok(()) | Err(_) => future::pending().await,
    }
}

fn unasked(part: &'static str, source: Option<JoinError>) -> RunError {
    RunError::Ended { part, source }
}
