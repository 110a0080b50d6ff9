//! Reload: when to read the configuration again, and what is said of the outcome.
//!
//! Asked for by SIGHUP, or found by looking at what the files say (`reload.poll`): at their content,
//! since a Kubernetes volume changes by a symlink's swap. A reload is applied or refused as a
//! whole. Either way it is counted, logged with the keys, and told to systemd; nothing here closes
//! a session or knows what a key means.

use super::notify;
use crate::{
    config::{self, Config, ConfigError, Plan},
    metrics::Metrics,
};
use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Files that are being written are left alone until they say the same twice, this far apart.
const SETTLE: Duration = Duration::from_millis(200);

/// A file system that does not answer within this time does not hold up the next SIGHUP.
const LONGEST_READ: Duration = Duration::from_secs(30);

/// Why a reload was refused though the configuration is correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadRefused {
    #[error("needs a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
    #[error("the process is stopping")]
    Stopping,
}

/// The task that reloads one gateway's configuration.
pub struct ReloadTask<A> {
    /// The configuration file.
    pub path: PathBuf,
    /// Told by SIGHUP.
    pub asked: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    /// Swaps the configuration, or refuses all of it.
    pub apply: A,
}

/// What reading the files came to.
type LoadResult = Result<config::Loaded, String>;

/// What the last reading came to that was dealt with: a configuration, or why there was none.
type LastSeen = Result<Config, String>;

impl<A: FnMut(Config) -> Result<Plan, ReloadRefused>> ReloadTask<A> {
    /// Reloads until dropped. `current` is the configuration in effect.
    pub async fn run(mut self, current: Config) {
        let mut poll = current.reload.poll;
        let mut seen: LastSeen = Ok(current);
        loop {
            let reading = tokio::select! {
                () = self.asked.notified() => Some(read(&self.path).await),
                () = next_look(poll) => read_when_settled(&self.path, &seen).await,
            };
            let Some(reading) = reading else { continue };
            seen = reading.as_ref().map(|it| it.config.clone()).map_err(Clone::clone);
            if let Some(applied) = self.reload(reading) {
                poll = applied;
            }
        }
    }

    /// Applies or refuses what was read. Gives `reload.poll` of a configuration that was applied.
    fn reload(&mut self, reading: LoadResult) -> Option<Option<Duration>> {
        notify::reloading();
        let applied = self.apply(reading);
        if applied.is_some() {
            self.metrics.reloads_applied.inc();
        } else {
            self.metrics.reloads_refused.inc();
        }
        notify::ready();
        applied
    }

    fn apply(&mut self, reading: LoadResult) -> Option<Option<Duration>> {
        let loaded = match reading {
            Ok(loaded) => loaded,
            Err(report) => {
                warn!("reload refused, the old configuration goes on: {report}");
                return None;
            }
        };
        let poll = loaded.config.reload.poll;
        match (self.apply)(loaded.config) {
            Ok(Plan { live, .. }) => {
                loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
                info!(keys = live.join(", "), "configuration reloaded");
                Some(poll)
            }
            Err(refused) => {
                warn!("reload refused, the old configuration goes on: {refused}");
                None
            }
        }
    }
}

async fn next_look(poll: Option<Duration>) {
    match poll {
        Some(poll) => sleep(poll).await,
        None => pending().await,
    }
}

/// Reads the files once they say the same twice; `None` when that is nothing new.
async fn read_when_settled(path: &Path, seen: &LastSeen) -> Option<LoadResult> {
    let first = read(path).await;
    if is_same(&first, seen) {
        return None;
    }
    sleep(SETTLE).await;
    let second = read(path).await;
    let first: LastSeen = first.map(|it| it.config);
    is_same(&second, &first).then_some(second)
}

fn is_same(reading: &LoadResult, seen: &LastSeen) -> bool {
    match (reading, seen) {
        (Ok(reading), Ok(seen)) => config::plan(seen, &reading.config).is_empty(),
        (Err(reading), Err(seen)) => reading == seen,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// Reads everything, on a thread where waiting for a disk holds up nobody.
async fn read(path: &Path) -> LoadResult {
    let file = path.to_owned();
    let reading = spawn_blocking(move || config::load(&file).map_err(|error| report(&error)));
    match timeout(LONGEST_READ, reading).await {
        Ok(Ok(reading)) => reading,
        Ok(Err(_panic)) => Err(format!("reading {} failed", path.display())),
        Err(_late) => Err(format!("{} cannot be read in {LONGEST_READ:?}", path.display())),
    }
}

/// On one line, since it is one log record.
fn report(error: &ConfigError) -> String {
    error.report().replace('\n', "; ")
}
