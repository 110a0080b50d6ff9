//! All rooms of this instance, and when something is due for one. Pure.

use super::{room::Room, under_way::Told};
use crate::{bus::PresenceRules, channel::ChannelName};
use hashbrown::HashMap;
use slab::Slab;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Rooms {
    rooms: Slab<Box<Room>>,
    by_name: HashMap<ChannelName, u32, foldhash::fast::RandomState>,
    /// Rooms for which something is due at the latest then. Of those of one room only [`Room::timer`] counts.
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Rooms for which something is due.
    ready: VecDeque<u32>,
    /// Users who have left and whose new deadline Redis has not confirmed.
    pub(super) untold: usize,
}

impl Rooms {
    /// The room of this name, made when there is none.
    pub(super) fn get_or_make(
        &mut self,
        name: &ChannelName,
        rules: &Arc<PresenceRules>,
        first_refresh: impl FnOnce() -> Instant,
    ) -> u32 {
        if let Some(&key) = self.by_name.get(name) {
            return key;
        }
        let key = self.rooms.insert(Box::new(Room::new(
            name.clone(),
            Arc::clone(rules),
            first_refresh(),
        )));
        let key = u32::try_from(key).expect("there are fewer rooms than sessions");
        self.by_name.insert(name.clone(), key);
        key
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&mut self, key: u32) -> Option<&mut Room> {
        self.rooms.get_mut(key as usize).map(|room| &mut **room)
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = (u32, &mut Room)> {
        self.rooms.iter_mut().map(|(key, room)| (key as u32, &mut **room))
    }

    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Something is due for this room now.
    pub(super) fn make_ready(&mut self, key: u32) {
        let is_new = |room: &mut Room| !std::mem::replace(&mut room.is_ready, true);
        if self.get(key).is_some_and(is_new) {
            self.ready.push_back(key);
        }
    }

    /// Takes a room for which something is due.
    pub(super) fn take_ready(&mut self, now: Instant) -> Option<u32> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(room) = self.get(key) {
                room.is_ready = false;
                return Some(key);
            }
        }
        while self.next_timer().is_some_and(|at| at <= now) {
            let Reverse((at, key)) = self.timers.pop()?;
            if let Some(room) = self.get(key)
                && room.timer.take_if(|timer| *timer == at).is_some()
            {
                return Some(key);
            }
        }
        None
    }

    /// Whether [`Rooms::take_ready`] may have something.
    pub(super) fn has_ready(&self, now: Instant) -> bool {
        !self.ready.is_empty() || self.next_timer().is_some_and(|at| at <= now)
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Schedules the room's next turn, or removes the room when nothing is left to do.
    pub(super) fn reschedule(&mut self, key: u32) {
        let Some(room) = self.rooms.get_mut(key as usize) else { return };
        room.under_way.free_if_idle();
        if room.is_over() {
            self.by_name.remove(&room.name);
            self.rooms.remove(key as usize);
        } else if let Some(due) = room.due()
            && room.timer.is_none_or(|timer| due < timer)
        {
            room.timer = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    /// While Redis takes nothing: forgets who has left so long ago that Redis has them no more either, and rooms
    /// that nobody is in.
    pub(super) fn forget_gone(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (key, room) in &mut self.rooms {
            self.untold -= room.forget_gone(now);
            if room.is_over() {
                over.push(key);
            }
        }
        for key in over {
            let room = self.rooms.remove(key);
            self.by_name.remove(&room.name);
        }
        // Nobody takes from it meanwhile: it must not keep the keys of rooms that are gone.
        let ready = self.rooms.iter().filter(|(_, room)| room.is_ready);
        self.ready = ready.map(|(key, _)| key as u32).collect();
    }

    /// The link is lost; with the next one, everything is due.
    pub(super) fn link_lost(&mut self) {
        (self.timers, self.ready) = (BinaryHeap::new(), VecDeque::new());
        self.untold = 0;
        for (key, room) in &mut self.rooms {
            room.link_lost();
            (room.timer, room.is_ready) = (None, true);
            self.untold += room.under_way.leaving.iter().filter(|it| it.told != Told::Yes).count();
            self.ready.push_back(key as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_room_that_is_made_ready_often_is_taken_once() {
        let ttl = Duration::from_secs(30);
        let rules = Arc::new(PresenceRules { ttl, leave_after: ttl, roster: 10 });
        let now = Instant::now();
        let mut rooms = Rooms::default();
        let key = rooms.get_or_make(&ChannelName::new("r"), &rules, || now);
        for _ in 0..2 {
            (0..3).for_each(|_| rooms.make_ready(key));
            assert_eq!((rooms.take_ready(now), rooms.take_ready(now)), (Some(key), None));
        }
        rooms.link_lost();
        rooms.make_ready(key);
        assert_eq!((rooms.take_ready(now), rooms.take_ready(now)), (Some(key), None));
    }

    #[test]
    fn rooms_that_come_and_go_while_redis_takes_nothing_leave_nothing() {
        let ttl = Duration::from_secs(30);
        let rules = Arc::new(PresenceRules { ttl, leave_after: ttl, roster: 10 });
        let mut now = Instant::now();
        let mut rooms = Rooms::default();
        let ann = Arc::from("ann");
        let stays = rooms.get_or_make(&ChannelName::new("stays"), &rules, || now);
        rooms.get(stays).unwrap().enter(0, &ann);
        rooms.make_ready(stays);
        for n in 0..10 {
            let key = rooms.get_or_make(&ChannelName::new(n.to_string()), &rules, || now);
            let room = rooms.get(key).unwrap();
            room.enter(0, &ann);
            room.exit(&ann, now);
            rooms.untold += 1;
            rooms.make_ready(key);
            rooms.forget_gone(now);
            assert_eq!(rooms.len(), 2, "Redis may know of it");
            now += 2 * ttl;
            rooms.forget_gone(now);
        }
        assert_eq!((rooms.len(), rooms.untold), (1, 0));
        assert_eq!((rooms.by_name.len(), Vec::from(rooms.ready)), (1, vec![stays]));
    }

    #[test]
    fn a_room_that_is_looked_at_often_is_due_once_and_then_again() {
        let ttl = Duration::from_secs(30);
        let rules = Arc::new(PresenceRules { ttl, leave_after: ttl, roster: 10 });
        let now = Instant::now();
        let mut rooms = Rooms::default();
        let key = rooms.get_or_make(&ChannelName::new("r"), &rules, || now);
        rooms.get(key).unwrap().users.enter(&Arc::from("ann"));
        for seconds in 1..10 {
            let due = now + Duration::from_secs(seconds);
            for sooner in [Duration::ZERO, Duration::from_millis(500)] {
                rooms.get(key).unwrap().refresh_at = due - sooner;
                rooms.reschedule(key);
                rooms.reschedule(key);
            }
            assert_eq!(rooms.timers.len(), 2);
            assert_eq!((rooms.take_ready(due), rooms.take_ready(due)), (Some(key), None));
            assert!(!rooms.has_ready(due));
            assert!(rooms.timers.is_empty());
        }
    }
}
