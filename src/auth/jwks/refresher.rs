//! Fetches the keys of the issuer (`auth.jwt.jwks_url`) and keeps them fresh.
//!
//! One task, so never more than one fetch at a time: every five minutes, sooner after a failure, and
//! when a token names a key that is not here (which [`KeySet`] grants at most every 30 s). Promises: the
//! keys that were fetched last stay in use however long the issuer is down; nothing that an issuer
//! answers, or does not, costs more than 2 s and 64 KiB; where to fetch is said by the configuration
//! and by nothing else: no redirect is followed, no URL taken from a token.

use super::{FetchError, JwksError, KeySet, Replaced, SkippedKey, fetch::Client};
use crate::{error_chain::error_chain, metrics::JwksMetrics};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tracing::{debug, info, warn};

/// How long keys are used before they are fetched again. A key that the issuer takes back is refused
/// after this time, at the latest, while the issuer answers.
const FRESH_FOR: Duration = Duration::from_secs(300);

/// The pauses after a failure: the first, then each twice the one before, up to the last.
const RETRY_MIN: Duration = Duration::from_secs(1);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchKeysError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Document(#[from] JwksError),
}

/// Fetches the keys once, as a [`JwksRefresher`] would: `sockway doctor` tries it.
///
/// # Errors
/// When they cannot be fetched, or what was fetched has no key that can be used.
pub async fn fetch_keys_once(keys: &KeySet) -> Result<Replaced, FetchKeysError> {
    keys.begin();
    let document = Client::default().fetch(keys.url()).await?;
    Ok(keys.replace(&document)?)
}

/// Keeps the keys of one issuer fresh. When it is dropped nobody waits for them any longer.
pub struct JwksRefresher {
    keys: Arc<KeySet>,
    metrics: JwksMetrics,
    client: Client,
    /// Failures since the last success.
    pub(super) failures: u32,
    /// What was fetched last, so that the keys of the same document are logged only once.
    document: Option<Vec<u8>>,
}

impl JwksRefresher {
    /// Fetches nothing yet.
    #[must_use]
    pub fn new(keys: Arc<KeySet>, metrics: JwksMetrics) -> Self {
        Self { keys, metrics, client: Client::default(), failures: 0, document: None }
    }

    /// Fetches again and again, for ever.
    pub async fn run(mut self) {
        loop {
            self.keys.begin();
            let fetched = self.client.fetch(self.keys.url()).await;
            self.settle(fetched);
            tokio::select! {
                () = sleep(self.pause()) => {}
                () = self.keys.next_request() => debug!("a token names a key that is not known"),
            }
        }
    }

    pub(super) fn settle(&mut self, fetched: Result<Vec<u8>, FetchError>) {
        let settled = fetched.map_err(|error| {
            let reason = error_chain(&error);
            self.keys.fail(reason.clone());
            reason
        });
        let settled = settled.and_then(|document| {
            let replaced = self.keys.replace(&document).map_err(|error| error.to_string())?;
            self.tell(&replaced, &document);
            self.document = Some(document);
            Ok(())
        });
        match settled {
            Ok(()) => {
                self.metrics.fetched.inc();
                self.failures = 0;
            }
            Err(reason) => {
                self.metrics.failed.inc();
                self.failures = self.failures.saturating_add(1);
                let kept = self.keys.missing().is_none();
                warn!(url = %self.keys.url(), reason, kept, "the issuer's keys were not fetched");
            }
        }
    }

    fn tell(&self, replaced: &Replaced, document: &[u8]) {
        if self.document.as_deref() == Some(document) {
            return;
        }
        info!(url = %self.keys.url(), used = replaced.used, "the issuer's keys were fetched");
        for SkippedKey { position, kid, reason } in &replaced.skipped {
            if reason.is_ordinary() {
                debug!(kid, position, %reason, "a key of the issuer is not used");
            } else {
                warn!(kid, position, %reason, "a key of the issuer is not used");
            }
        }
    }

    /// How long until the next fetch, give or take: instances that started together part.
    pub(super) fn pause(&self) -> Duration {
        let pause = match self.failures {
            0 => FRESH_FOR,
            failures => RETRY_MIN.saturating_mul(1 << (failures - 1).min(10)).min(RETRY_MAX),
        };
        pause.mul_f64(0.8 + 0.2 * fastrand::f64())
    }
}

impl Drop for JwksRefresher {
    fn drop(&mut self) {
        self.keys.stop();
    }
}
