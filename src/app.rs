//! The composition root: puts the parts together, binds everything, then serves until the end.
//!
//! Promises: an address that cannot be bound is known before anything is served; a part that ends
//! unasked, by a panic too, ends [`Gateway::run`] with an error instead of leaving a gateway that
//! looks alive. Holds no logic of its own beyond that.

mod keys;
mod open_files;
mod reload;

pub use reload::Reloader;

pub use open_files::room_for_connections;

use crate::{
    admin::{self, Admin, Playground},
    config::{Config, ListenAddress},
    exchange,
    front::Front,
    lifecycle::{self, Ending, Stopper},
    metrics::Metrics,
    phase::Phase,
    shard::{Command, ShardDied, ShardThread},
    upstream::{Status, Upstream},
};
use futures_util::future::{self, try_join_all};
use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinError, time::sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// A gateway whose addresses are bound and which serves nobody yet.
pub struct Gateway {
    config: watch::Sender<Arc<Config>>,
    metrics: Arc<Metrics>,
    shards: Vec<ShardThread>,
    upstream: Upstream,
    status: watch::Receiver<Status>,
    front: Front,
    admin: Admin,
    playground: Option<Playground>,
    phase: watch::Sender<Phase>,
    stopper: Stopper,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address} (server.listen)")]
    Public { address: String, source: io::Error },
    #[error("cannot listen on {address} (admin.listen)")]
    Admin { address: SocketAddr, source: io::Error },
    #[error("cannot start a shard's thread")]
    Shard(#[source] io::Error),
}

/// How long the Redis side, which ends after the last shard, waits for that shard to be the cause.
const TIME_TO_SAY_WHY: Duration = Duration::from_secs(1);

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
        reload::fit(&mut config);
        let config = Arc::new(config);

        let address = config.admin.listen;
        let admin = Admin::bind(address).map_err(|source| BindError::Admin { address, source })?;
        let names: Vec<_> = config.endpoints.iter().map(|one| Arc::clone(&one.name)).collect();
        let metrics = Arc::new(Metrics::new(config.server.shards.get(), &names));
        let (end, ends) = exchange::queues(config.server.shards.get());
        let start = |end: exchange::ShardEnd| {
            let metrics = metrics.shard(end.id);
            ShardThread::start(end, metrics)
        };
        let shards: Vec<_> =
            ends.into_iter().map(start).collect::<Result<_, _>>().map_err(BindError::Shard)?;
        let (upstream, status) = Upstream::new(config.redis.clone(), end, Arc::clone(&metrics));
        let (phase, phases) = watch::channel(Phase::Running);
        let handles = shards.iter().map(ShardThread::handle).collect();
        let front = Front::bind(Arc::clone(&config), Arc::clone(&metrics), handles, phases)
            .map_err(|source| BindError::Public { address: public(&config), source })?;
        let stopper = Stopper::default();
        let config = watch::Sender::new(config);
        Ok(Self {
            config,
            metrics,
            shards,
            upstream,
            status,
            front,
            admin,
            playground: None,
            phase,
            stopper,
        })
    }

    /// The public address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.front.address()
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

    /// What this gateway's configuration can be changed by.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader {
            config: self.config.clone(),
            gates: self.front.gates(),
            shards: self.shards.iter().map(ShardThread::handle).collect(),
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.subscribe(),
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
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<Ending, RunError> {
        let address =
            self.address().map_or_else(|| public(&self.config.borrow()), |one| one.to_string());
        let admin_address = self.admin_address();
        let state = self.admin_state();
        let keys = keys::keep(self.config.subscribe(), self.metrics.jwks.clone());
        let Self { config, shards, upstream, front, admin, phase, stopper, .. } = self;

        let admin = admin.start(state).map_err(RunError::Admin)?;
        let upstream = AbortOnDropHandle::new(tokio::spawn(upstream.run()));
        let keys = AbortOnDropHandle::new(tokio::spawn(keys));
        let front = AbortOnDropHandle::new(tokio::spawn(front.run()));
        info!(address, admin = %admin_address, "listening");
        lifecycle::ready();

        let result = {
            let mut parts = pin!(async {
                tokio::select! {
                    // The Redis side first: its end takes the shards along, and it is the cause.
                    biased;
                    error = upstream_failed(upstream, phase.subscribe()) => Err(error),
                    result = close(front, shards, &config, phase.subscribe()) => result,
                    result = keys => Err(unasked("the task that fetches keys", result.err())),
                    () = admin.ended() => Err(unasked("the admin port", None)),
                }
            });
            tokio::select! {
                result = parts.as_mut() => result.map(|()| Ending::Clean),
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

    fn admin_state(&mut self) -> admin::State {
        let tell = |shard: &ShardThread| -> admin::Tell {
            let handle = shard.handle();
            Box::new(move |command| handle.tell(command))
        };
        admin::State {
            metrics: Arc::clone(&self.metrics),
            config: self.config.subscribe(),
            shards: self.shards.iter().map(tell).collect(),
            upstream: self.status.clone(),
            phase: self.phase.subscribe(),
            proof_expires: proof_expires(&self.config.borrow()),
            started: Instant::now(),
            drain: self.stopper.drain.clone(),
            address: self.admin.address(),
            playground: self.playground.take(),
        }
    }
}

/// One probe may be under way and one may have been lost; later than that the Redis side is stuck.
fn proof_expires(config: &Config) -> Duration {
    config.redis.probe_interval + 2 * config.redis.probe_timeout
}

fn public(config: &Config) -> String {
    match &config.server.listen {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Resolves when anyone asks for the end.
async fn asked(shutdown: impl Future<Output = ()>, stopper: &Stopper) {
    tokio::select! {
        () = shutdown => {}
        () = stopper.drain.cancelled() => {}
        () = stopper.now.cancelled() => {}
    }
}

/// Waits for the front to close its listener, then has the shards close their sessions, and waits
/// for the last one. In the other order a connection could be handed to a shard that has ended.
async fn close(
    front: AbortOnDropHandle<()>,
    mut shards: Vec<ShardThread>,
    config: &watch::Sender<Arc<Config>>,
    phase: watch::Receiver<Phase>,
) -> Result<(), RunError> {
    let handles: Vec<_> = shards.iter().map(ShardThread::handle).collect();
    let front = async {
        let result = front.await;
        if result.is_err() || *phase.borrow() < Phase::Draining {
            return Err(unasked("the public port", result.err()));
        }
        // As it is by now.
        let spread = config.borrow().shutdown.spread;
        handles.iter().for_each(|shard| shard.tell(Command::Drain { spread }));
        Ok(())
    };
    let ended = try_join_all(shards.iter_mut().map(ShardThread::ended));
    tokio::try_join!(front, async { Ok(ended.await?) })?;
    Ok(())
}

/// Resolves when the Redis side ends although it is still needed.
async fn upstream_failed(
    upstream: AbortOnDropHandle<()>,
    phase: watch::Receiver<Phase>,
) -> RunError {
    let result = upstream.await;
    if result.is_ok() {
        // Every shard has gone. In a drain that is as it should be; else the shards say why.
        if *phase.borrow() >= Phase::Draining {
            return future::pending().await;
        }
        sleep(TIME_TO_SAY_WHY).await;
    }
    unasked("the Redis side", result.err())
}

fn unasked(part: &'static str, source: Option<JoinError>) -> RunError {
    RunError::Ended { part, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, shard::Shard};
    use tokio::{net::TcpStream, time};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn gateway() -> Gateway {
        let text = r#"
            server = { listen = "127.0.0.1:0", shards = 2, max_connections = 10 }
            admin = { listen = "127.0.0.1:0" }
            redis = { url = "redis://127.0.0.1:1/0" }
            shutdown = { spread = "100ms", timeout = "10s" }
            endpoint = [{ name = "all", path = "/ws", channels = ["all"], auth = "none" }]
        "#;
        let loaded = config::parse(text, "test").map_err(|error| error.report());
        Gateway::bind(loaded.expect("a good configuration").config).expect("free ports")
    }

    #[tokio::test]
    async fn both_ports_are_bound_before_anything_is_served_and_free_after_the_end() {
        let gateway = gateway();
        let addresses = [gateway.address().unwrap(), gateway.admin_address()];
        for address in addresses {
            TcpStream::connect(address).await.expect("bound");
        }
        let end = time::timeout(DEADLINE, gateway.run(async {})).await.expect("in time");
        assert_eq!(end.expect("as asked"), Ending::Clean);
        for address in addresses {
            assert!(TcpStream::connect(address).await.is_err(), "{address} is still open");
        }
    }

    #[tokio::test]
    async fn a_shard_that_dies_ends_the_gateway_with_an_error_that_names_it() {
        let gateway = gateway();
        let shard = gateway.shards[1].handle();
        shard.tell(Command::Run(Box::new(|_| panic!("on purpose"))));
        let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
        assert_eq!(end.expect_err("nobody asked").to_string(), "shard 1 died");
    }

    #[tokio::test]
    async fn a_redis_side_that_ends_ends_the_gateway_with_an_error_that_names_it() {
        let mut gateway = gateway();
        // One whose shards have gone before it begins: there is nothing left that it could do.
        let (end, shards) = exchange::queues(2);
        drop(shards);
        let redis = gateway.config.borrow().redis.clone();
        let without_shards = Upstream::new(redis, end, Arc::clone(&gateway.metrics)).0;
        let _real = std::mem::replace(&mut gateway.upstream, without_shards);
        let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
        assert_eq!(end.expect_err("nobody asked").to_string(), "the Redis side ended unasked");
    }

    #[tokio::test]
    async fn the_last_shard_is_named_as_the_cause_though_the_redis_side_ends_with_it() {
        let gateway = gateway();
        for shard in &gateway.shards {
            shard.handle().tell(Command::Run(Box::new(|_| panic!("on purpose"))));
        }
        let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
        let text = end.expect_err("nobody asked").to_string();
        assert!(["shard 0 died", "shard 1 died"].contains(&text.as_str()), "{text}");
    }

    #[tokio::test]
    async fn a_redis_side_that_panics_is_told_with_its_panic() {
        let gateway = gateway();
        let died = AbortOnDropHandle::new(tokio::spawn(async { panic!("on purpose") }));
        let error = upstream_failed(died, gateway.phase.subscribe()).await;
        let text = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(text.contains("on purpose"), "{text}");
    }

    #[tokio::test]
    async fn a_shard_that_dies_while_it_drains_is_an_error_all_the_same() {
        let gateway = gateway();
        let shard = gateway.shards[0].handle();
        let phases = gateway.phase.subscribe();
        let dies = async move {
            let mut phases = phases;
            let _ = phases.wait_for(|phase| *phase >= Phase::Leaving).await;
            shard.tell(Command::Run(Box::new(|_| panic!("on purpose"))));
        };
        let run = time::timeout(DEADLINE, gateway.run(async {}));
        let (end, ()) = tokio::join!(run, dies);
        assert_eq!(end.expect("in time").expect_err("it died").to_string(), "shard 0 died");
    }

    #[tokio::test]
    async fn a_panic_in_one_connection_s_task_leaves_the_gateway_serving() {
        let gateway = gateway();
        let address = gateway.address().unwrap();
        let shard = gateway.shards[0].handle();
        let stopper = gateway.stopper();
        let panics = async {
            for _ in 0..10 {
                let job = |shard: &Shard| shard.spawn(async { panic!("on purpose") });
                shard.tell(Command::Run(Box::new(job)));
            }
            let (told, heard) = tokio::sync::oneshot::channel();
            shard.tell(Command::Run(Box::new(|_| told.send(()).expect("somebody waits"))));
            time::timeout(DEADLINE, heard).await.expect("in time").expect("the shard lives");
            TcpStream::connect(address).await.expect("still open");
            stopper.drain.cancel();
        };
        let run = time::timeout(DEADLINE, gateway.run(future::pending()));
        let (end, ()) = tokio::join!(run, panics);
        assert_eq!(end.expect("in time").expect("as asked"), Ending::Clean);
    }

    #[tokio::test]
    async fn a_stop_at_once_is_a_stop_as_asked() {
        let gateway = gateway();
        gateway.stopper().now.cancel();
        let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
        assert_eq!(end.expect("as asked"), Ending::Forced);
    }
}
