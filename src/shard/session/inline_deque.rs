//! First-in-first-out queue that keeps its first item inline and allocates only for more.
//!
//! Most sessions have none or one item queued, since most messages are written before the next one
//! comes: an allocation would be paid for with every delivery.

use std::{
    collections::VecDeque,
    ops::{Index, IndexMut},
};

/// See the module.
#[derive(Debug)]
pub(super) struct InlineDeque<T> {
    first: Option<T>,
    /// Never empty, and `None` without a first.
    #[expect(clippy::box_collection, reason = "every session has a deque, and hardly one a rest")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> InlineDeque<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Bytes of the places that are allocated.
    pub(super) fn memory(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.capacity() * size_of::<T>())
    }

    /// Makes place for so many items, all of which are pushed next.
    pub(super) fn reserve(&mut self, items: usize) {
        if items > 1 {
            self.rest.get_or_insert_default().reserve_exact(items - 1);
        }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.get_or_insert_default().push_back(item);
        }
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let next = self.remove_from_rest(0);
        std::mem::replace(&mut self.first, next)
    }

    /// Takes out the item at this place, if there is one; those behind it move up.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        if at == 0 { self.pop() } else { self.remove_from_rest(at - 1) }
    }

    /// Takes out all but the first.
    pub(super) fn take_rest(&mut self) -> Self {
        let mut rest = Self { first: None, rest: self.rest.take() };
        rest.pop();
        rest
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.as_deref().into_iter().flatten())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(self.rest.as_deref_mut().into_iter().flatten())
    }

    fn remove_from_rest(&mut self, at: usize) -> Option<T> {
        let rest = self.rest.as_mut()?;
        let item = rest.remove(at);
        if rest.is_empty() {
            self.rest = None;
        }
        item
    }
}

impl<T> Default for InlineDeque<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Index<usize> for InlineDeque<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        match (at.checked_sub(1), &self.first, &self.rest) {
            (None, Some(first), _) => first,
            (Some(at), _, Some(rest)) => &rest[at],
            _ => panic!("{at} is not in the deque"),
        }
    }
}

impl<T> IndexMut<usize> for InlineDeque<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        match (at.checked_sub(1), &mut self.first, &mut self.rest) {
            (None, Some(first), _) => first,
            (Some(at), _, Some(rest)) => &mut rest[at],
            _ => panic!("{at} is not in the deque"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deque_of(items: std::ops::Range<u32>) -> InlineDeque<u32> {
        let mut deque = InlineDeque::default();
        items.for_each(|item| deque.push(item));
        deque
    }

    fn contents(deque: &InlineDeque<u32>) -> Vec<u32> {
        assert_eq!(deque.len(), deque.iter().count());
        assert_eq!(deque.is_empty(), deque.front().is_none());
        assert_eq!(deque.front(), deque.iter().next());
        (0..deque.len()).for_each(|at| assert_eq!(Some(&deque[at]), deque.iter().nth(at)));
        deque.iter().copied().collect()
    }

    #[test]
    fn what_came_first_goes_first() {
        let mut deque = deque_of(0..5);
        assert_eq!(contents(&deque), [0, 1, 2, 3, 4]);
        assert_eq!(std::iter::from_fn(|| deque.pop()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(contents(&deque).is_empty());
    }

    #[test]
    fn those_behind_a_removed_item_move_up() {
        for (at, left) in [(0, [1, 2, 3]), (1, [0, 2, 3]), (3, [0, 1, 2])] {
            let mut deque = deque_of(0..4);
            assert_eq!(deque.remove(at), Some(u32::try_from(at).unwrap()));
            assert_eq!(contents(&deque), left);
            assert_eq!(deque.remove(3), None);
        }
    }

    #[test]
    fn all_but_the_first_leave_as_a_deque_of_their_own() {
        let mut deque = deque_of(0..4);
        assert_eq!(contents(&deque.take_rest()), [1, 2, 3]);
        assert_eq!(contents(&deque), [0]);
        assert!(deque.take_rest().is_empty());
    }

    #[test]
    fn a_place_is_written_to_as_it_is_read() {
        let mut deque = deque_of(0..3);
        deque[0] = 7;
        deque[2] = 9;
        deque.iter_mut().for_each(|item| *item += 1);
        assert_eq!(contents(&deque), [8, 2, 10]);
    }

    #[test]
    fn one_item_alone_owns_no_memory() {
        let mut deque = deque_of(0..3);
        assert!(deque.rest.is_some());
        deque.pop();
        deque.pop();
        assert!(deque.rest.is_none());
    }
}
