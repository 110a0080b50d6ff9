//! The users of one room: those that sessions here hold in Redis, and those that are known to be there.
//! Pure.

use super::user_table::UserTable;
use std::sync::Arc;

/// The users of one room. A user has one entry, whether it is held here, listed, or both.
#[derive(Debug, Default)]
pub(super) struct Users {
    table: UserTable,
    held: u32,
    listed: u32,
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
        let (_, entry) = self.table.get_or_insert(Arc::clone(user));
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
        let held = self.table.get_mut(user).filter(|(_, entry)| entry.sessions > 0);
        let Some((_, entry)) = held else { return false };
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

    /// Redis has taken a user. `true`: it is held here, and that is news.
    pub(super) fn joined(&mut self, user: &str) -> bool {
        let held = self.table.get_mut(user).filter(|(_, entry)| entry.sessions > 0);
        held.is_some_and(|(_, entry)| !std::mem::replace(&mut entry.is_joined, true))
    }

    pub(super) fn all_held(&self) -> impl Iterator<Item = &Arc<str>> {
        self.table.iter().filter(|(_, entry)| entry.sessions > 0).map(|(user, _)| user)
    }

    /// A user is there. `None`: that was known.
    pub(super) fn list(&mut self, user: &str) -> Option<Arc<str>> {
        let (name, entry) = self.table.get_or_insert(user);
        if std::mem::replace(&mut entry.is_listed, true) {
            return None;
        }
        self.listed += 1;
        Some(Arc::clone(name))
    }

    /// A user is not there. `None`: that was known.
    pub(super) fn strike(&mut self, user: &str) -> Option<Arc<str>> {
        let (name, entry) = self.table.get_mut(user)?;
        if !std::mem::replace(&mut entry.is_listed, false) {
            return None;
        }
        self.listed -= 1;
        let name = Arc::clone(name);
        if entry.sessions == 0 {
            self.table.remove(user);
        }
        Some(name)
    }

    /// Nobody is known to be there any more.
    pub(super) fn forget_list(&mut self) {
        self.table.retain(|entry| {
            entry.is_listed = false;
            entry.sessions > 0
        });
        self.listed = 0;
    }

    /// These are there, and all who are held.
    pub(super) fn set_list<'u>(&mut self, users: impl Iterator<Item = &'u str>) {
        self.table.retain(|entry| {
            entry.is_listed = entry.sessions > 0;
            entry.is_listed
        });
        self.listed = self.held;
        users.for_each(|user| drop(self.list(user)));
    }

    /// Who is known to be there, sorted.
    pub(super) fn roster(&self) -> Vec<Arc<str>> {
        let listed = self.table.iter().filter(|(_, entry)| entry.is_listed);
        listed.map(|(user, _)| Arc::clone(user)).collect()
    }
}
