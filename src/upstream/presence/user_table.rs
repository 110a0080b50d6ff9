//! A table of users by name, small on purpose: most rooms have a few users, and there may be one for two
//! sessions. Pure.

use std::{
    collections::BTreeMap,
    ops::{Bound, Deref},
    sync::Arc,
};

/// Users that are searched one by one. More are a tree, which takes less than a hash table where a room has many.
const FEW: usize = 8;

/// What is known of a user.
#[derive(Debug, Default)]
pub(super) struct User {
    /// Sessions of the user at this instance.
    pub(super) sessions: u32,
    pub(super) is_listed: bool,
    /// Redis has confirmed the user.
    pub(super) is_joined: bool,
}

type Map = BTreeMap<Arc<str>, User>;

#[derive(Debug)]
pub(super) enum UserTable {
    Few(Vec<(Arc<str>, User)>),
    Many(Map),
}

impl Default for UserTable {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl UserTable {
    pub(super) fn get(&self, name: &str) -> Option<&User> {
        match self {
            Self::Few(users) => users.iter().find(|(known, _)| **known == *name).map(|it| &it.1),
            Self::Many(users) => users.get(name),
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<(&Arc<str>, &mut User)> {
        match self {
            Self::Few(users) => {
                users.iter_mut().find(|(known, _)| **known == *name).map(|it| (&it.0, &mut it.1))
            }
            Self::Many(users) => {
                let only = (Bound::Included(name), Bound::Included(name));
                users.range_mut::<str, _>(only).next()
            }
        }
    }

    /// The user of this name, made when there is none.
    pub(super) fn get_or_insert<N>(&mut self, name: N) -> (&Arc<str>, &mut User)
    where
        N: Deref<Target = str> + Into<Arc<str>>,
    {
        if self.get(&name).is_none() {
            let name = name.into();
            self.insert(Arc::clone(&name));
            return self.get_mut(&name).expect("it was inserted");
        }
        self.get_mut(&name).expect("it is there")
    }

    /// Takes in a user that is not there.
    fn insert(&mut self, name: Arc<str>) {
        match self {
            Self::Few(users) if users.len() < FEW => {
                // Most rooms stay as they are, and memory in advance would be for nothing.
                users.reserve_exact(1);
                users.push((name, User::default()));
            }
            Self::Few(users) => {
                let mut many: Map = std::mem::take(users).into_iter().collect();
                many.insert(name, User::default());
                *self = Self::Many(many);
            }
            Self::Many(users) => drop(users.insert(name, User::default())),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        match self {
            Self::Few(users) => users.retain(|(known, _)| **known != *name),
            Self::Many(users) => drop(users.remove(name)),
        }
        self.shrink();
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut User) -> bool) {
        match self {
            Self::Few(users) => users.retain_mut(|(_, user)| keep(user)),
            Self::Many(users) => users.retain(|_, user| keep(user)),
        }
        self.shrink();
    }

    /// What has become small is kept like what was always small, but for half of the difference: one user who
    /// comes and goes must not change it each time.
    fn shrink(&mut self) {
        match self {
            Self::Few(users) if users.is_empty() => *users = Vec::new(),
            Self::Few(_) => {}
            Self::Many(users) if users.len() <= FEW / 2 => {
                *self = Self::Few(std::mem::take(users).into_iter().collect());
            }
            Self::Many(_) => {}
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &User)> {
        let (few, many) = match self {
            Self::Few(users) => (Some(users), None),
            Self::Many(users) => (None, Some(users)),
        };
        let few = few.into_iter().flatten().map(|(name, user)| (name, user));
        few.chain(many.into_iter().flat_map(|users| users.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_table_of_two_takes_memory_for_two_and_an_empty_one_none() {
        let mut table = UserTable::default();
        table.get_or_insert("ann");
        table.get_or_insert("bob");
        let UserTable::Few(users) = &table else { panic!("two are few") };
        assert_eq!(users.capacity(), 2);
        table.remove("ann");
        table.remove("bob");
        assert!(matches!(table, UserTable::Few(users) if users.capacity() == 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn users_are_those_who_came_and_were_not_taken_out(
            names in prop::collection::vec("[a-z]", 0..80),
        ) {
            let (mut table, mut model) = (UserTable::default(), BTreeSet::new());
            for name in names {
                if model.remove(&name) {
                    prop_assert!(table.get(&name).is_some());
                    table.remove(&name);
                } else {
                    model.insert(name.clone());
                    table.get_or_insert(&*name).1.sessions += 1;
                }
                let users: BTreeSet<_> = table.iter().map(|it| it.0.to_string()).collect();
                prop_assert_eq!(&users, &model);
                prop_assert!(table.iter().all(|(_, user)| user.sessions == 1));
            }
            table.retain(|user| user.sessions == 0);
            prop_assert_eq!(table.iter().count(), 0);
        }
    }
}
