//! What is known of who is in a room, and what shards are told of it.

use super::{Count, Room, View};
use crate::{
    bus::{Change, PresenceEvent, Roster, ShardId},
    upstream::presence::{
        names::Announcement,
        output::{Output, only},
        under_way::Reading,
    },
};
use std::{mem, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Announcements that are kept while a roster is read. When there are more, it is read again.
pub(super) const MOST_HELD_BACK: usize = 4_096;

/// Shortest time between two counts that the clients of a large room are sent.
const COUNT_PAUSE: Duration = Duration::from_secs(1);

/// What a roster's answer said.
pub(in crate::upstream::presence) enum Read {
    Listed(Vec<String>),
    Counted(usize),
}

impl Room {
    /// Users up to which the next roster is to be a list.
    pub(in crate::upstream::presence) fn list_limit(&self) -> usize {
        match self.view {
            // Fewer than nine tenths of `roster`.
            View::Counted(_) => (self.rules.roster * 9).div_ceil(10).saturating_sub(1),
            View::Unknown | View::Listed => self.rules.roster,
        }
    }

    /// Whether users of other instances may be there, of which one may have died. Its entry of a user who is
    /// held here, too, is swept later: nobody is shown it.
    pub(in crate::upstream::presence) fn may_have_others(&self) -> bool {
        self.view != View::Listed || self.users.listed() > self.users.held() as usize
    }

    /// Redis has taken users, and says how many there are.
    pub(in crate::upstream::presence) fn joined(
        &mut self,
        users: &[Arc<str>],
        count: usize,
        now: Instant,
        output: &mut Output,
    ) {
        let users: Vec<_> = users.iter().filter(|user| self.users.joined(user)).cloned().collect();
        match &mut self.view {
            View::Unknown => return,
            View::Listed => {
                users.iter().for_each(|user| self.list(user, output));
            }
            View::Counted(known) => {
                known.count = count;
                let next = known.next;
                self.read_roster_at(next.max(now));
            }
        }
        if !users.is_empty() {
            self.under_way.to_welcome.extend(users);
        }
    }

    pub(in crate::upstream::presence) fn announced(
        &mut self,
        news: Announcement,
        now: Instant,
        output: &mut Output,
    ) {
        if self.users.held() == 0 {
            return;
        }
        if news == Announcement::Sync {
            return self.announcements_missed(now);
        }
        if let Announcement::Leave(user) = &news
            && self.users.is_joined(user)
        {
            // Another instance took us for dead and swept our user.
            self.repairs = true;
        }
        match &self.view {
            View::Unknown => {}
            View::Listed => self.apply(&news, output),
            View::Counted(known) => self.read_roster_at(known.next.max(now)),
        }
        if self.under_way.reading == Reading::Yes {
            let under_way = &mut *self.under_way;
            under_way.held_back.push(news);
            if under_way.held_back.len() > MOST_HELD_BACK {
                (under_way.reading, under_way.held_back) = (Reading::Overrun, Vec::new());
            }
        }
    }

    fn apply(&mut self, news: &Announcement, output: &mut Output) {
        match news {
            Announcement::Join(user) => self.list(user, output),
            // The user is here, and is put back into Redis.
            Announcement::Leave(user) if self.users.is_joined(user) => {}
            Announcement::Leave(user) => {
                // Nobody is listed where the list has been given up.
                if let Some(user) = self.users.strike(user) {
                    self.tell_change(user, false, output);
                }
            }
            Announcement::Sync => {}
        }
    }

    fn list(&mut self, user: &str, output: &mut Output) {
        // The list may have been given up a moment ago: too many users.
        if self.view != View::Listed {
            return;
        }
        let Some(user) = self.users.list(user) else { return };
        if self.users.listed() > self.rules.roster {
            let (count, now) = (self.users.listed(), Instant::now());
            self.count(count, now);
            self.tell_roster(output);
            // Announcements that follow are only in the next count.
            self.read_roster_at(now + COUNT_PAUSE);
        } else {
            self.tell_change(user, true, output);
        }
    }

    fn count(&mut self, count: usize, now: Instant) {
        self.users.forget_list();
        self.view = View::Counted(Box::new(Count { count, told: count, next: now + COUNT_PAUSE }));
    }

    /// A roster was asked for: from now on announcements are held back for it.
    pub(in crate::upstream::presence) fn reading_begins(&mut self) {
        (self.under_way.reading, self.under_way.roster_due) = (Reading::Yes, None);
        self.under_way.held_back = Vec::new();
    }

    /// The roster could not be read.
    pub(in crate::upstream::presence) fn reading_failed(&mut self, again: Instant) {
        if self.under_way.reading != Reading::No {
            (self.under_way.reading, self.under_way.held_back) = (Reading::No, Vec::new());
            self.read_roster_at(again);
        }
    }

    /// The roster that was asked for is here.
    pub(in crate::upstream::presence) fn read(
        &mut self,
        read: &Read,
        now: Instant,
        output: &mut Output,
    ) {
        let held_back = mem::take(&mut self.under_way.held_back);
        if mem::replace(&mut self.under_way.reading, Reading::No) == Reading::Overrun {
            return self.read_roster_at(now);
        }
        if self.users.held() == 0 {
            return;
        }
        match read {
            Read::Listed(users) => {
                self.users.set_list(users.iter().map(String::as_str));
                self.view = View::Listed;
                let mut untold = Output::new(Vec::new());
                let shards = mem::take(&mut self.shards);
                held_back.iter().for_each(|news| self.apply(news, &mut untold));
                self.shards = shards;
                self.tell_roster(output);
            }
            Read::Counted(count) => match &mut self.view {
                // Users who have joined since may have been told another count.
                View::Counted(known) if (known.told, known.count) == (*count, *count) => {}
                _ => {
                    self.count(*count, now);
                    self.tell_roster(output);
                }
            },
        }
        if matches!(read, Read::Counted(_)) && !held_back.is_empty() {
            // Nobody can say whether the count has them.
            self.read_roster_at(now + COUNT_PAUSE);
        }
    }

    // ---- what shards are told ----

    fn roster(&self) -> Option<Arc<Roster>> {
        let room = self.name.clone();
        let roster = match &self.view {
            View::Unknown => return None,
            View::Listed => {
                let users = self.users.roster();
                Roster { room, count: users.len(), users: Some(users) }
            }
            View::Counted(known) => Roster { room, count: known.count, users: None },
        };
        Some(Arc::new(roster))
    }

    /// Sends the roster to all sessions of the room.
    fn tell_roster(&mut self, output: &mut Output) {
        if let Some(roster) = self.roster() {
            // Whoever waits for one gets this one.
            self.under_way.take_to_welcome();
            output.send(self.shards, &PresenceEvent::Roster { roster, users: None });
        }
    }

    /// Whether there are users to whom the roster is due.
    pub(in crate::upstream::presence) fn owes_rosters(&self) -> bool {
        !self.under_way.to_welcome.is_empty()
    }

    /// Sends the roster to those sessions of users who have joined that have had none: one for all of them.
    pub(in crate::upstream::presence) fn welcome(&mut self, output: &mut Output) {
        let mut users = self.under_way.take_to_welcome();
        if users.is_empty() {
            return;
        }
        if let Some(roster) = self.roster() {
            users.sort_unstable();
            users.dedup();
            let users = Some(users.into());
            output.send(self.shards, &PresenceEvent::Roster { roster, users });
        }
    }

    /// Sends the roster to a shard that has lost events.
    pub(in crate::upstream::presence) fn tell_again(&self, shard: ShardId, output: &mut Output) {
        if let Some(roster) = self.roster() {
            let event = PresenceEvent::Roster { roster, users: None };
            output.send(only(shard), &event);
        }
    }

    fn tell_change(&self, user: Arc<str>, is_join: bool, output: &mut Output) {
        let change = Change { room: self.name.clone(), user, is_join };
        output.send(self.shards, &PresenceEvent::Change(Arc::new(change)));
    }
}
