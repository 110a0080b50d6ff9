//! Commands that are not answered yet, and how long an answer may take. Pure: it reads no clock.

use crate::upstream::link::Command;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// An answer may take this many `probe_timeout`s while messages keep arriving: these prove that
/// the connection lives, but something that takes so long will not come any more.
const STARVED: u32 = 15;

/// A process that was stopped or starved finds its timers over before it finds the answers that
/// came meanwhile; so much longer it looks for them.
const GRACE: Duration = Duration::from_millis(100);

/// What was asked on one connection, the oldest first: Redis answers in this order.
#[derive(Debug)]
pub(super) struct Outstanding {
    commands: VecDeque<Asked>,
    /// When something last arrived, and how many bytes had then.
    heard: Instant,
    bytes: u64,
    /// The time for an answer is over, but it may be we who stood still: until then it may come.
    grace: Option<Instant>,
    timeout: Duration,
}

#[derive(Debug)]
struct Asked {
    kind: Kind,
    /// Answers that are still to come, one for each channel.
    answers: usize,
    sent: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ping,
    Role,
    Subscribe,
    Unsubscribe,
}

impl Outstanding {
    /// `timeout`: how long an answer may take when nothing else arrives.
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        Self { commands: VecDeque::new(), heard: now, bytes: 0, grace: None, timeout }
    }

    pub(super) fn sent(&mut self, command: &Command, now: Instant) {
        let (kind, answers) = match command {
            Command::Ping => (Kind::Ping, 1),
            Command::Role => (Kind::Role, 1),
            Command::Subscribe(names) | Command::SubscribePatterns(names) => {
                (Kind::Subscribe, names.len())
            }
            Command::Unsubscribe(names) | Command::UnsubscribePatterns(names) => {
                (Kind::Unsubscribe, names.len())
            }
        };
        self.commands.push_back(Asked { kind, answers, sent: now });
    }

    /// One answer has come. Redis may also let go of a channel unasked.
    pub(super) fn answered(&mut self, kind: Kind) {
        let Some(oldest) = self.commands.front_mut().filter(|oldest| oldest.kind == kind) else {
            return;
        };
        oldest.answers -= 1;
        if oldest.answers == 0 {
            self.commands.pop_front();
        }
    }

    /// The oldest command is refused, as far as it was not answered.
    pub(super) fn rejected(&mut self) {
        self.commands.pop_front();
    }

    /// How many commands are not answered.
    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(super) fn any_subscribe(&self) -> bool {
        self.commands.iter().any(|asked| asked.kind == Kind::Subscribe)
    }

    /// Something has arrived: the connection lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// So many bytes have been received in all. If they are more than before, the connection lives,
    /// though nothing has arrived whole.
    pub(super) fn received(&mut self, bytes: u64, now: Instant) {
        if self.bytes != bytes {
            (self.bytes, self.heard) = (bytes, now);
        }
    }

    /// When [`Outstanding::is_dead`] must be asked next, if nothing comes until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.grace.or_else(|| self.patience())
    }

    /// Until when the oldest answer may take. Arriving messages extend it: under a flood an answer
    /// may stand in a long queue.
    fn patience(&self) -> Option<Instant> {
        let oldest = self.commands.front()?;
        let silent = oldest.sent.max(self.heard) + self.timeout;
        Some(silent.min(oldest.sent + STARVED * self.timeout))
    }

    /// Whether the time for the oldest answer is over.
    pub(super) fn is_late(&mut self, now: Instant) -> bool {
        let late = self.patience().is_some_and(|until| until <= now);
        if !late {
            self.grace = None;
        }
        late
    }

    /// Whether the link must be given up. Take in everything that has arrived before you ask.
    pub(super) fn is_dead(&mut self, now: Instant) -> bool {
        if !self.is_late(now) {
            return false;
        }
        *self.grace.get_or_insert(now + GRACE) <= now
    }

    /// How long an answer may take when nothing else arrives.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}
