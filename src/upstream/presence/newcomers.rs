//! Rooms that have users to whom the roster is due. All who come to a room while a shard is still busy with what
//! it was told before share one: they would have to wait as long for one of their own behind it, and rosters for
//! each few of a thousand who come at once are the most of the work.

use super::output::Output;
use std::{collections::BTreeSet, mem, time::Duration};
use tokio::time::Instant;

/// The longest that a shard that stands still is waited for.
const LONGEST: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(super) struct Newcomers {
    rooms: BTreeSet<u32>,
    /// What had been sent to each shard when the first of them came, and until when that is waited for.
    since: Option<(Vec<u64>, Instant)>,
}

impl Newcomers {
    pub(super) fn add(&mut self, room: u32, output: &Output, now: Instant) {
        self.rooms.insert(room);
        self.since.get_or_insert_with(|| (output.sent(), now + LONGEST));
    }

    pub(super) fn are_there(&self) -> bool {
        !self.rooms.is_empty()
    }

    /// Takes all rooms, once no shard is behind.
    pub(super) fn take(&mut self, output: &Output, now: Instant) -> BTreeSet<u32> {
        let is_due =
            |(sent, until): &mut (Vec<u64>, Instant)| *until <= now || output.is_taken(sent);
        match self.since.take_if(is_due) {
            Some(_) => mem::take(&mut self.rooms),
            None => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Beyond, PresenceEvent, RingLimits, Roster, ring},
        channel::ChannelName,
    };
    use std::{num::NonZeroUsize, sync::Arc};

    #[test]
    fn who_comes_while_a_shard_is_behind_waits_for_it_but_not_for_ever() {
        let limits = RingLimits {
            events: NonZeroUsize::new(100).unwrap(),
            bytes: NonZeroUsize::MAX,
            beyond: Beyond::KeepAll,
        };
        let (sender, mut shard) = ring(limits);
        let mut output = Output::new(vec![sender]);
        let roster = Roster { room: ChannelName::new("chat:7"), count: 1, users: None };
        let event = PresenceEvent::Roster { roster: Arc::new(roster), users: None };
        let (mut newcomers, now) = (Newcomers::default(), Instant::now());
        let add = |newcomers: &mut Newcomers, output: &mut Output, room| {
            newcomers.add(room, output, now);
            // What belongs to the newcomer itself is not waited for.
            output.send(1, &event);
            output.flush();
        };
        add(&mut newcomers, &mut output, 7);
        assert_eq!(newcomers.take(&output, now), BTreeSet::from([7]), "nothing is before it");
        for room in [7, 8, 7] {
            add(&mut newcomers, &mut output, room);
        }
        assert!(newcomers.take(&output, now).is_empty());
        assert!(shard.try_recv().is_some());
        assert_eq!(newcomers.take(&output, now), BTreeSet::from([7, 8]));
        assert!(!newcomers.are_there());
        add(&mut newcomers, &mut output, 9);
        assert!(newcomers.take(&output, now + LONGEST - Duration::from_millis(1)).is_empty());
        assert_eq!(newcomers.take(&output, now + LONGEST), BTreeSet::from([9]));
    }
}
