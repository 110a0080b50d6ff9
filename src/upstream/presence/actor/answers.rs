//! What Redis answers, and what each answer means.

use super::PresenceActor;
use crate::upstream::{
    link::{LinkError, Value, role},
    presence::{
        commands::{Asked, Part},
        names::unescape,
        room::{Read, Room},
        script::Mode,
        under_way::{Leaving, Told},
    },
};
use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, LazyLock},
    time::{Duration, Instant as StdInstant},
};
use tokio::time::Instant;
use tracing::warn;

/// How long nothing is asked for a room after an error.
const RETRY: Duration = Duration::from_secs(1);

impl PresenceActor {
    /// Takes the answer to the oldest command.
    pub(super) fn answer(&mut self, value: &Value, now: Instant) {
        match self.commands.take_asked() {
            None => {
                let text = match value {
                    Value::Error(text) => text.clone(),
                    _ => "it answers what was not asked".to_owned(),
                };
                self.give_up(&LinkError::Lost(text), now);
            }
            Some(Asked::Ping) => self.phase.proven(),
            Some(Asked::Role) => {
                if let Some(why) = self.primary.observe(role(value)) {
                    self.drop_link(&LinkError::Lost(why), now);
                }
            }
            Some(Asked::Load) => self.loaded(value, now),
            Some(Asked::Time(asked)) => self.time(value, asked, now),
            Some(Asked::Room { room, what }) => {
                if let Some(it) = self.rooms.get(room) {
                    it.in_flight -= 1;
                }
                match value {
                    Value::Error(error) => self.failed(room, what, error, now),
                    _ => self.room_answer(room, what, value, now),
                }
                self.rooms.make_ready(room);
            }
        }
    }

    fn loaded(&mut self, value: &Value, now: Instant) {
        match value {
            Value::Text(name) => {
                self.commands.loaded(Some(String::from_utf8_lossy(name).into_owned()));
            }
            Value::Error(error) => self.unusable("SCRIPT LOAD", error, now),
            _ => self.unusable("SCRIPT LOAD", "an answer without a name", now),
        }
    }

    fn time(&mut self, value: &Value, asked: Instant, now: Instant) {
        self.commands.time_answered();
        match value {
            Value::List(parts) => {
                if let [seconds, microseconds] = parts.as_slice()
                    && let (Some(seconds), Some(microseconds)) =
                        (number(seconds), number(microseconds))
                {
                    let milliseconds = seconds * 1_000 + microseconds / 1_000;
                    return self.commands.clock.set(milliseconds, asked);
                }
                self.unusable("TIME", "an answer that is no time", now);
            }
            Value::Error(error) => self.unusable("TIME", error, now),
            _ => self.unusable("TIME", "an answer that is no time", now),
        }
    }

    /// Gives up a link on which presence cannot work; the next dial tries again.
    fn unusable(&mut self, command: &str, error: &str, now: Instant) {
        self.log_refusal(command, error);
        self.give_up(&LinkError::Answered(error.to_owned()), now);
    }

    fn log_refusal(&mut self, command: &str, error: &str) {
        let error = match self.phase.get() {
            Some(link) => link.error(error).to_string(),
            None => return,
        };
        if let Some(before) = self.refusals.to_log(StdInstant::now()) {
            warn!(command, error, before, "Redis refuses a command for presence");
        }
    }

    /// A command for a room has failed: it is done again later.
    fn failed(&mut self, key: u32, what: Part, error: &str, now: Instant) {
        let is_unloaded = error.starts_with("NOSCRIPT");
        if is_unloaded {
            self.commands.loaded(None);
        } else {
            self.log_refusal("for a room", error);
            if error.starts_with("READONLY") {
                // It may have become a replica: ask ROLE now.
                self.commands.next_ping = now;
            }
        }
        let again = if is_unloaded { now } else { now + RETRY };
        let Some(room) = self.rooms.get(key) else { return };
        room.under_way.not_before = Some(again);
        match what {
            Part::Script { mode: Mode::Roster, .. } => room.reading_failed(again),
            Part::Script { mode: Mode::Sweep, .. } => room.sweeps = room.users.held() > 0,
            Part::Script { mode: Mode::Leave, users } if is_unloaded => {
                let is_asked = |it: &&mut Leaving| users.contains(&it.user);
                room.under_way
                    .leaving
                    .iter_mut()
                    .filter(is_asked)
                    .for_each(|it| it.told = Told::No);
            }
            Part::Script { mode: Mode::Leave, users } => self.told(key, &users),
            Part::Deadline(user) => self.told(key, &[user]),
            Part::Script { mode: Mode::Join | Mode::Repair, .. }
            | Part::Touched(_)
            | Part::UsersKey
            | Part::Ghosts => room.repairs = room.users.held() > 0,
            Part::Nothing => {}
        }
    }

    fn room_answer(&mut self, key: u32, what: Part, value: &Value, now: Instant) {
        let Some(room) = self.rooms.get(key) else { return };
        let changed = number(value);
        match what {
            Part::Script { mode: Mode::Roster, .. } => {
                note_incarnation(room, value, now);
                match read(value) {
                    Some(list) => room.read(&list, now, &mut self.output),
                    None => room.reading_failed(now + RETRY),
                }
            }
            Part::Script { mode, users } => self.script_answer(key, mode, &users, value, now),
            Part::Deadline(user) => self.told(key, &[user]),
            Part::Touched(members) => room.repairs |= changed.is_none_or(|n| n < members as u64),
            Part::UsersKey => room.repairs |= changed == Some(0),
            Part::Ghosts => room.repairs |= changed != Some(0),
            Part::Nothing => {}
        }
    }

    fn script_answer(
        &mut self,
        key: u32,
        mode: Mode,
        users: &[Arc<str>],
        value: &Value,
        now: Instant,
    ) {
        let Some(room) = self.rooms.get(key) else { return };
        note_incarnation(room, value, now);
        let Value::List(parts) = value else { return };
        let swept = parts.get(2).and_then(number).unwrap_or_default();
        self.metrics.upstream.presence_swept.inc_by(swept);
        let count = parts.get(1).and_then(number).unwrap_or_default();
        match mode {
            Mode::Join | Mode::Repair => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                room.joined(users, count, now, &mut self.output);
                if room.owes_rosters() {
                    self.rosters.joined(key, room.shards, &self.output, now);
                }
            }
            Mode::Leave => self.told(key, users),
            Mode::Sweep | Mode::Roster => {}
        }
    }

    /// Redis has taken the new deadlines of these users, or has refused them for good.
    fn told(&mut self, key: u32, users: &[Arc<str>]) {
        let Some(room) = self.rooms.get(key) else { return };
        let mut told = 0;
        for leaving in room.under_way.leaving.iter_mut().filter(|it| users.contains(&it.user)) {
            if leaving.told == Told::Asked {
                leaving.told = Told::Yes;
                told += 1;
            }
        }
        self.rooms.untold -= told;
    }
}

fn note_incarnation(room: &mut Room, value: &Value, now: Instant) {
    if let Value::List(parts) = value
        && let Some(Value::Text(name)) = parts.first()
        && !name.is_empty()
    {
        room.knows(hash(name), now);
    }
}

/// A roster: its list, or only how many there are.
fn read(value: &Value) -> Option<Read> {
    let Value::List(parts) = value else { return None };
    match parts.get(2) {
        Some(Value::Text(list)) => {
            let list = std::str::from_utf8(list).ok()?;
            let users = list.split(' ').filter_map(unescape);
            Some(Read::Listed(users.collect()))
        }
        _ => Some(Read::Counted(usize::try_from(number(parts.get(1)?)?).ok()?)),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Text(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// A room's incarnation in eight bytes.
fn hash(name: &[u8]) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEY.hash_one(name)
}
