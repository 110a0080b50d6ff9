//! A table of users by name, small on purpose: most rooms have a few users, and there may be one for two
//! sessions; in a large one each user is a session of its own. Pure.

use std::{
    collections::BTreeMap,
    ops::{Bound, Deref},
    sync::Arc,
};

/// Users that are a list. In a longer one it would take longer to make place for one more.
const LIST: usize = 2_048;

/// A shorter list takes no memory in advance, since most rooms stay as they are. A longer one grows by an eighth.
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

type Entry = (Arc<str>, User);

#[derive(Debug)]
pub(super) enum UserTable {
    /// Sorted by name.
    List(Vec<Entry>),
    Tree(BTreeMap<Arc<str>, User>),
}

impl Default for UserTable {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl UserTable {
    pub(super) fn get(&self, name: &str) -> Option<&User> {
        match self {
            Self::List(users) => find(users, name).ok().map(|at| &users[at].1),
            Self::Tree(users) => users.get(name),
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<(&Arc<str>, &mut User)> {
        match self {
            Self::List(users) => {
                let at = find(users, name).ok()?;
                let (name, user) = &mut users[at];
                Some((name, user))
            }
            Self::Tree(users) => {
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
            Self::List(users) if users.len() < LIST => {
                if users.len() == users.capacity() {
                    let more = if users.len() < FEW { 1 } else { users.len() / 8 };
                    users.reserve_exact(more);
                }
                let (Ok(at) | Err(at)) = find(users, &name);
                users.insert(at, (name, User::default()));
            }
            Self::List(users) => {
                let mut tree: BTreeMap<_, _> = std::mem::take(users).into_iter().collect();
                tree.insert(name, User::default());
                *self = Self::Tree(tree);
            }
            Self::Tree(users) => drop(users.insert(name, User::default())),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        match self {
            Self::List(users) => {
                if let Ok(at) = find(users, name) {
                    users.remove(at);
                }
            }
            Self::Tree(users) => drop(users.remove(name)),
        }
        self.shrink();
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut User) -> bool) {
        match self {
            Self::List(users) => users.retain_mut(|(_, user)| keep(user)),
            Self::Tree(users) => users.retain(|_, user| keep(user)),
        }
        self.shrink();
    }

    /// Gives memory back once half of it is unused. Not earlier: each time the list would be copied.
    fn shrink(&mut self) {
        match self {
            Self::List(users) if users.len() <= users.capacity() / 2 => users.shrink_to_fit(),
            Self::List(_) => {}
            Self::Tree(users) if users.len() <= LIST / 2 => {
                *self = Self::List(std::mem::take(users).into_iter().collect());
            }
            Self::Tree(_) => {}
        }
    }

    /// Sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &User)> {
        let (list, tree) = match self {
            Self::List(users) => (Some(users), None),
            Self::Tree(users) => (None, Some(users)),
        };
        let list = list.into_iter().flatten().map(|(name, user)| (name, user));
        list.chain(tree.into_iter().flatten())
    }
}

/// Where a user is in a list, or would be.
fn find(users: &[Entry], name: &str) -> Result<usize, usize> {
    users.binary_search_by(|(known, _)| (**known).cmp(name))
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
        let UserTable::List(users) = &table else { panic!("two are few") };
        assert_eq!(users.capacity(), 2);
        table.remove("ann");
        table.remove("bob");
        assert!(matches!(table, UserTable::List(users) if users.capacity() == 0));
    }

    #[test]
    fn a_list_that_is_long_is_a_tree_until_it_is_half_as_long() {
        let names: Vec<_> = (0..=LIST).map(|n| format!("{n:04}")).collect();
        let mut shuffled = names.clone();
        fastrand::Rng::with_seed(1).shuffle(&mut shuffled);
        let mut table = UserTable::default();
        for (n, name) in shuffled.iter().enumerate() {
            table.get_or_insert(&**name).1.sessions = 1;
            assert_eq!(matches!(table, UserTable::Tree(_)), n >= LIST);
        }
        assert!(table.iter().map(|(name, _)| &**name).eq(&names));
        table.retain(|user| user.sessions == 1);
        assert_eq!(table.iter().count(), names.len());
        for (n, name) in shuffled.iter().enumerate() {
            assert_eq!(table.get(name).map(|user| user.sessions), Some(1));
            assert!(table.get_mut(name).is_some());
            table.remove(name);
            assert!(table.get(name).is_none());
            assert_eq!(matches!(table, UserTable::Tree(_)), LIST - n > LIST / 2);
        }
        names.iter().for_each(|name| table.get_or_insert(&**name).1.sessions = 1);
        let mut kept = 0;
        table.retain(|_| {
            kept += 1;
            kept <= 3
        });
        assert!(table.iter().map(|(name, _)| &**name).eq(["0000", "0001", "0002"]));
        assert!(matches!(table, UserTable::List(_)));
    }

    #[test]
    fn a_list_has_little_room_in_advance() {
        let mut table = UserTable::default();
        for n in 0..1_000 {
            table.get_or_insert(&*n.to_string());
            let UserTable::List(users) = &table else { panic!("it is short") };
            assert!(users.capacity() <= users.len() + users.len().div_ceil(8));
        }
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
