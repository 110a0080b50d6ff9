//! The patterns in the table, which are bounded: each makes every PUBLISH of that Redis dearer.

use super::Entries;
use crate::channel::ChannelName;
use hashbrown::HashSet;

/// Names of patterns, some of which may have left the table since: they are forgotten when it matters.
#[derive(Debug)]
pub(super) struct Patterns {
    names: HashSet<ChannelName, foldhash::fast::RandomState>,
    limit: usize,
}

impl Patterns {
    pub(super) fn new(limit: usize) -> Self {
        Self { names: HashSet::default(), limit }
    }

    /// Takes in a pattern that is about to enter the table. `false`: it is one too many.
    pub(super) fn insert(&mut self, pattern: &ChannelName, entries: &Entries) -> bool {
        if self.names.len() >= self.limit && self.count(entries) >= self.limit {
            return false;
        }
        self.names.insert(pattern.clone())
    }

    /// How many are in the table.
    pub(super) fn count(&mut self, entries: &Entries) -> usize {
        if !self.names.is_empty() {
            self.names.retain(|pattern| entries.contains_key(pattern));
        }
        self.names.len()
    }
}
