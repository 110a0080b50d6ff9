//! The sessions of one channel, by their keys: entering and leaving cost the same however many there are.
//!
//! A shard may have a channel of one session a hundred thousand times, or one channel of a hundred
//! thousand sessions. The first few need no memory of their own, up to [`LIST`] are a list, and more are
//! a bitmap, whose words are found by a hash. Where most sessions are in a channel, a bit for each is
//! less than their list would take.

use hashbrown::HashMap;

/// Keys that need no memory of their own.
const INLINE: usize = 4;

/// Keys that are searched one by one when a session leaves: about a microsecond. A list is walked faster than
/// a bitmap, and each message walks it.
const LIST: usize = 4_096;

/// Keys in one word of a bitmap.
const WORD: u32 = u32::BITS;

/// The keys of a channel's sessions, each once.
#[derive(Debug)]
pub(super) enum Members {
    Inline {
        len: u8,
        keys: [u32; INLINE],
    },
    #[expect(clippy::box_collection, reason = "one word, so that a channel is no larger for it")]
    List(Box<Vec<u32>>),
    Bitmap(Box<Bitmap>),
}

impl Members {
    pub(super) const NONE: Self = Self::Inline { len: 0, keys: [0; INLINE] };

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline { len, .. } => usize::from(*len),
            Self::List(keys) => keys.len(),
            Self::Bitmap(bitmap) => bitmap.len,
        }
    }

    /// Takes in a key that is not there.
    pub(super) fn insert(&mut self, key: u32) {
        match self {
            Self::Inline { len, keys } if usize::from(*len) < INLINE => {
                keys[usize::from(*len)] = key;
                *len += 1;
            }
            Self::Inline { keys, .. } => {
                let mut list = Vec::with_capacity(2 * INLINE);
                list.extend_from_slice(keys);
                list.push(key);
                *self = Self::List(Box::new(list));
            }
            Self::List(list) if list.len() < LIST => list.push(key),
            Self::List(list) => {
                let mut bitmap = Box::new(Bitmap::default());
                list.iter().chain([&key]).for_each(|&key| bitmap.insert(key));
                *self = Self::Bitmap(bitmap);
            }
            Self::Bitmap(bitmap) => bitmap.insert(key),
        }
    }

    /// Takes a key out. What has become small is kept like what was always small, but for half of the
    /// difference: one session that comes and goes must not change it each time.
    pub(super) fn remove(&mut self, key: u32) {
        match self {
            Self::Inline { len, keys } => {
                let used = usize::from(*len);
                if let Some(at) = keys[..used].iter().position(|&known| known == key) {
                    keys[at] = keys[used - 1];
                    *len -= 1;
                }
            }
            Self::List(list) => {
                if let Some(at) = list.iter().position(|&known| known == key) {
                    list.swap_remove(at);
                }
                if list.len() <= INLINE / 2 {
                    self.rebuild();
                }
            }
            Self::Bitmap(bitmap) => {
                bitmap.remove(key);
                if bitmap.len <= LIST / 2 {
                    self.rebuild();
                }
            }
        }
    }

    fn rebuild(&mut self) {
        let before = std::mem::replace(self, Self::NONE);
        before.for_each(|key| self.insert(key));
    }

    /// Every key, in no order.
    pub(super) fn keys(&self) -> Vec<u32> {
        let mut keys = Vec::with_capacity(self.len());
        self.for_each(|key| keys.push(key));
        keys
    }

    /// Hands out every key, in no order.
    pub(super) fn for_each(&self, mut each: impl FnMut(u32)) {
        match self {
            Self::Inline { len, keys } => keys[..usize::from(*len)].iter().copied().for_each(each),
            Self::List(keys) => keys.iter().copied().for_each(each),
            Self::Bitmap(bitmap) => bitmap.for_each(&mut each),
        }
    }
}

/// A bit for each key; words without any are not there.
#[derive(Debug, Default)]
pub(super) struct Bitmap {
    len: usize,
    words: HashMap<u32, u32, foldhash::fast::RandomState>,
}

impl Bitmap {
    fn insert(&mut self, key: u32) {
        *self.words.entry(key / WORD).or_default() |= 1 << (key % WORD);
        self.len += 1;
    }

    fn remove(&mut self, key: u32) {
        let Some(word) = self.words.get_mut(&(key / WORD)) else { return };
        let bit = 1 << (key % WORD);
        self.len -= usize::from(*word & bit != 0);
        *word &= !bit;
        if *word == 0 {
            self.words.remove(&(key / WORD));
            self.shrink();
        }
    }

    /// Gives memory back before three quarters of it are unused: a walk pays for that, too.
    fn shrink(&mut self) {
        if self.words.len() < self.words.capacity() / 4 {
            self.words.shrink_to(2 * self.words.len());
        }
    }

    fn for_each(&self, each: &mut impl FnMut(u32)) {
        for (&at, &word) in &self.words {
            let mut left = word;
            while left != 0 {
                each(at * WORD + left.trailing_zeros());
                left &= left - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sorted(members: &Members) -> Vec<u32> {
        let mut keys = members.keys();
        keys.sort_unstable();
        keys
    }

    fn many(keys: impl Iterator<Item = u32>) -> Members {
        let mut members = Members::NONE;
        keys.for_each(|key| members.insert(key));
        members
    }

    /// Keys that one insertion or removal may have to look at.
    fn searched(members: &Members) -> usize {
        match members {
            Members::Inline { .. } => INLINE,
            Members::List(keys) => keys.len(),
            Members::Bitmap(_) => 1,
        }
    }

    #[test]
    fn however_many_members_come_and_go_one_that_leaves_is_found_among_few() {
        let mut members = Members::NONE;
        for key in 0..100_000 {
            members.insert(key);
            assert!(searched(&members) <= LIST);
        }
        for key in (0..100_000).rev() {
            members.remove(key);
            assert!(searched(&members) <= LIST);
            assert_eq!(members.len(), key as usize);
        }
        assert!(matches!(members, Members::Inline { len: 0, .. }), "nothing is kept");
    }

    #[test]
    fn a_bit_for_each_is_less_than_a_list_where_most_sessions_are_members() {
        let Members::Bitmap(bitmap) = many(0..100_000) else { panic!("100,000 are a bitmap") };
        assert!(bitmap.words.allocation_size() < 100_000, "{}", bitmap.words.allocation_size());
    }

    #[test]
    fn a_channel_that_was_common_gives_its_memory_back() {
        let mut members = many(0..100_000);
        (3_000..100_000).for_each(|key| members.remove(key));
        let Members::Bitmap(bitmap) = &members else { panic!("3,000 are a bitmap") };
        assert!(bitmap.words.allocation_size() < 12_000, "{}", bitmap.words.allocation_size());
    }

    #[test]
    fn one_that_comes_and_goes_at_the_border_changes_nothing_each_time() {
        let most = u32::try_from(LIST).unwrap();
        let mut members = many(0..=most);
        members.remove(most);
        assert!(matches!(members, Members::Bitmap(_)));
        let mut members = many(0..5);
        members.remove(4);
        assert!(matches!(members, Members::List(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn members_are_those_who_came_and_did_not_leave(
            keys in prop::collection::vec(0..20_000_u32, 0..12_000),
        ) {
            let (mut members, mut model) = (Members::NONE, BTreeSet::new());
            for key in keys {
                if model.remove(&key) {
                    members.remove(key);
                } else {
                    model.insert(key);
                    members.insert(key);
                }
                prop_assert_eq!(members.len(), model.len());
            }
            prop_assert_eq!(sorted(&members), model.into_iter().collect::<Vec<_>>());
            members.remove(1_000_000);
        }
    }
}
