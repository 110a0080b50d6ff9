//! The users of one room: those that sessions here hold in Redis, and those that are known to be there.
//! Pure.

use hashbrown::HashMap;
use std::sync::Arc;

/// The users of one room. A user has one entry, whether it is held here, listed, or both.
#[derive(Debug, Default)]
pub(super) struct Users {
    table: HashMap<Arc<str>, User, foldhash::fast::RandomState>,
    held: u32,
    listed: u32,
}

#[derive(Debug, Default)]
struct User {
    /// Sessions of the user at this instance.
    sessions: u32,
    is_listed: bool,
    /// Redis has confirmed the user.
    is_joined: bool,
}

impl Users {
    /// Users that this instance holds.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// Users that are known to be there.
    pub(super) fn listed(&self) -> usize {
        self.listed as usize
    }

    /// One session more. `true`: the user's first.
    pub(super) fn enter(&mut self, user: &Arc<str>) -> bool {
        let entry = self.table.entry(Arc::clone(user)).or_default();
        entry.sessions += 1;
        let is_first = entry.sessions == 1;
        if is_first {
            entry.is_joined = false;
            self.held += 1;
        }
        is_first
    }

    /// One session less. `true`: it was the user's last.
    pub(super) fn exit(&mut self, user: &str) -> bool {
        let Some(entry) = self.table.get_mut(user).filter(|entry| entry.sessions > 0) else {
            return false;
        };
        entry.sessions -= 1;
        if entry.sessions > 0 {
            return false;
        }
        self.held -= 1;
        if !entry.is_listed {
            self.table.remove(user);
        }
        true
    }

    pub(super) fn is_held(&self, user: &str) -> bool {
        self.table.get(user).is_some_and(|entry| entry.sessions > 0)
    }

    /// Whether Redis has taken a user that is held.
    pub(super) fn is_joined(&self, user: &str) -> bool {
        self.table.get(user).is_some_and(|entry| entry.sessions > 0 && entry.is_joined)
    }

    /// Redis has taken a user.
    pub(super) fn joined(&mut self, user: &str) {
        if let Some(entry) = self.table.get_mut(user) {
            entry.is_joined = true;
        }
    }

    pub(super) fn all_held(&self) -> impl Iterator<Item = &Arc<str>> {
        self.table.iter().filter(|(_, entry)| entry.sessions > 0).map(|(user, _)| user)
    }

    /// A user is there. `None`: that was known.
    pub(super) fn list(&mut self, user: &str) -> Option<Arc<str>> {
        if !self.table.contains_key(user) {
            self.table.insert(user.into(), User::default());
        }
        let (name, _) = self.table.get_key_value(user)?;
        let name = Arc::clone(name);
        let entry = self.table.get_mut(user)?;
        if std::mem::replace(&mut entry.is_listed, true) {
            return None;
        }
        self.listed += 1;
        Some(name)
    }

    /// A user is not there. `None`: that was known.
    pub(super) fn strike(&mut self, user: &str) -> Option<Arc<str>> {
        let entry = self.table.get_mut(user)?;
        if !std::mem::replace(&mut entry.is_listed, false) {
            return None;
        }
        self.listed -= 1;
        if self.table.get(user)?.sessions > 0 {
            return self.table.get_key_value(user).map(|(name, _)| Arc::clone(name));
        }
        let name = self.table.remove_entry(user).map(|(name, _)| name);
        self.shrink();
        name
    }

    /// Nobody is known to be there any more.
    pub(super) fn forget_list(&mut self) {
        self.table.retain(|_, entry| {
            entry.is_listed = false;
            entry.sessions > 0
        });
        self.listed = 0;
        self.shrink();
    }

    /// These are there, and all who are held.
    pub(super) fn set_list<'u>(&mut self, users: impl Iterator<Item = &'u str>) {
        self.forget_list();
        for entry in self.table.values_mut() {
            entry.is_listed = true;
        }
        self.listed = self.held;
        users.for_each(|user| drop(self.list(user)));
    }

    /// Who is known to be there, sorted.
    pub(super) fn roster(&self) -> Vec<Arc<str>> {
        let listed = self.table.iter().filter(|(_, entry)| entry.is_listed);
        let mut users: Vec<_> = listed.map(|(user, _)| Arc::clone(user)).collect();
        users.sort_unstable();
        users
    }

    fn shrink(&mut self) {
        if self.table.len() < self.table.capacity() / 4 {
            self.table.shrink_to(2 * self.table.len());
        }
    }
}
