//! Channels whose SUBSCRIBE failed for a reason that passes (BUSY, LOADING …): asked for again after
//! a pause, a few commands at a time.
//!
//! Such an error may yet be about one channel alone, which then keeps the others of its command from
//! being confirmed. So the largest command is halved each time, until that channel stands alone.
//!
//! Pure: it sends nothing and reads no clock.

use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Between an error and the next attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// Commands in one attempt, and one more for a half.
const COMMANDS: usize = 64;

/// What is to be asked again on one link. Channels are named as Redis knows them.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    commands: VecDeque<Vec<Box<str>>>,
    /// `None` when there is nothing to ask.
    next: Option<Instant>,
}

impl PutOff {
    /// Takes the channels of a command that has failed.
    pub(super) fn add(&mut self, channels: Vec<Box<str>>, now: Instant) {
        self.commands.push_back(channels);
        self.next.get_or_insert(now + PAUSE);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// When [`PutOff::take_due`] has something next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Takes what is to be asked now: the channels of each command.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Vec<Box<str>>> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let count = self.commands.len().min(COMMANDS);
        let mut due: Vec<_> = self.commands.drain(..count).collect();
        self.next = (!self.commands.is_empty()).then_some(now + PAUSE);
        if let Some(largest) = due.iter_mut().max_by_key(|channels| channels.len())
            && largest.len() > 1
        {
            let half = largest.split_off(largest.len() / 2);
            due.push(half);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(channels: usize) -> Vec<Box<str>> {
        (0..channels).map(|n| n.to_string().into()).collect()
    }

    #[test]
    fn nothing_is_asked_again_before_the_pause_is_over_and_the_largest_command_comes_in_halves() {
        let (mut put_off, now) = (PutOff::default(), Instant::now());
        assert_eq!(put_off.deadline(), None);
        put_off.add(command(1), now);
        put_off.add(command(9), now);
        assert_eq!(put_off.take_due(now), [] as [Vec<Box<str>>; 0]);
        assert_eq!(put_off.deadline(), Some(now + PAUSE));
        let due = put_off.take_due(now + PAUSE);
        assert_eq!(due.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4, 5]);
        assert!(put_off.is_empty());
        assert_eq!(put_off.deadline(), None);
    }

    #[test]
    fn many_commands_are_asked_again_a_few_at_a_time() {
        let (mut put_off, now) = (PutOff::default(), Instant::now());
        (0..100).for_each(|_| put_off.add(command(1), now));
        assert_eq!(put_off.take_due(now + PAUSE).len(), COMMANDS);
        assert_eq!(put_off.take_due(now + PAUSE).len(), 0);
        assert_eq!(put_off.take_due(now + 2 * PAUSE).len(), 100 - COMMANDS);
    }
}
