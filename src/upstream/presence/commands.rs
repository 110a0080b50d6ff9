//! What is asked of Redis for a room, and what each answer belongs to.

use super::{
    clock::Clock,
    names::{Instance, Keys},
    room::{LATE, REFRESHES_PER_KEEP, Room, SYNC_PAUSE, Subscription},
    script::{Mode, SCRIPT},
    under_way::Told,
};
use crate::upstream::{link::CommandLink, patience::Patience};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Commands that may be unanswered before no more are sent for rooms.
const IN_FLIGHT: usize = 4_096;

/// Unanswered commands for which memory is kept.
const USUAL: usize = 64;

/// Refreshes are sent in waves: a command in a long pipeline costs Redis less than one in a short one.
const WAVE: Duration = Duration::from_millis(100);

/// Users in one command: Redis does nothing else meanwhile.
const CHUNK: usize = 1_000;

/// A command whose answer is awaited.
pub(super) enum Asked {
    Ping,
    Role,
    Load,
    Time(Instant),
    Room { room: u32, what: Part },
}

/// What was asked for a room, so that its answer can be read.
pub(super) enum Part {
    Script {
        mode: Mode,
        users: Vec<Arc<str>>,
    },
    /// The deadline of a user who has left.
    Deadline(Arc<str>),
    /// New deadlines for this many members.
    Touched(usize),
    /// Whether the hash of users exists.
    UsersKey,
    Ghosts,
    Nothing,
}

/// The connection's state beside the connection itself.
pub(super) struct Commands {
    asked: VecDeque<Asked>,
    pub(super) patience: Patience,
    pub(super) clock: Clock,
    /// The script's name in Redis; `None`: it is not loaded.
    pub(super) script: Option<String>,
    is_loading: bool,
    is_asking_time: bool,
    pub(super) next_ping: Instant,
    timeout: Duration,
    began: Instant,
    pub(super) instance: Instance,
    prefix: String,
}

impl Commands {
    pub(super) fn new(prefix: &str, timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            asked: VecDeque::new(),
            patience: Patience::new(timeout, now),
            clock: Clock::default(),
            script: None,
            is_loading: false,
            is_asking_time: false,
            next_ping: now,
            timeout,
            began: now,
            instance: Instance::random(),
            prefix: prefix.to_owned(),
        }
    }

    /// Begins anew on a new link, which may be to another server.
    pub(super) fn reset(&mut self, now: Instant) {
        self.asked.clear();
        self.patience = Patience::new(self.timeout, now);
        self.clock.forget();
        (self.script, self.is_loading, self.is_asking_time) = (None, false, false);
        self.next_ping = now;
    }

    pub(super) fn send(&mut self, link: &mut CommandLink, words: &[&[u8]], asked: Asked) {
        self.patience.asked(Instant::now());
        link.send(words);
        self.asked.push_back(asked);
    }

    /// Takes what was asked first, which is answered.
    pub(super) fn take_asked(&mut self) -> Option<Asked> {
        self.patience.answered();
        let asked = self.asked.pop_front();
        if self.asked.is_empty() && self.asked.capacity() > USUAL {
            self.asked = VecDeque::new();
        }
        asked
    }

    /// Whether more may be asked for rooms now; asks for what is missing for that.
    pub(super) fn can_ask(&mut self, link: &mut CommandLink, now: Instant) -> bool {
        if self.script.is_none() {
            if !std::mem::replace(&mut self.is_loading, true) {
                self.send(link, &[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()], Asked::Load);
            }
            return false;
        }
        if self.clock.milliseconds(now, now).is_none() {
            if !std::mem::replace(&mut self.is_asking_time, true) {
                self.send(link, &[b"TIME"], Asked::Time(now));
            }
            return false;
        }
        self.asked.len() < IN_FLIGHT
    }

    /// Whether Redis has what everything else needs.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.script.is_some() && self.clock.milliseconds(now, now).is_some()
    }

    pub(super) fn loaded(&mut self, script: Option<String>) {
        (self.script, self.is_loading) = (script, false);
    }

    pub(super) fn time_answered(&mut self) {
        self.is_asking_time = false;
    }

    /// Sends everything that is due for a room. Only after [`Commands::can_ask`] returned true.
    pub(super) fn work(&mut self, link: &mut CommandLink, key: u32, room: &mut Room, now: Instant) {
        if room.under_way.not_before.is_some_and(|not_before| now < not_before) {
            return;
        }
        if room.under_way.not_before.is_some() {
            room.under_way.not_before = None;
        }
        let mut asking = Asking { keys: Keys::of(&room.name, &self.prefix), key, link, now };
        self.leave(&mut asking, room);
        if room.users.held() > 0 {
            self.join(&mut asking, room);
            if room.refresh_at <= now {
                self.refresh(&mut asking, room);
            }
            let may_read = room.subscription == Subscription::Confirmed;
            if room.under_way.roster_due.is_some_and(|due| due <= now) && may_read {
                room.reading_begins();
                let limit = room.list_limit().to_string();
                self.script(&mut asking, room, Mode::Roster, &[limit], Vec::new());
            }
        }
    }

    /// Sweeps those whose deadline is past, after telling Redis the deadlines of users who have left.
    fn leave(&mut self, asking: &mut Asking<'_>, room: &mut Room) {
        if !room.under_way.leaving.is_empty() {
            self.tell_deadlines(asking, room);
            let (before, now) = (room.under_way.leaving.len(), asking.now);
            room.under_way.leaving.retain(|it| it.until + LATE > now || it.told != Told::Yes);
            let are_past = before != room.under_way.leaving.len();
            room.sweeps |= are_past && !room.rules.leave_after.is_zero();
        }
        if std::mem::take(&mut room.sweeps) {
            self.script(asking, room, Mode::Sweep, &[], Vec::new());
        }
    }

    fn tell_deadlines(&mut self, asking: &mut Asking<'_>, room: &mut Room) {
        for at in 0..room.under_way.leaving.len() {
            let leaving = &mut room.under_way.leaving[at];
            if leaving.told != Told::No {
                continue;
            }
            leaving.told = Told::Asked;
            let (user, until) = (Arc::clone(&leaving.user), leaving.until);
            let member = self.instance.member(&user);
            if room.rules.leave_after.is_zero() {
                self.script(asking, room, Mode::Leave, &[member], vec![user]);
                continue;
            }
            let deadline = self.clock.milliseconds(until, asking.now).unwrap_or_default();
            let (deadline, keys) = (deadline.to_string(), asking.keys.members.clone());
            let words = ["ZADD", &keys, "XX", &deadline, &member];
            self.ask(asking, room, &words, Part::Deadline(user));
        }
    }

    fn join(&mut self, asking: &mut Asking<'_>, room: &mut Room) {
        let to_join = room.under_way.take_to_join();
        let (mode, users) = match std::mem::take(&mut room.repairs) {
            true => (Mode::Repair, room.users.all_held().cloned().collect()),
            false => (Mode::Join, to_join),
        };
        for users in users.chunks(CHUNK) {
            // Skip users whose last session has ended meanwhile: their leaving has been sent.
            let users: Vec<_> = users.iter().filter(|it| room.users.is_held(it)).cloned().collect();
            let members: Vec<_> = users.iter().map(|user| self.instance.member(user)).collect();
            if !members.is_empty() {
                self.script(asking, room, mode, &members, users);
            }
        }
        if mode == Mode::Repair {
            room.refresh_at = self.first_refresh(asking.now, room.rules.ttl);
            room.put_off_roster(asking.now + SYNC_PAUSE);
        }
    }

    /// Extends the deadlines, and checks whether the room in Redis needs repair.
    fn refresh(&mut self, asking: &mut Asking<'_>, room: &mut Room) {
        let now = asking.now;
        let is_late = room.refresh_at + room.rules.ttl / 3 <= now;
        room.refresh_at = self.next_refresh(room.refresh_at, now, room.rules.ttl);
        let Some(redis_now) = self.clock.milliseconds(now, now) else { return };
        let deadline = (redis_now + room.rules.ttl.as_millis() as u64).to_string();
        let redis_now = redis_now.to_string();
        let Keys { members, users, .. } = &asking.keys;
        let (members, users) = (members.clone(), users.clone());
        let held: Vec<_> = room.users.all_held().map(|user| self.instance.member(user)).collect();
        for chunk in held.chunks(CHUNK) {
            let mut words = vec!["ZADD", &members, "XX", "CH"];
            words.extend(chunk.iter().flat_map(|member| [deadline.as_str(), member.as_str()]));
            self.ask(asking, room, &words, Part::Touched(chunk.len()));
        }
        let keeps = room.until_keep == 0 || is_late;
        if room.may_have_others() || keeps {
            self.ask(asking, room, &["ZCOUNT", &members, "-inf", &redis_now], Part::Ghosts);
        }
        if keeps {
            self.keep(asking, room, &members, &users);
            room.until_keep = REFRESHES_PER_KEEP;
        }
        room.until_keep -= 1;
    }

    /// Keeps the keys, whose time is twice the `ttl`, and checks that both are there.
    fn keep(&mut self, asking: &mut Asking<'_>, room: &mut Room, members: &str, users: &str) {
        let twice = (2 * room.rules.ttl.as_millis()).to_string();
        self.ask(asking, room, &["PEXPIRE", members, &twice], Part::Nothing);
        self.ask(asking, room, &["PEXPIRE", users, &twice], Part::UsersKey);
    }

    /// The first refresh within a third of `ttl`, so that rooms that were made together are not refreshed all
    /// at once.
    pub(super) fn first_refresh(&self, now: Instant, ttl: Duration) -> Instant {
        self.wave_before(now + (ttl / 3).mul_f64(fastrand::f64()))
    }

    /// A third of `ttl` after the last.
    fn next_refresh(&self, last: Instant, now: Instant, ttl: Duration) -> Instant {
        let next = self.wave_before(last + ttl / 3);
        if next > now { next } else { self.first_refresh(now, ttl) }
    }

    /// Rounds down to the wave before.
    fn wave_before(&self, at: Instant) -> Instant {
        let beyond = (at - self.began).as_nanos() % WAVE.as_nanos();
        at - Duration::from_nanos(beyond as u64)
    }

    fn script(
        &mut self,
        asking: &mut Asking<'_>,
        room: &mut Room,
        mode: Mode,
        arguments: &[String],
        users: Vec<Arc<str>>,
    ) {
        let Keys { members, users: hash, news } = &asking.keys;
        let (members, hash, news) = (members.clone(), hash.clone(), news.clone());
        let name = self.script.clone().unwrap_or_default();
        let ttl = room.rules.ttl.as_millis().to_string();
        let instance = self.instance.clone();
        let mut words = vec!["EVALSHA", &name, "2", &members, &hash, &news, &ttl];
        words.extend([instance.as_str(), mode.word()]);
        words.extend(arguments.iter().map(String::as_str));
        self.ask(asking, room, &words, Part::Script { mode, users });
    }

    fn ask(&mut self, asking: &mut Asking<'_>, room: &mut Room, words: &[&str], what: Part) {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        room.in_flight += 1;
        self.send(asking.link, &words, Asked::Room { room: asking.key, what });
    }
}

/// The room that commands are sent for.
struct Asking<'a> {
    keys: Keys,
    key: u32,
    link: &'a mut CommandLink,
    now: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn commands_that_are_answered_leave_no_memory() {
        let mut commands = Commands::new("", Duration::from_secs(1));
        for _ in 0..IN_FLIGHT {
            commands.patience.asked(Instant::now());
            commands.asked.push_back(Asked::Ping);
        }
        while commands.take_asked().is_some() {}
        assert!(commands.asked.capacity() <= USUAL);
    }

    #[test]
    fn rooms_that_were_made_together_are_refreshed_in_groups_over_a_third_of_the_ttl() {
        let commands = Commands::new("", Duration::from_secs(1));
        let (now, ttl) = (commands.began, Duration::from_secs(30));
        let at = |n: u64| commands.first_refresh(now + Duration::from_micros(n), ttl) - now;
        let groups: HashSet<Duration> = (0..10_000).map(at).collect();
        assert!((90..=101).contains(&groups.len()), "{}", groups.len());
        assert!(groups.iter().all(|at| *at <= ttl / 3 + Duration::from_micros(10_000)));
    }

    #[test]
    fn a_room_is_refreshed_each_third_of_the_ttl_and_within_one_when_that_is_past() {
        let commands = Commands::new("", Duration::from_secs(1));
        let (now, ttl) = (commands.began, Duration::from_secs(30));
        let third = Duration::from_secs(10);
        assert_eq!(commands.next_refresh(now, now + Duration::from_secs(1), ttl), now + third);
        // This process, or Redis, stood still.
        let late = now + Duration::from_secs(25);
        assert!(commands.next_refresh(now, late, ttl) <= late + third);
    }
}
