//! What every handshake looks at, on whichever shard: the configuration, what is counted, metrics.

use super::{admission::Admission, publish::Publishing};
use crate::{
    config::Config,
    endpoint::Routes,
    log_throttle::CauseThrottle,
    metrics::Metrics,
    phase::Phase,
    shard::{Floods, PublishRates},
};
use std::sync::Arc;
use tokio::sync::watch;

/// One configuration's view of the public port. A connection keeps the one it was accepted under.
pub(super) struct ServerState {
    pub(super) config: Arc<Config>,
    pub(super) routes: Routes,
    pub(super) admission: Admission,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Receiver<Phase>,
    /// The same for all configurations, so that a connection which goes on follows a reload.
    pub(super) publishing: Arc<Publishing>,
    /// Why tokens and requests give no channels, for the log.
    pub(super) causes: Arc<CauseThrottle>,
    /// How much users may publish, over all shards.
    pub(super) publish_rates: Arc<PublishRates>,
    /// Whose handshakes wait, on all shards.
    pub(super) floods: Arc<Floods>,
}

impl ServerState {
    pub(super) fn new(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        phase: watch::Receiver<Phase>,
        floods: Arc<Floods>,
    ) -> Self {
        Self {
            routes: Routes::new(config.endpoints.clone()),
            admission: Admission::new(&config.server),
            publishing: Arc::new(Publishing::new(&config)),
            config,
            metrics,
            phase,
            causes: Arc::default(),
            publish_rates: Arc::default(),
            floods,
        }
    }

    fn with_config(&self, config: Arc<Config>) -> Self {
        self.publishing.reconfigure(&config);
        Self {
            publishing: Arc::clone(&self.publishing),
            routes: Routes::new(config.endpoints.clone()),
            admission: self.admission.with_limits(&config.server),
            config,
            metrics: Arc::clone(&self.metrics),
            phase: self.phase.clone(),
            causes: Arc::clone(&self.causes),
            publish_rates: Arc::clone(&self.publish_rates),
            floods: Arc::clone(&self.floods),
        }
    }
}

/// Changes the configuration of a public port while it runs. Cheap to clone.
#[derive(Clone)]
pub struct ServerHandle(watch::Sender<Arc<ServerState>>);

impl ServerHandle {
    pub(super) fn new(state: ServerState) -> Self {
        Self(watch::Sender::new(Arc::new(state)))
    }

    /// Connections accepted from now on follow this configuration. What is counted stays counted.
    pub fn reconfigure(&self, config: Arc<Config>) {
        self.0.send_modify(|state| *state = Arc::new(state.with_config(config)));
    }

    pub(super) fn state(&self) -> Arc<ServerState> {
        Arc::clone(&self.0.borrow())
    }
}
