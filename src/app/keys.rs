//! Keeps the keys of the configured issuer fetched, through reloads.
//!
//! A reload that leaves the issuer alone leaves its keys alone, too, so that nobody is refused for want
//! of keys that were here. Another issuer's keys replace them at once; a handshake that still waits for
//! the former issuer is told that its key will not come.

use crate::{
    auth::{JwksRefresher, KeySet},
    config::Config,
    metrics::JwksMetrics,
};
use futures_util::future;
use std::sync::Arc;
use tokio::sync::watch;

/// Fetches until dropped. Ends only when nobody can change the configuration any more.
pub(super) async fn keep(mut config: watch::Receiver<Arc<Config>>, metrics: JwksMetrics) {
    loop {
        let keys = config.borrow_and_update().auth.key_set().map(Arc::clone);
        let fetching = async {
            match &keys {
                Some(keys) => JwksRefresher::new(Arc::clone(keys), metrics.clone()).run().await,
                None => future::pending().await,
            }
        };
        let replaced = config.wait_for(|config| !same(config.auth.key_set(), keys.as_ref()));
        tokio::select! {
            () = fetching => return,
            replaced = replaced => if replaced.is_err() { return },
        }
    }
}

fn same(one: Option<&Arc<KeySet>>, other: Option<&Arc<KeySet>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}
