//! Decides when the subscription is proven alive, and when it is dead.
//!
//! A round is a PING on the subscriber connection and, with a probe channel, a canary: published
//! over the command connection, it must come back on the subscriber. Both done: proven.
//!
//! A canary that does not come back in time is not yet an outcome, because under a flood it may
//! stand in a long queue. Then one more PING is sent: Redis answers in order, so when its answer is
//! here and the canary is not, the canary never will be. That holds under any load.
//!
//! A canary that is back while the PING of its round is not answered long after proves that what we say on
//! the subscriber is swallowed, however many messages still arrive there: [`Probe::is_one_way`].
//!
//! Pure: it sends nothing and reads no clock.

use std::time::Duration;
use tokio::time::Instant;

/// So many `probe_timeout`s an answer may come after the canary that was published after the question: a
/// large message may stand between.
const ONE_WAY: u32 = 2;

/// The rounds of one process.
#[derive(Debug)]
pub(super) struct Probe {
    interval: Duration,
    timeout: Duration,
    /// Tells our canaries from those of other gateways on the same channel.
    instance: u64,
    round: u64,
    next: Instant,
    /// `None` between two rounds.
    running: Option<Round>,
    /// PINGs sent and answered on the present link. Redis answers in order, so these numbers tell
    /// them apart.
    sent: u64,
    answered: u64,
}

#[derive(Debug)]
struct Round {
    ping: Ping,
    canary: Canary,
    /// The PING that says whether a late canary is lost.
    last_chance: Option<Ping>,
    /// Since when only the answer to the PING is missing.
    one_way: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    Wanted,
    /// With its number, from 1.
    Sent(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Canary {
    NotUsed,
    Wanted,
    Publishing,
    Published(Instant),
    Back,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What is published now arrives.
    Proven,
    /// Redis answers, but what is published does not arrive.
    Dead,
}

impl Probe {
    pub(super) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        let instance = fastrand::u64(..);
        Self {
            interval,
            timeout,
            instance,
            round: 0,
            next: now,
            running: None,
            sent: 0,
            answered: 0,
        }
    }

    /// Starts a round, whatever became of the one before.
    pub(super) fn begin(&mut self, with_canary: bool, now: Instant) {
        self.round += 1;
        self.next = now + self.interval;
        let canary = if with_canary { Canary::Wanted } else { Canary::NotUsed };
        self.running = Some(Round { ping: Ping::Wanted, canary, last_chance: None, one_way: None });
    }

    /// Ends the round without a proof.
    pub(super) fn abandon(&mut self) {
        self.running = None;
    }

    /// Ends the round without a proof. What was asked on the link is not answered any more.
    pub(super) fn link_lost(&mut self) {
        self.running = None;
        (self.sent, self.answered) = (0, 0);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it is time for the next round.
    pub(super) fn due(&self, now: Instant) -> bool {
        self.running.is_none() && self.next <= now
    }

    /// When [`Probe::due`] or [`Probe::check`] may change by the passing of time alone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.running {
            None => Some(self.next),
            Some(Round { canary: Canary::Published(at), last_chance: None, .. }) => {
                Some(*at + self.timeout)
            }
            Some(round) => round.one_way.map(|since| since + ONE_WAY * self.timeout),
        }
    }

    pub(super) fn wants_ping(&self) -> bool {
        self.running.as_ref().is_some_and(|round| {
            round.ping == Ping::Wanted || round.last_chance == Some(Ping::Wanted)
        })
    }

    /// One PING was sent; it serves for all that is wanted now.
    pub(super) fn ping_sent(&mut self) {
        self.sent += 1;
        let Some(round) = &mut self.running else { return };
        let pings = [Some(&mut round.ping), round.last_chance.as_mut()].into_iter().flatten();
        pings.filter(|ping| **ping == Ping::Wanted).for_each(|ping| *ping = Ping::Sent(self.sent));
    }

    /// The oldest PING is answered.
    pub(super) fn ping_answered(&mut self) {
        self.answered += 1;
    }

    pub(super) fn wants_canary(&self) -> bool {
        self.running.as_ref().is_some_and(|round| round.canary == Canary::Wanted)
    }

    /// The payload to publish now.
    pub(super) fn release_canary(&mut self) -> String {
        if let Some(round) = &mut self.running {
            round.canary = Canary::Publishing;
        }
        self.payload()
    }

    fn payload(&self) -> String {
        format!("{:016x}:{}", self.instance, self.round)
    }

    /// Redis has acknowledged the PUBLISH.
    pub(super) fn published(&mut self, now: Instant) {
        // Otherwise it is back already, or its round is over.
        if let Some(Round { canary: canary @ Canary::Publishing, .. }) = &mut self.running {
            *canary = Canary::Published(now);
        }
    }

    /// Something came in on the probe channel; other gateways' canaries do too.
    pub(super) fn arrived(&mut self, payload: &[u8]) {
        if payload == self.payload().as_bytes()
            && let Some(round) = &mut self.running
            && round.canary != Canary::NotUsed
        {
            round.canary = Canary::Back;
        }
    }

    /// Nothing could be read until now.
    pub(super) fn paused(&mut self) {
        if let Some(round) = &mut self.running {
            round.one_way = None;
        }
    }

    /// Whether the canary is back and the PING has not been answered for long since. Take in everything
    /// that has arrived before you ask.
    pub(super) fn is_one_way(&mut self, now: Instant) -> bool {
        let (answered, patience) = (self.answered, ONE_WAY * self.timeout);
        let Some(round) = &mut self.running else { return false };
        let waits = matches!(round.ping, Ping::Sent(number) if number > answered);
        if round.canary != Canary::Back || !waits {
            return false;
        }
        *round.one_way.get_or_insert(now) + patience <= now
    }

    /// Whether the round is over. Take in everything that has arrived before you ask.
    pub(super) fn check(&mut self, now: Instant) -> Option<Outcome> {
        let answered = self.answered;
        let is_answered = |ping: Ping| matches!(ping, Ping::Sent(number) if number <= answered);
        let round = self.running.as_mut()?;
        match (round.canary, round.last_chance) {
            (Canary::Back | Canary::NotUsed, _) if is_answered(round.ping) => {
                self.running = None;
                return Some(Outcome::Proven);
            }
            (Canary::Published(_), Some(ping)) if is_answered(ping) => {
                self.running = None;
                return Some(Outcome::Dead);
            }
            (Canary::Published(at), None) if now >= at + self.timeout => {
                round.last_chance = Some(Ping::Wanted);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests;
