//! The issuer's keys that were fetched (`auth.jwt.jwks_url`).
//!
//! Looking up a key never waits and never fetches. One task ([`JwksRefresher`](super::JwksRefresher))
//! fetches and replaces. Promises: what was fetched last stays until something better comes; a token whose
//! key is not here may ask for a fetch, which is granted at most once per [`ASKED_APART`], so that made-up
//! tokens cannot make us a nuisance to the issuer.

use super::{
    JwksError, JwksUrl, SkippedKey,
    document::{IssuerKey, KeyList},
};
use crate::auth::{Algorithm, verifying_key::VerifyingKey};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// How far apart the fetches are, at the least, that tokens with an unknown `kid` ask for.
pub const ASKED_APART: Duration = Duration::from_secs(30);

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeySet {
    url: JwksUrl,
    algorithms: Vec<Algorithm>,
    fetches: watch::Sender<Fetches>,
    requested: Mutex<Requested>,
    granted: Notify,
}

/// What the fetches so far came to.
#[derive(Debug, Default)]
struct Fetches {
    /// `None` until the first fetch succeeded.
    keys: Option<Arc<[IssuerKey]>>,
    /// Fetches that began, and that ended. Never more than one is under way.
    began: u64,
    ended: u64,
    /// Why the last one that ended failed; `None` when it did not.
    failure: Option<String>,
    /// Nobody fetches any more.
    stopped: bool,
}

#[derive(Debug, Default)]
struct Requested {
    at: Option<Instant>,
    /// The number of the fetch that was granted.
    fetch: u64,
}

/// The outcome of looking up a token's key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) enum Lookup<T> {
    Found(T),
    /// No such key is here; a fetch could bring it.
    Unknown,
    /// The keys that are here rule the token out.
    RuledOut,
}

/// How many keys of a document are used, and which are skipped.
#[derive(Debug)]
pub struct Replaced {
    /// Every key in use now, by its `kid`.
    pub used: usize,
    pub skipped: Vec<SkippedKey>,
}

impl KeySet {
    pub(in crate::auth) fn new(url: JwksUrl, algorithms: Vec<Algorithm>) -> Self {
        let fetches = watch::Sender::new(Fetches::default());
        Self { url, algorithms, fetches, requested: Mutex::default(), granted: Notify::new() }
    }

    /// Whether both come from the same place and are picked in the same way.
    pub(in crate::auth) fn is_of_same(&self, other: &Self) -> bool {
        // In whatever order they are listed: a token finds its algorithm by its name.
        let listed = |it: &Self| Algorithm::ALL.map(|one| it.algorithms.contains(&one));
        self.url == other.url && listed(self) == listed(other)
    }

    /// Where the keys come from.
    #[must_use]
    pub fn url(&self) -> &JwksUrl {
        &self.url
    }

    /// Why there are no keys at all; `None` once there were some.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let fetches = self.fetches.borrow();
        let why = || fetches.failure.clone().unwrap_or_else(|| "not fetched yet".to_owned());
        fetches.keys.is_none().then(why)
    }

    /// Says that a fetch begins.
    pub fn begin(&self) {
        self.fetches.send_modify(|fetches| fetches.began += 1);
    }

    /// Ends a fetch with a document, which takes the place of the keys so far.
    ///
    /// # Errors
    /// When the document has no key that can be used; then the keys so far stay. An issuer has no
    /// reason to publish none, and a proxy has many to answer for it.
    pub fn replace(&self, document: &[u8]) -> Result<Replaced, JwksError> {
        let KeyList { keys, skipped } = match KeyList::read(document, &self.algorithms) {
            Ok(list) => list,
            Err(error) => {
                self.fail(error.to_string());
                return Err(error);
            }
        };
        let used = keys.len();
        self.end(None, |fetches| fetches.keys = Some(keys.into()));
        Ok(Replaced { used, skipped })
    }

    /// Ends a fetch that brought nothing. The keys so far stay.
    pub fn fail(&self, reason: String) {
        self.end(Some(reason), |_| {});
    }

    /// Ends the fetching for good, and with it every wait for a fetch that is under way or was granted.
    pub fn stop(&self) {
        self.begin();
        self.end(Some("no longer fetched".to_owned()), |fetches| fetches.stopped = true);
    }

    fn end(&self, failure: Option<String>, change: impl FnOnce(&mut Fetches)) {
        self.fetches.send_modify(|fetches| {
            change(fetches);
            fetches.failure = failure;
            fetches.ended = fetches.began;
        });
    }

    /// Waits until a fetch was granted that has not begun yet. Cancel-safe.
    pub async fn next_request(&self) {
        while self.lock().fetch <= self.fetches.borrow().began {
            self.granted.notified().await;
        }
    }

    /// Looks for the one key for a token, and uses it. No lock is held meanwhile.
    pub(in crate::auth) fn with_key<T>(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        use_it: impl FnOnce(&VerifyingKey) -> T,
    ) -> Lookup<T> {
        let Some(keys) = self.fetches.borrow().keys.clone() else { return Lookup::Unknown };
        let named = |one: &&IssuerKey| kid.is_none() || one.kid.as_deref() == kid;
        if !keys.iter().any(|one| named(&one)) {
            return Lookup::Unknown;
        }
        let mut fitting = keys.iter().filter(named).filter(|one| one.key.serves(algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Lookup::Found(use_it(&one.key)),
            _ => Lookup::RuledOut,
        }
    }

    /// Asks for a key that is not here. Returns the number of the fetch to wait for; `None` when no
    /// fetch is due that could bring it.
    pub(in crate::auth) fn request_fetch(&self) -> Option<u64> {
        let mut requested = self.lock();
        let (began, ended, empty) = {
            let fetches = self.fetches.borrow();
            if fetches.stopped {
                return None;
            }
            (fetches.began, fetches.ended, fetches.keys.is_none())
        };
        if empty {
            // The task tries again by itself, asked or not.
            return (began == 0 || began > ended).then_some(began.max(1));
        }
        if requested.fetch > ended {
            return Some(requested.fetch);
        }
        if requested.at.is_some_and(|at| at.elapsed() < ASKED_APART) {
            return None;
        }
        *requested = Requested { at: Some(Instant::now()), fetch: began + 1 };
        self.granted.notify_one();
        Some(requested.fetch)
    }

    /// Waits until more fetches have ended than these. Cancel-safe.
    pub(in crate::auth) async fn ended_after(&self, seen: u64) {
        let mut changes = self.fetches.subscribe();
        // No error: the sender lives as long as `self`.
        let _ = changes.wait_for(|fetches| fetches.ended > seen).await;
    }

    /// How many fetches have ended.
    pub(in crate::auth) fn ended(&self) -> u64 {
        self.fetches.borrow().ended
    }

    /// Whether the last fetch that ended brought the keys that are here: who has none of them is
    /// wrong then, and not only early.
    pub(in crate::auth) fn is_fresh(&self) -> bool {
        let fetches = self.fetches.borrow();
        fetches.keys.is_some() && fetches.failure.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requested> {
        // Nothing that holds it can panic half-way.
        self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
