//! Rosters that are due and not sent yet, so that a shard that is behind is not sent more than it can use.
//!
//! All who join a room while one of its shards still has older events to handle share one roster. On that shard
//! a roster for each would wait behind those events, too. A shard that has lost events asks for the rosters of
//! its rooms; these are sent as its queue has room.

use super::output::Output;
use crate::{
    bus::ShardId,
    upstream::shard_queues::{Shards, members},
};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};
use tokio::time::Instant;

/// The longest that a shard that stands still is waited for.
const LONGEST: Duration = Duration::from_millis(500);

/// How often the progress of shards is looked at.
const STEP: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(super) struct PendingRosters {
    /// Rooms that users have joined, and the shards for which each still waits.
    joined: BTreeMap<u32, Shards>,
    marks: BTreeMap<ShardId, Mark>,
    /// What shards have asked for.
    asked: BTreeSet<(ShardId, u32)>,
}

/// Where a shard must have come before rosters go to it.
struct Mark {
    /// Events that it must have taken.
    sent: u64,
    until: Instant,
}

impl PendingRosters {
    /// Users have joined a room that is on these shards.
    pub(super) fn joined(&mut self, room: u32, shards: Shards, output: &Output, now: Instant) {
        let Entry::Vacant(entry) = self.joined.entry(room) else { return };
        entry.insert(shards);
        for shard in members(shards) {
            let mark = || Mark { sent: output.sent(shard), until: now + LONGEST };
            self.marks.entry(shard).or_insert_with(mark);
        }
    }

    /// A shard has lost events of a room.
    pub(super) fn asked(&mut self, shard: ShardId, room: u32) {
        self.asked.insert((shard, room));
    }

    /// When to look again.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.joined.is_empty() && self.asked.is_empty();
        (!is_idle).then(|| now + STEP)
    }

    /// Takes the rooms that users have joined and whose shards have come far enough.
    pub(super) fn take_joined(&mut self, output: &Output, now: Instant) -> Vec<u32> {
        let mut come: Shards = 0;
        self.marks.retain(|&shard, mark| {
            let is_there = mark.until <= now || output.taken(shard) >= mark.sent;
            come |= Shards::from(is_there) << shard;
            !is_there
        });
        let mut rooms = Vec::new();
        if come != 0 {
            self.joined.retain(|&room, left| {
                *left &= !come;
                if *left == 0 {
                    rooms.push(room);
                }
                *left != 0
            });
        }
        rooms
    }

    /// Takes a roster that was asked for, and for which the shard has room.
    pub(super) fn take_asked(&mut self, output: &Output) -> Option<(ShardId, u32)> {
        let mut from = 0;
        while let Some(&next) = self.asked.range((from, 0)..).next() {
            if output.has_room(next.0) {
                self.asked.remove(&next);
                return Some(next);
            }
            from = next.0 + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Beyond, PresenceEvent, RingLimits, RingReceiver, Roster, ring},
        channel::ChannelName,
        upstream::presence::output::only,
    };
    use std::{num::NonZeroUsize, sync::Arc};

    /// Two shards, with room for so many events.
    fn shards(events: usize) -> (Output, [RingReceiver<PresenceEvent>; 2]) {
        let limits = RingLimits {
            events: NonZeroUsize::new(events).unwrap(),
            bytes: NonZeroUsize::MAX,
            beyond: Beyond::DropOldest,
        };
        let [(one, its), (other, others)] = [ring(limits), ring(limits)];
        (Output::new(vec![one, other]), [its, others])
    }

    fn tell(output: &mut Output, shard: ShardId) {
        let roster = Roster { room: ChannelName::new("chat:7"), count: 1, users: None };
        let event = PresenceEvent::Roster { roster: Arc::new(roster), users: None };
        output.send(only(shard), &event);
        output.flush();
    }

    #[test]
    fn who_joins_while_a_shard_of_the_room_is_behind_waits_for_it_and_nobody_else_does() {
        let (mut output, [mut first, mut second]) = shards(100);
        let (mut rosters, now) = (PendingRosters::default(), Instant::now());
        rosters.joined(7, 0b11, &output, now);
        assert_eq!(rosters.take_joined(&output, now), [7], "no shard is behind");
        tell(&mut output, 0);
        for (room, shards) in [(7, 0b11), (8, 0b10), (9, 0b01)] {
            rosters.joined(room, shards, &output, now);
        }
        assert_eq!(rosters.take_joined(&output, now), [8]);
        // What comes later is not waited for, but by a room that is joined later.
        tell(&mut output, 0);
        tell(&mut output, 1);
        rosters.joined(8, 0b10, &output, now);
        assert!(rosters.take_joined(&output, now).is_empty());
        assert!(first.try_recv().is_some());
        assert_eq!(rosters.take_joined(&output, now), [7, 9]);
        assert!(second.try_recv().is_some());
        assert_eq!(rosters.take_joined(&output, now), [8]);
        assert_eq!(rosters.deadline(now), None);
    }

    #[test]
    fn a_shard_that_stands_still_is_not_waited_for_longer_than_half_a_second() {
        let (mut output, _shards) = shards(100);
        let (mut rosters, now) = (PendingRosters::default(), Instant::now());
        tell(&mut output, 1);
        rosters.joined(7, 0b10, &output, now);
        assert!(rosters.take_joined(&output, now + LONGEST - STEP).is_empty());
        assert_eq!(rosters.deadline(now), Some(now + STEP));
        assert_eq!(rosters.take_joined(&output, now + LONGEST), [7]);
    }

    #[test]
    fn what_a_shard_asks_for_is_sent_once_and_only_as_it_has_room() {
        let (mut output, [mut first, _second]) = shards(4);
        let mut rosters = PendingRosters::default();
        for room in 0..4 {
            (0..2).for_each(|_| rosters.asked(0, room));
        }
        rosters.asked(1, 9);
        for room in 0..2 {
            assert_eq!(rosters.take_asked(&output), Some((0, room)));
            tell(&mut output, 0);
        }
        assert_eq!(rosters.take_asked(&output), Some((1, 9)), "another shard has room");
        assert_eq!(rosters.take_asked(&output), None, "half of the ring is full");
        assert!(first.try_recv().is_some());
        assert_eq!(rosters.take_asked(&output), Some((0, 2)));
    }
}
