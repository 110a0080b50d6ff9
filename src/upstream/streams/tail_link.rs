//! The connection that reads tails, from its dial to its end: sends commands, handles their answers.
//!
//! It is never paused, and nothing on it waits for its answer before the next is asked. What is asked
//! first is answered first: whether changes are told, which server this is, which run of it; so that
//! nothing that is read is judged before that is known.

use super::{
    reading::{Reading, ReadingKind},
    tail::Tail,
};
use crate::{
    stream_id::StreamId,
    upstream::{
        link::{Entries, LinkError, StreamArrival, StreamCommand, StreamLink},
        patience::Patience,
        primary::Primary,
    },
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use tracing::warn;

/// Entries that may be asked for at one time: a ring's last quarter has room for them.
const IN_FLIGHT: usize = 4_096;

/// What an entry weighs before one was read.
const USUAL_WEIGHT: usize = 1 << 10;

/// The connection, and what was asked on it.
pub(super) struct TailLink {
    pub(super) link: StreamLink,
    pub(super) patience: Patience,
    asked: VecDeque<Asked>,
    /// Entries that may come in answer to what was asked.
    in_flight: usize,
    /// Bytes that came for each entry that was asked for lately.
    weight: usize,
    /// When the next PING is due.
    next_ping: Instant,
    ping_interval: Duration,
    /// Redis tells changes on this link, and refuses no command that streams are read with.
    pub(super) is_tracked: bool,
    has_warned_of_canary: bool,
    pub(super) made: Instant,
}

enum Asked {
    Track,
    Run,
    Role,
    Ping { is_of_canary: bool },
    Canary { payload: Option<Vec<u8>> },
    Read(Reading),
}

/// Why a link must be given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Lost(LinkError),
    /// It works, but the primary is elsewhere, in words.
    Moved(String),
    /// Redis does not tell which keys change, or refuses a command that streams are read with, in words.
    Untracked(String),
}

impl TailLink {
    /// Takes over a connection on which nothing was asked.
    ///
    /// # Errors
    /// When it cannot be told on it what changes.
    pub(super) fn new(
        link: StreamLink,
        primary: &mut Primary,
        (ping_interval, timeout): (Duration, Duration),
        now: Instant,
    ) -> Result<Self, End> {
        if !link.can_track() {
            return Err(End::Untracked("it speaks only RESP2".to_owned()));
        }
        let mut tail = Self {
            link,
            patience: Patience::new(timeout, now),
            asked: VecDeque::new(),
            in_flight: 0,
            weight: USUAL_WEIGHT,
            next_ping: now + ping_interval,
            ping_interval,
            is_tracked: false,
            has_warned_of_canary: false,
            made: now,
        };
        primary.linked();
        tail.send(&StreamCommand::Track, Asked::Track, now);
        if primary.asks() {
            tail.send(&StreamCommand::Role, Asked::Role, now);
        }
        tail.send(&StreamCommand::Run, Asked::Run, now);
        Ok(tail)
    }

    fn send(&mut self, command: &StreamCommand<'_>, asked: Asked, now: Instant) {
        self.patience.asked(now);
        self.link.send(command);
        self.asked.push_back(asked);
    }

    /// Sends what is due, as far as the socket takes it.
    pub(super) fn send_next(&mut self, tail: &mut Tail, primary: &Primary, now: Instant) {
        let before = self.asked.len();
        self.send_own(tail, primary, now);
        let room = tail.queues.least_room(tail.order.behind());
        let most = most_in_flight(room, self.weight);
        while self.in_flight < most
            && let Some(number) = tail.order.take(&mut tail.table, now)
        {
            self.send_reading(tail, number, now);
        }
        if self.asked.len() != before {
            self.link.flush();
        }
    }

    fn send_reading(&mut self, tail: &mut Tail, number: u32, now: Instant) {
        let Some(stream) = tail.table.get_mut(number) else { return };
        let reading = Reading::of(number, stream);
        tail.marks.begin(number);
        tail.metrics.upstream.stream_reads.inc();
        self.in_flight += reading.cost();
        self.patience.asked(now);
        if let Some(stream) = tail.table.get(number) {
            self.link.send(&reading.command(&tail.key(&stream.name)));
        }
        self.asked.push_back(Asked::Read(reading));
    }

    /// The canary, and PINGs.
    fn send_own(&mut self, tail: &mut Tail, primary: &Primary, now: Instant) {
        if tail.canary.take_read(now) {
            let key = tail.canary_key();
            let entries = Entries::From { key, first: StreamId::ZERO, count: 1 };
            let asked = Asked::Canary { payload: None };
            // As streams are read: what an account may not use for any of them is found here.
            self.send(&StreamCommand::Both(entries), asked, now);
        }
        let is_of_canary = tail.canary.take_ping(now);
        if is_of_canary || self.next_ping <= now {
            self.next_ping = now + self.ping_interval;
            if primary.asks() {
                self.send(&StreamCommand::Role, Asked::Role, now);
            }
            self.send(&StreamCommand::Ping, Asked::Ping { is_of_canary }, now);
        }
    }

    /// Takes in one arrival, if there is any. `None`: there is not.
    ///
    /// # Errors
    /// When the link must be given up.
    pub(super) fn handle_next(
        &mut self,
        tail: &mut Tail,
        primary: &mut Primary,
        now: Instant,
    ) -> Option<Result<(), End>> {
        let Self { link, asked, .. } = self;
        match link.try_next()? {
            StreamArrival::Changed(key) => tail.changed(key),
            StreamArrival::Facts(facts) => {
                if let Some(Asked::Read(reading)) = asked.front_mut() {
                    reading.facts = Some(facts);
                }
            }
            StreamArrival::Entry { id, payload } => match asked.front_mut() {
                Some(Asked::Read(reading)) => tail.entry(reading, id, Some(payload)),
                Some(Asked::Canary { payload: found }) => *found = Some(payload.to_vec()),
                _ => {}
            },
            StreamArrival::TooLarge(id) => {
                if let Some(Asked::Read(reading)) = asked.front_mut() {
                    tail.entry(reading, id, None);
                }
            }
            StreamArrival::Done => return Some(self.done(tail, now)),
            StreamArrival::Failed(error) => return Some(self.failed(tail, error, now)),
            StreamArrival::Role(role) => {
                self.answered();
                if let Some(why) = primary.observe(role) {
                    return Some(Err(End::Moved(why)));
                }
            }
            StreamArrival::Run(run) => {
                self.answered();
                tail.run(run);
            }
            StreamArrival::Ended(error) => return Some(Err(End::Lost(error))),
        }
        Some(Ok(()))
    }

    fn answered(&mut self) -> Option<Asked> {
        self.patience.answered();
        let asked = self.asked.pop_front();
        if let Some(Asked::Read(reading)) = &asked {
            self.in_flight -= reading.cost();
            if reading.kind != ReadingKind::Place {
                self.weight = (7 * self.weight + reading.received / reading.cost()) / 8;
            }
        }
        asked
    }

    fn done(&mut self, tail: &mut Tail, now: Instant) -> Result<(), End> {
        match self.answered() {
            Some(Asked::Read(reading)) => tail.read(reading),
            Some(Asked::Canary { payload }) => {
                self.is_tracked = true;
                tail.canary_read(payload.as_deref(), now);
            }
            Some(Asked::Ping { is_of_canary: true }) => tail.canary.pinged(),
            Some(Asked::Track | Asked::Ping { .. } | Asked::Run | Asked::Role) | None => {}
        }
        Ok(())
    }

    fn failed(&mut self, tail: &mut Tail, error: LinkError, now: Instant) -> Result<(), End> {
        match self.answered() {
            // It concerns every stream.
            Some(Asked::Read(_) | Asked::Canary { .. }) if error.is_command_refused() => {
                return Err(untracked(error));
            }
            Some(Asked::Read(reading)) => tail.not_read(&reading, &error, now),
            Some(Asked::Canary { .. }) => {
                self.is_tracked = true;
                tail.canary.failed(now);
                self.warn_of_canary(&error);
            }
            Some(Asked::Track) if error.passes() => return Err(End::Lost(error)),
            Some(Asked::Track) => return Err(untracked(error)),
            Some(Asked::Ping { .. } | Asked::Run | Asked::Role) | None => {}
        }
        Ok(())
    }

    /// Logs, once a link, that changes are not proven to be told.
    pub(super) fn warn_of_canary(&mut self, error: &LinkError) {
        if !error.passes() && !std::mem::replace(&mut self.has_warned_of_canary, true) {
            warn!(%error, "the streams' canary is refused: that Redis tells which streams change is not proven");
        }
    }

    /// When something is due by the passing of time alone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.patience.deadline().into_iter().chain([self.next_ping]).min()
    }
}

fn untracked(error: LinkError) -> End {
    End::Untracked(match error {
        // In the server's own words.
        LinkError::Answered(why) => why,
        other => other.to_string(),
    })
}

/// Entries that may be asked for at one time. What does not fit into a ring would be read twice: so no more
/// than will fit into this room, if they weigh what others did.
fn most_in_flight(room: usize, weight: usize) -> usize {
    (room / weight.max(1)).clamp(1, IN_FLIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_will_fit_and_always_something() {
        let quarter = 16 << 20;
        for (room, weight, most) in [
            (quarter, USUAL_WEIGHT, IN_FLIGHT),
            (quarter, 0, IN_FLIGHT),
            (quarter, 64 << 10, 256),
            (quarter, 8 << 20, 2),
            (100, 8 << 20, 1),
            (0, 1, 1),
        ] {
            assert_eq!(most_in_flight(room, weight), most, "{room} {weight}");
        }
    }
}
