//! What is under way for a room: users that enter and leave, and a roster that is awaited. Pure.
//!
//! There may be a room for two sessions, and for nearly all of them nothing is under way: then it takes no
//! memory beyond one word.

use super::names::Announcement;
use std::{
    mem,
    ops::{Deref, DerefMut},
    sync::Arc,
};
use tokio::time::Instant;

/// What is under way for one room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Users to join.
    pub(super) to_join: Vec<Arc<str>>,
    pub(super) leaving: Vec<Leaving>,
    /// Users that Redis has taken and whose sessions are to be sent the roster.
    pub(super) to_welcome: Vec<Arc<str>>,
    /// Announcements that came since the roster was asked for; applied to it when it is here.
    pub(super) held_back: Vec<Announcement>,
    pub(super) reading: Reading,
    pub(super) roster_due: Option<Instant>,
    /// After an error that concerns the room alone nothing is asked for it before.
    pub(super) not_before: Option<Instant>,
    /// The batch of requests that asks for the room's announcements.
    pub(super) asked_by: u64,
}

/// A user whose last session here has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaving {
    pub(super) user: Arc<str>,
    pub(super) until: Instant,
    pub(super) told: Told,
}

/// Whether Redis knows the new deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    No,
    Asked,
    Yes,
}

/// Whether a roster is awaited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reading {
    #[default]
    No,
    Yes,
    /// There were too many announcements meanwhile.
    Overrun,
}

impl Steps {
    const NONE: Self = Self {
        to_join: Vec::new(),
        leaving: Vec::new(),
        to_welcome: Vec::new(),
        held_back: Vec::new(),
        reading: Reading::No,
        roster_due: None,
        not_before: None,
        asked_by: 0,
    };
}

/// [`Steps`] that have memory only while there are any.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Option<Box<Steps>>);

impl UnderWay {
    /// Gives the memory back when nothing is under way.
    pub(super) fn free_if_idle(&mut self) {
        self.0.take_if(|steps| **steps == Steps::NONE);
    }

    /// Takes the users to whom the roster is due.
    pub(super) fn take_to_welcome(&mut self) -> Vec<Arc<str>> {
        self.0.as_mut().map(|steps| mem::take(&mut steps.to_welcome)).unwrap_or_default()
    }

    /// Takes the users to join.
    pub(super) fn take_to_join(&mut self) -> Vec<Arc<str>> {
        self.0.as_mut().map(|steps| mem::take(&mut steps.to_join)).unwrap_or_default()
    }
}

impl Deref for UnderWay {
    type Target = Steps;

    fn deref(&self) -> &Steps {
        static NONE: Steps = Steps::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for UnderWay {
    fn deref_mut(&mut self) -> &mut Steps {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_for_what_is_under_way_and_given_back_behind_it() {
        let mut under_way = UnderWay::default();
        assert!(under_way.leaving.is_empty() && under_way.0.is_none());
        under_way.to_join.push("ann".into());
        under_way.free_if_idle();
        assert_eq!(under_way.to_join.len(), 1);
        under_way.to_join.clear();
        under_way.free_if_idle();
        assert!(under_way.0.is_none());
    }
}
