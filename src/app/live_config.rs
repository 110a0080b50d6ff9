//! Swaps the configuration of a running gateway.
//!
//! The order matters. First what nobody sees yet: the series of new endpoints, the credentials of the next
//! dial. Then the public port: from then on every new connection is checked against the new
//! configuration. The shards after it: each closes what the change concerns, and checks a session that
//! opens later, by a handshake that began before, against the same configuration. Which came first is told
//! by the configuration's generation, so that a session of a new one, on a shard that has not been told yet,
//! is not checked against the old one. Last what follows the
//! configuration by itself: when the keys of a former issuer are given up, every shard knows the new one.

use super::open_files;
use crate::{
    config::{Config, Plan, plan},
    lifecycle::ReloadRefused,
    metrics::Metrics,
    phase::Phase,
    server::ServerHandle,
    shard::{ShardCommand, ShardHandle},
    upstream::{Credentials, Login},
};
use std::sync::Arc;
use tokio::sync::watch;

/// The configuration of a running gateway: shared by its parts, and replaced as a whole.
pub struct LiveConfig {
    pub(super) config: watch::Sender<Arc<Config>>,
    pub(super) server: ServerHandle,
    pub(super) shards: Vec<ShardHandle>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Receiver<Phase>,
    /// Of the next dial to Redis.
    pub(super) credentials: Credentials,
}

impl LiveConfig {
    /// Goes on with another configuration, or refuses it as a whole.
    ///
    /// # Errors
    /// When a key changed that needs a restart, or the gateway is stopping.
    pub fn apply(&self, mut config: Config) -> Result<Plan, ReloadRefused> {
        if *self.phase.borrow() != Phase::Running {
            return Err(ReloadRefused::Stopping);
        }
        fit(&mut config);
        let plan = plan(&self.config.borrow(), &config);
        if !plan.restart.is_empty() {
            return Err(ReloadRefused::NeedsRestart(plan.restart));
        }
        config.generation = self.config.borrow().generation + 1;
        config.auth = config.auth.with_keys_of(&self.config.borrow().auth);
        let config = Arc::new(config);
        let names: Vec<_> = config.endpoints.iter().map(|one| Arc::clone(&one.name)).collect();
        self.metrics.show_endpoints(&names);
        let (username, password) = (config.redis.username.clone(), config.redis.password.clone());
        self.credentials.replace(Login { username, password });
        self.server.reconfigure(Arc::clone(&config));
        for shard in &self.shards {
            shard.tell(ShardCommand::Reload(Arc::clone(&config)));
        }
        self.config.send_replace(config);
        Ok(plan)
    }
}

/// Lowers `server.max_connections` to what the open-files limit allows.
pub(super) fn fit(config: &mut Config) {
    let server = &mut config.server;
    server.max_connections =
        open_files::fit(server.max_connections, open_files::raise(), server.shards);
}
