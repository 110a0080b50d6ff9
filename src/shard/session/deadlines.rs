//! Deadlines of a session: pings and their timeout, heartbeats, the write timeout, its token's expiry, a
//! drain. What it is sent to stay alive is in [`keepalive`](super::keepalive).

use super::{Session, Stage, Token};
use crate::{
    identity::Identity,
    reason::CloseReason,
    shard::wheel::{Tick, Wheel},
};
use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

/// Sessions whose tokens expire at the same moment end at most this much before it.
const EXPIRY_SPREAD: Duration = Duration::from_secs(10);

/// A session's deadlines, in ticks of the wheel; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// The place in the wheel that counts.
    due: Cell<Tick>,
    pub(super) ping: Cell<Tick>,
    pub(super) pong: Cell<Tick>,
    /// Not a deadline: when the session was last sent a frame that a page can see. The heartbeat is due
    /// so much later. Kept as a moment of the past, so that a delivery costs no more than its storing.
    pub(super) seen: Cell<Tick>,
    pub(super) write: Cell<Tick>,
    drain: Cell<Tick>,
    expiry: Cell<Tick>,
    pub(super) close: Cell<Tick>,
}

impl Session {
    /// Something came from the client, so it is alive: no pong is awaited any more.
    pub(in crate::shard) fn on_input(&self) {
        self.deadlines.pong.set(0);
    }

    /// Does what is due at this tick, and takes the next place in the wheel. `at` is the place that
    /// has come due; one that does not count any more is skipped.
    pub(in crate::shard) fn on_tick(&self, at: Tick, now: Tick) {
        let deadlines = &self.deadlines;
        if deadlines.due.get() != at {
            return;
        }
        deadlines.due.set(0);
        let is_due = |deadline: &Cell<Tick>| deadline.get() != 0 && deadline.get() <= now;
        if is_due(&deadlines.close) {
            self.abort();
        } else if is_due(&deadlines.write) {
            deadlines.write.set(0);
            self.end(CloseReason::WriteTimeout);
        } else if is_due(&deadlines.pong) {
            self.end(CloseReason::PingTimeout);
        } else if is_due(&deadlines.expiry) {
            self.end(CloseReason::TokenExpired);
        } else if is_due(&deadlines.drain) {
            self.end(CloseReason::Restarting);
        } else {
            self.keep_alive(now);
        }
        if self.stage.get() != Stage::Over {
            self.schedule();
        }
    }

    /// Whether the moment of its closing with 1012 is set.
    pub(in crate::shard) fn is_draining(&self) -> bool {
        self.deadlines.drain.get() != 0
    }

    /// Closes the session with 1012 this much later.
    pub(in crate::shard) fn drain_after(&self, delay: Duration) {
        self.set_deadline(&self.deadlines.drain, delay);
    }

    /// A newer token takes the place of the one that the session lives by, unless it would shorten
    /// the session's life: then nothing changes.
    pub(in crate::shard) fn lengthen(&self, newer: Identity) {
        let before = self.deadlines.expiry.get();
        match newer.expires {
            _ if before == 0 => return,
            None => self.deadlines.expiry.set(0),
            Some(expires) => {
                self.expire_at(expires);
                if before > self.deadlines.expiry.get() {
                    return self.deadlines.expiry.set(before);
                }
            }
        }
        // Revoking the former token must not end what now lives by this one, nor the other way.
        *self.token.borrow_mut() = Token::new(Some(newer), self.auth());
    }

    pub(super) fn expire_at(&self, expires: SystemTime) {
        let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
        self.set_deadline(&self.deadlines.expiry, left - jitter(left));
    }

    pub(super) fn set_deadline(&self, deadline: &Cell<Tick>, delay: Duration) {
        deadline.set(self.context.wheel.borrow().after(delay));
        self.schedule();
    }

    fn schedule(&self) {
        let heartbeat = self.heartbeat_at();
        let mut wheel = self.context.wheel.borrow_mut();
        self.deadlines.schedule(self.key, heartbeat, &mut wheel);
    }
}

/// How much earlier a session ends that has this long left: at random, so that those whose tokens were
/// made together do not come back together. Never later, since then the token is not good any more.
fn jitter(left: Duration) -> Duration {
    (left / 10).min(EXPIRY_SPREAD).mul_f64(fastrand::f64())
}

impl Deadlines {
    /// Forgets all deadlines; the place in the wheel stays.
    pub(super) fn clear(&self) {
        let all = [&self.ping, &self.pong, &self.write, &self.drain, &self.expiry, &self.close];
        all.iter().for_each(|at| at.set(0));
    }

    /// Takes a place in the wheel at the earliest deadline, `heartbeat` included, unless one as early
    /// is taken already.
    fn schedule(&self, key: u32, heartbeat: Option<Tick>, wheel: &mut Wheel) {
        let all = [&self.ping, &self.pong, &self.write, &self.drain, &self.expiry, &self.close];
        let set = all.iter().map(|at| at.get()).filter(|&at| at != 0);
        let Some(next) = set.chain(heartbeat).min() else { return };
        if self.due.get() == 0 || next < self.due.get() {
            self.due.set(next);
            wheel.insert(key, next);
        }
    }
}
