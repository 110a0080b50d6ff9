//! One room: its users here, what is known of the others, and what is due for it. It sends nothing by itself;
//! what shards are to be told goes into the [`Output`](super::output::Output).

use super::{
    output::only,
    under_way::{Leaving, Reading, Steps, Told, UnderWay},
    users::Users,
};
use crate::{
    bus::{PresenceRules, ShardId},
    channel::ChannelName,
    upstream::shard_queues::Shards,
};
use std::{mem, num::NonZeroU64, sync::Arc, time::Duration};
use tokio::time::Instant;

mod known;

pub(super) use known::Read;

/// Every fourth refresh also keeps the room's keys from expiring, and looks for what a dead instance left.
pub(super) const REFRESHES_PER_KEEP: u8 = 4;

/// How long after its deadline, by our clock, a user is swept.
pub(super) const LATE: Duration = Duration::from_millis(5);

/// How long after a `sync` the roster is read, so that other instances can repair theirs first.
pub(super) const SYNC_PAUSE: Duration = Duration::from_millis(500);

/// Small on purpose: there may be one for two sessions.
pub(super) struct Room {
    pub(super) name: ChannelName,
    pub(super) rules: Arc<PresenceRules>,
    /// Shards that have sessions here, or had.
    pub(super) shards: Shards,
    pub(super) users: Users,
    pub(super) view: View,
    pub(super) under_way: UnderWay,
    /// The incarnation of the room that was seen last in Redis, hashed.
    incarnation: Option<NonZeroU64>,
    pub(super) refresh_at: Instant,
    /// Its entry among the timers of all rooms.
    pub(super) timer: Option<Instant>,
    /// Commands whose answers are awaited.
    pub(super) in_flight: u32,
    pub(super) subscription: Subscription,
    /// Refreshes before the next that also keeps the keys.
    pub(super) until_keep: u8,
    /// Whether it is among those for which something is due.
    pub(super) is_ready: bool,
    /// All of its users are to be put back.
    pub(super) repairs: bool,
    /// Members whose deadline has passed are to be swept.
    pub(super) sweeps: bool,
}

/// What clients of this instance are shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing yet.
    Unknown,
    Listed,
    /// There are too many for a list.
    Counted(Box<Count>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    count: usize,
    told: usize,
    next: Instant,
}

/// Whether the room's announcements are subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscription {
    None,
    /// Asked for by the batch of requests that is under way.
    Asked,
    Confirmed,
}

impl Room {
    pub(super) fn new(name: ChannelName, rules: Arc<PresenceRules>, refresh_at: Instant) -> Self {
        Self {
            name,
            rules,
            shards: 0,
            users: Users::default(),
            view: View::Unknown,
            under_way: UnderWay::default(),
            incarnation: None,
            refresh_at,
            timer: None,
            in_flight: 0,
            subscription: Subscription::None,
            until_keep: fastrand::u8(..REFRESHES_PER_KEEP),
            is_ready: false,
            repairs: false,
            sweeps: false,
        }
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.users.held() == 0
            && self.under_way.leaving.is_empty()
            && self.in_flight == 0
            && self.subscription == Subscription::None
            && !self.sweeps
    }

    /// When something is due next.
    pub(super) fn due(&self) -> Option<Instant> {
        let Steps { to_join, leaving, reading, roster_due, not_before, .. } = &*self.under_way;
        let refresh = Some(self.refresh_at).filter(|_| self.users.held() > 0);
        let may_read = *reading == Reading::No && self.subscription == Subscription::Confirmed;
        let roster = roster_due.filter(|_| may_read);
        // One that Redis does not know yet is looked at when it answers.
        let told = leaving.iter().filter(|it| it.told == Told::Yes);
        let sweep = told.map(|it| it.until + LATE).min();
        let is_untold = !to_join.is_empty() || leaving.iter().any(|it| it.told == Told::No);
        let put_off = not_before.filter(|_| is_untold || self.repairs || self.sweeps);
        let next = [refresh, roster, sweep, put_off].into_iter().flatten().min()?;
        Some(not_before.map_or(next, |not_before| next.max(not_before)))
    }

    /// Takes the rules that a session came with. `true`: they are others, and something is due.
    pub(super) fn take_rules(&mut self, rules: &Arc<PresenceRules>, now: Instant) -> bool {
        if self.rules == *rules {
            return false;
        }
        self.rules = Arc::clone(rules);
        self.repairs = true;
        self.read_roster_at(now);
        true
    }

    /// A session enters. `true`: the user is to be joined.
    pub(super) fn enter(&mut self, shard: ShardId, user: &Arc<str>) -> bool {
        self.shards |= only(shard);
        if self.users.enter(user) {
            self.under_way.leaving.retain(|it| it.user != *user);
            self.under_way.to_join.push(Arc::clone(user));
            return true;
        }
        if self.users.is_joined(user) {
            self.under_way.to_welcome.push(Arc::clone(user));
        }
        false
    }

    /// A session leaves. `true`: it was the user's last one here.
    pub(super) fn exit(&mut self, user: &Arc<str>, now: Instant) -> bool {
        if !self.users.exit(user) {
            return false;
        }
        let until = now + self.rules.leave_after;
        self.under_way.leaving.push(Leaving { user: Arc::clone(user), until, told: Told::No });
        if self.users.held() == 0 {
            self.forget();
        }
        true
    }

    /// No session here is in the room any more.
    fn forget(&mut self) {
        (self.view, self.incarnation, self.shards) = (View::Unknown, None, 0);
        (self.under_way.roster_due, self.under_way.held_back) = (None, Vec::new());
        self.under_way.to_welcome = Vec::new();
        self.users.forget_list();
        self.repairs = false;
    }

    /// The link is lost: no answers will come, and all users here are to be put back.
    pub(super) fn link_lost(&mut self) {
        self.in_flight = 0;
        let under_way = &mut *self.under_way;
        (under_way.reading, under_way.held_back) = (Reading::No, Vec::new());
        under_way.not_before = None;
        for leaving in under_way.leaving.iter_mut().filter(|it| it.told == Told::Asked) {
            leaving.told = Told::No;
        }
        if self.users.held() > 0 {
            self.repairs = true;
            self.under_way.roster_due = Some(Instant::now());
        }
    }

    /// While Redis takes nothing: forgets who has left so long ago that Redis has them no more either. Returns how
    /// many of these it was never told of.
    pub(super) fn forget_gone(&mut self, now: Instant) -> usize {
        let Steps { to_join, leaving, .. } = &*self.under_way;
        if to_join.is_empty() && leaving.is_empty() {
            return 0;
        }
        let (users, ttl, mut untold) = (&self.users, self.rules.ttl, 0);
        let Steps { to_join, leaving, .. } = &mut *self.under_way;
        leaving.retain(|it| {
            let is_gone = it.until + ttl <= now;
            untold += usize::from(is_gone && it.told != Told::Yes);
            !is_gone
        });
        to_join.retain(|user| users.is_held(user));
        to_join.sort_unstable();
        to_join.dedup();
        self.sweeps &= self.users.held() > 0;
        self.under_way.free_if_idle();
        untold
    }

    /// Announcements may have been missed until now.
    pub(super) fn announcements_missed(&mut self, now: Instant) {
        if self.users.held() > 0 {
            self.repairs = true;
            self.read_roster_at(now + SYNC_PAUSE);
        }
    }

    /// Its announcements are subscribed, as of this batch of requests. `true`: that is news, and the roster is to
    /// be read. An older batch than the one that asked speaks of a subscription that was given up.
    pub(super) fn subscribed(&mut self, read_up_to: u64, now: Instant) -> bool {
        if self.subscription != Subscription::Asked || self.under_way.asked_by > read_up_to {
            return false;
        }
        self.subscription = Subscription::Confirmed;
        self.under_way.asked_by = 0;
        self.read_roster_at(now);
        true
    }

    /// Schedules reading the roster at this moment, unless it is due earlier.
    pub(super) fn read_roster_at(&mut self, at: Instant) {
        self.under_way.roster_due = Some(self.under_way.roster_due.map_or(at, |due| due.min(at)));
    }

    /// Puts off a roster that is due, where clients have one: other instances may not have put back their users yet.
    pub(super) fn put_off_roster(&mut self, until: Instant) {
        if self.view != View::Unknown
            && let Some(due) = self.under_way.roster_due
        {
            self.under_way.roster_due = Some(due.max(until));
        }
    }

    /// Redis has named the room's incarnation.
    pub(super) fn knows(&mut self, incarnation: u64, now: Instant) {
        if self.users.held() == 0 {
            return;
        }
        let incarnation = Some(NonZeroU64::MIN | incarnation);
        let before = mem::replace(&mut self.incarnation, incarnation);
        if before.is_some() && before != incarnation {
            self.read_roster_at(now + SYNC_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests;
