//! One room: its users here, what is known of the others, and what is due for it. It sends nothing by itself;
//! what shards are to be told goes into the [`Output`].

use super::{names::Announcement, output::Output, view::Users};
use crate::{
    bus::{Change, PresenceEvent, PresenceRules, Roster, ShardId},
    channel::ChannelName,
    upstream::shard_queues::Shards,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Announcements that are kept while a roster is read. When there are more, it is read again.
const MOST_HELD_BACK: usize = 4_096;

/// Shortest time between two counts that the clients of a large room are sent.
const COUNT_PAUSE: Duration = Duration::from_secs(1);

/// How long after its deadline, by our clock, a user is swept.
pub(super) const LATE: Duration = Duration::from_millis(5);

/// How long after a `sync` the roster is read, so that other instances can repair theirs first.
pub(super) const SYNC_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Room {
    pub(super) name: ChannelName,
    pub(super) rules: PresenceRules,
    /// Shards that have sessions here, or had.
    pub(super) shards: Shards,
    pub(super) users: Users,
    pub(super) view: View,
    /// Users to join.
    pub(super) to_join: Vec<Arc<str>>,
    pub(super) leaving: Vec<Leaving>,
    /// Announcements that came since the roster was asked for; applied to it when it is here.
    held_back: Vec<Announcement>,
    reading: Reading,
    /// The incarnation of the room that was seen last in Redis, hashed.
    pub(super) incarnation: Option<u64>,
    pub(super) subscription: Subscription,
    pub(super) roster_due: Option<Instant>,
    pub(super) refresh_at: Instant,
    /// Its entry among the timers of all rooms.
    pub(super) timer: Option<Instant>,
    /// Whether it is among those for which something is due.
    pub(super) is_ready: bool,
    /// After an error that concerns it alone nothing is asked for it before.
    pub(super) not_before: Option<Instant>,
    /// All of its users are to be put back.
    pub(super) repairs: bool,
    /// Members whose deadline has passed are to be swept.
    pub(super) sweeps: bool,
    /// Commands whose answers are awaited.
    pub(super) in_flight: u32,
}

/// What clients of this instance are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing yet.
    Unknown,
    Listed,
    /// There are too many for a list.
    Counted {
        count: usize,
        told: usize,
        next: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    No,
    Yes,
    /// There were more than [`MOST_HELD_BACK`] announcements.
    Overrun,
}

/// Whether the room's announcements are subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscription {
    None,
    /// Asked for by the batch of requests with this number.
    Asked(u64),
    Confirmed,
}

/// A user whose last session here has ended.
#[derive(Debug)]
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

/// What a roster's answer said.
pub(super) enum Read {
    Listed(Vec<String>),
    Counted(usize),
}

impl Room {
    pub(super) fn new(name: ChannelName, rules: PresenceRules, now: Instant) -> Self {
        Self {
            name,
            rules,
            shards: 0,
            users: Users::default(),
            view: View::Unknown,
            to_join: Vec::new(),
            leaving: Vec::new(),
            held_back: Vec::new(),
            reading: Reading::No,
            incarnation: None,
            subscription: Subscription::None,
            roster_due: None,
            refresh_at: now + rules.ttl / 3,
            timer: None,
            is_ready: false,
            not_before: None,
            repairs: false,
            sweeps: false,
            in_flight: 0,
        }
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.users.held() == 0
            && self.leaving.is_empty()
            && self.in_flight == 0
            && self.subscription == Subscription::None
            && !self.sweeps
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        let holds = self.users.held() > 0;
        let roster = self.roster_due.filter(|_| {
            self.reading == Reading::No && self.subscription == Subscription::Confirmed
        });
        // One that Redis does not know yet is looked at when it answers.
        let told = self.leaving.iter().filter(|it| it.told == Told::Yes);
        let leaving = told.map(|it| it.until + LATE).min();
        let next = [roster, Some(self.refresh_at).filter(|_| holds), leaving].into_iter().flatten();
        let put_off = self.not_before.filter(|_| self.repairs || self.sweeps);
        let next = next.chain(put_off).min()?;
        Some(self.not_before.map_or(next, |not_before| next.max(not_before)))
    }

    /// A session enters. `true`: the user is to be joined.
    pub(super) fn enter(&mut self, shard: ShardId, user: &Arc<str>, output: &mut Output) -> bool {
        self.shards |= super::output::only(shard);
        if self.users.enter(user) {
            self.leaving.retain(|it| it.user != *user);
            self.to_join.push(Arc::clone(user));
            return true;
        }
        if self.users.is_joined(user) {
            self.welcome(user, output);
        }
        false
    }

    /// A session leaves. `true`: it was the user's last one here.
    pub(super) fn exit(&mut self, user: &Arc<str>, now: Instant) -> bool {
        if !self.users.exit(user) {
            return false;
        }
        let until = now + self.rules.leave_after;
        self.leaving.push(Leaving { user: Arc::clone(user), until, told: Told::No });
        if self.users.held() == 0 {
            self.forget();
        }
        true
    }

    /// No session here is in the room any more.
    fn forget(&mut self) {
        (self.view, self.incarnation, self.roster_due) = (View::Unknown, None, None);
        (self.held_back, self.shards) = (Vec::new(), 0);
        self.users.forget_list();
        self.repairs = false;
    }

    /// The link is lost: no answers will come, and all users here are to be put back.
    pub(super) fn link_lost(&mut self) {
        self.in_flight = 0;
        self.reading = Reading::No;
        self.held_back = Vec::new();
        self.not_before = None;
        if self.users.held() > 0 {
            self.repairs = true;
            self.roster_due = Some(Instant::now());
        }
        for leaving in &mut self.leaving {
            if leaving.told == Told::Asked {
                leaving.told = Told::No;
            }
        }
    }

    /// Announcements may have been missed until now.
    pub(super) fn announcements_missed(&mut self, now: Instant) {
        if self.users.held() > 0 {
            self.repairs = true;
            self.read_roster_at(now + SYNC_PAUSE);
        }
    }

    /// Schedules reading the roster at this moment, unless it is due earlier.
    pub(super) fn read_roster_at(&mut self, at: Instant) {
        self.roster_due = Some(self.roster_due.map_or(at, |due| due.min(at)));
    }

    /// Redis has named the room's incarnation.
    pub(super) fn knows(&mut self, incarnation: u64, now: Instant) {
        if self.users.held() == 0 {
            return;
        }
        if self.incarnation.is_some_and(|known| known != incarnation) {
            self.read_roster_at(now + SYNC_PAUSE);
        }
        self.incarnation = Some(incarnation);
    }

    // ---- what is known of who is there ----

    /// Users up to which the next roster is to be a list.
    pub(super) fn list_limit(&self) -> usize {
        match self.view {
            // Fewer than nine tenths of `roster`.
            View::Counted { .. } => (self.rules.roster * 9).div_ceil(10).saturating_sub(1),
            View::Unknown | View::Listed => self.rules.roster,
        }
    }

    /// Redis has taken a user, and says how many there are.
    pub(super) fn joined(&mut self, user: &Arc<str>, count: usize, now: Instant, out: &mut Output) {
        self.users.joined(user);
        match &mut self.view {
            View::Unknown => return,
            View::Listed => {
                if self.users.is_held(user) {
                    self.list(user, out);
                }
            }
            View::Counted { count: known, next, .. } => {
                let next = *next;
                *known = count;
                self.read_roster_at(next.max(now));
            }
        }
        self.welcome(user, out);
    }

    pub(super) fn announced(&mut self, news: Announcement, now: Instant, output: &mut Output) {
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
        match self.view {
            View::Unknown => {}
            View::Listed => self.apply(&news, output),
            View::Counted { next, .. } => self.read_roster_at(next.max(now)),
        }
        if self.reading == Reading::Yes {
            self.held_back.push(news);
            if self.held_back.len() > MOST_HELD_BACK {
                (self.reading, self.held_back) = (Reading::Overrun, Vec::new());
            }
        }
    }

    fn apply(&mut self, news: &Announcement, output: &mut Output) {
        match news {
            // The list has been given up: too many users.
            _ if self.view != View::Listed => {}
            Announcement::Join(user) => self.list(user, output),
            Announcement::Leave(user) => {
                if let Some(user) = self.users.strike(user) {
                    self.tell_change(user, false, output);
                }
            }
            Announcement::Sync => {}
        }
    }

    fn list(&mut self, user: &str, output: &mut Output) {
        let Some(user) = self.users.list(user) else { return };
        if self.users.listed() > self.rules.roster {
            let count = self.users.listed();
            self.count(count, Instant::now());
            self.tell_roster(None, output);
        } else {
            self.tell_change(user, true, output);
        }
    }

    fn count(&mut self, count: usize, now: Instant) {
        self.users.forget_list();
        self.view = View::Counted { count, told: count, next: now + COUNT_PAUSE };
    }

    /// A roster was asked for: from now on announcements are held back for it.
    pub(super) fn reading_begins(&mut self) {
        (self.reading, self.roster_due) = (Reading::Yes, None);
        self.held_back = Vec::new();
    }

    /// The roster could not be read.
    pub(super) fn reading_failed(&mut self, again: Instant) {
        if self.reading != Reading::No {
            (self.reading, self.held_back) = (Reading::No, Vec::new());
            self.read_roster_at(again);
        }
    }

    /// The roster that was asked for is here.
    pub(super) fn read(&mut self, read: &Read, now: Instant, output: &mut Output) {
        let held_back = std::mem::take(&mut self.held_back);
        if std::mem::replace(&mut self.reading, Reading::No) == Reading::Overrun {
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
                let shards = std::mem::take(&mut self.shards);
                held_back.iter().for_each(|news| self.apply(news, &mut untold));
                self.shards = shards;
                self.tell_roster(None, output);
            }
            Read::Counted(count) => match self.view {
                View::Counted { told, next, .. } if told == *count => {
                    self.view = View::Counted { count: *count, told, next };
                }
                _ => {
                    self.count(*count, now);
                    self.tell_roster(None, output);
                }
            },
        }
    }

    // ---- what shards are told ----

    fn roster(&self) -> Option<Arc<Roster>> {
        let room = self.name.clone();
        let roster = match self.view {
            View::Unknown => return None,
            View::Listed => {
                let users = self.users.roster();
                Roster { room, count: users.len(), users: Some(users) }
            }
            View::Counted { count, .. } => Roster { room, count, users: None },
        };
        Some(Arc::new(roster))
    }

    /// Sends the roster to all sessions of the room, or to those of one user that have had none.
    fn tell_roster(&self, user: Option<&Arc<str>>, output: &mut Output) {
        if let Some(roster) = self.roster() {
            let user = user.map(Arc::clone);
            output.send(self.shards, &PresenceEvent::Roster { roster, user });
        }
    }

    fn welcome(&self, user: &Arc<str>, output: &mut Output) {
        self.tell_roster(Some(user), output);
    }

    /// Sends the roster to a shard that has lost events.
    pub(super) fn tell_again(&self, shard: ShardId, output: &mut Output) {
        if let Some(roster) = self.roster() {
            let event = PresenceEvent::Roster { roster, user: None };
            output.send(super::output::only(shard), &event);
        }
    }

    fn tell_change(&self, user: Arc<str>, is_join: bool, output: &mut Output) {
        let change = Change { room: self.name.clone(), user, is_join };
        output.send(self.shards, &PresenceEvent::Change(Arc::new(change)));
    }
}

#[cfg(test)]
mod tests;
