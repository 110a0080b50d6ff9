//! Numbers of places, in all and for each key, given back by dropping a permit.

use super::lock;
use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// A number of places.
pub(super) struct Limit {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Limit {
    pub(super) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// The same count under another limit.
    pub(super) fn with_limit(&self, limit: usize) -> Self {
        Self { taken: Arc::clone(&self.taken), limit }
    }

    pub(super) fn take(&self) -> Option<Permit> {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Permit(Arc::clone(&self.taken)))
    }
}

/// One place, given back when dropped.
pub(in crate::server) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A number of places for each key.
pub(super) struct LimitByKey<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    limit: usize,
}

impl<K: Eq + Hash + Clone> LimitByKey<K> {
    pub(super) fn new(limit: NonZeroUsize) -> Self {
        Self { taken: Arc::default(), limit: limit.get() }
    }

    /// Under another limit; what `old` counts stays counted.
    pub(super) fn with_limit(old: Option<&Self>, limit: NonZeroUsize) -> Self {
        let taken = old.map(|old| Arc::clone(&old.taken)).unwrap_or_default();
        Self { taken, limit: limit.get() }
    }

    pub(super) fn take(&self, key: K) -> Option<KeyPermit<K>> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(KeyPermit { taken: Arc::clone(&self.taken), key })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.taken).len()
    }
}

/// One place of a key, given back when dropped. A key without places takes no memory.
pub(in crate::server) struct KeyPermit<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for KeyPermit<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        match taken.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.key)),
        }
    }
}
