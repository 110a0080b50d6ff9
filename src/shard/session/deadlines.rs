//! Deadlines of a session: pings and their timeout, heartbeats, the write timeout, its token's expiry, a
//! drain. What it is sent to stay alive is in [`keepalive`](super::keepalive).

use super::{Session, Stage, Token};
use crate::{
    carrier::Carrier,
    identity::Identity,
    net::Transport,
    reason::CloseReason,
    shard::wheel::{Tick, Wheel},
};
use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

/// Sessions whose tokens expire at the same moment end at most this much before it.
const EXPIRY_SPREAD: Duration = Duration::from_secs(10);

/// How often in a `write_timeout` a socket that takes nothing is asked what its client has acknowledged.
const PROGRESS_CHECKS: u8 = 4;

/// The part of a `ping_timeout` after which a pong is late: in the rest its client must acknowledge something.
const PONG_CHECK: u32 = 4;

/// What the latest check of a socket has found: of one that takes nothing, or one whose pong is late.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// Bytes that the client had not acknowledged; [`UNKNOWN`] where the kernel does not tell. While a
    /// pong is late, what was written since is added.
    outstanding: u32,
    /// Checks since that number last changed. Of a pong: whether there was one.
    silent: u8,
}

const UNKNOWN: u32 = u32::MAX;

/// More than is ever outstanding, so that the first check finds another number.
const NOT_ASKED: u32 = u32::MAX - 1;

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
    /// The next check of a socket that takes nothing.
    pub(super) write: Cell<Tick>,
    progress: Cell<Progress>,
    expiry: Cell<Tick>,
    /// Not a tick: the second since 1970 at which the token is over; 0 is never.
    token_over: Cell<u32>,
    /// While the session is open: when a drain closes it. Then: when its socket is dropped.
    pub(super) end: Cell<Tick>,
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
        let is_open = self.stage.get() == Stage::Open;
        if !is_open && is_due(&deadlines.end) {
            self.abort();
        } else if is_due(&deadlines.write) {
            self.check_progress();
        } else if is_due(&deadlines.pong) {
            self.check_pong();
        } else if is_due(&deadlines.expiry) || self.outlives_its_token() {
            self.end(CloseReason::TokenExpired);
        } else if is_open && is_due(&deadlines.end) {
            self.end(CloseReason::Restarting);
        } else {
            self.keep_alive(now);
        }
        if self.stage.get() != Stage::Over {
            self.schedule();
        }
    }

    /// The socket has begun to take nothing. What is outstanding is asked at the next tick: until then
    /// most clients have read on.
    pub(super) fn watch_progress(&self) {
        self.deadlines.progress.set(Progress { outstanding: NOT_ASKED, silent: 0 });
        self.deadlines.pong.set(0);
        self.set_deadline(&self.deadlines.write, Duration::ZERO);
    }

    /// A pong is awaited from now on, or that the client acknowledges what it was sent.
    pub(super) fn await_pong(&self) {
        self.deadlines.progress.set(Progress::default());
        self.set_deadline(&self.deadlines.pong, self.pong_timeout() / PONG_CHECK);
    }

    fn pong_timeout(&self) -> Duration {
        match self.carrier() {
            Carrier::WebSocket => self.endpoint.ping_timeout,
            Carrier::EventStream => self.endpoint.write_timeout,
        }
    }

    /// Ends the session whose pong has not come in time, unless its client has acknowledged something
    /// since the check before that: then the ping may be behind much that it has still to read, and the
    /// next one asks again. Clients that answer are never checked, so an idle one costs nothing more.
    ///
    /// A client of Server-Sent Events answers nothing: it is ended when it has acknowledged nothing of what
    /// it was sent.
    fn check_pong(&self) {
        self.deadlines.pong.set(0);
        let outstanding = self.transport.get().and_then(Transport::outstanding).unwrap_or(0);
        let Progress { outstanding: before, silent } = self.deadlines.progress.get();
        let (reason, is_fine) = match self.carrier() {
            Carrier::WebSocket => (CloseReason::PingTimeout, false),
            Carrier::EventStream => (CloseReason::WriteTimeout, outstanding == 0),
        };
        if is_fine {
            return;
        }
        if silent == 0 {
            self.deadlines.progress.set(Progress { outstanding, silent: 1 });
            let timeout = self.pong_timeout();
            self.set_deadline(&self.deadlines.pong, timeout - timeout / PONG_CHECK);
        } else if outstanding >= before {
            self.end(reason);
        }
    }

    /// So much was written.
    pub(super) fn note_written(&self, bytes: usize) {
        self.deadlines.write.set(0);
        let progress = self.deadlines.progress.get();
        if self.deadlines.pong.get() != 0 && progress.outstanding != 0 {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let outstanding = progress.outstanding.saturating_add(bytes);
            self.deadlines.progress.set(Progress { outstanding, ..progress });
        }
    }

    /// Ends the session when its client has acknowledged nothing for `write_timeout`. While something
    /// is acknowledged it has time, however long our kernel's buffer is full.
    fn check_progress(&self) {
        let outstanding = self.transport.get().and_then(Transport::outstanding).unwrap_or(UNKNOWN);
        let Progress { outstanding: before, silent } = self.deadlines.progress.get();
        let silent = if outstanding == before { silent + 1 } else { 0 };
        self.deadlines.progress.set(Progress { outstanding, silent });
        self.deadlines.write.set(0);
        if silent >= PROGRESS_CHECKS {
            return self.end(CloseReason::WriteTimeout);
        }
        let interval = self.endpoint.write_timeout / u32::from(PROGRESS_CHECKS);
        self.set_deadline(&self.deadlines.write, interval);
    }

    /// Whether the moment of its closing with 1012 is set, or it is closing already.
    pub(in crate::shard) fn is_draining(&self) -> bool {
        self.deadlines.end.get() != 0
    }

    /// Closes the session with 1012 this much later.
    pub(in crate::shard) fn drain_after(&self, delay: Duration) {
        self.set_deadline(&self.deadlines.end, delay);
    }

    /// A newer token takes the place of the one that the session lives by, unless it would shorten
    /// the session's life: then nothing changes. `true`: it has taken its place.
    pub(in crate::shard) fn lengthen(&self, newer: Identity) -> bool {
        let before = self.deadlines.token_over.get();
        match newer.expires {
            _ if before == 0 => return false,
            None => {
                self.deadlines.expiry.set(0);
                self.deadlines.token_over.set(0);
            }
            Some(expires) if unix_second(expires) < before => return false,
            Some(expires) => self.expire_at(expires),
        }
        // Revoking the former token must not end what now lives by this one, nor the other way.
        self.fingerprint.set(newer.fingerprint);
        *self.token.borrow_mut() = Token::new(Some(newer), self.auth());
        true
    }

    pub(super) fn expire_at(&self, expires: SystemTime) {
        let left = expires.duration_since(self.context.wall_clock()).unwrap_or_default();
        self.deadlines.token_over.set(unix_second(expires));
        self.set_deadline(&self.deadlines.expiry, left - jitter(left));
    }

    /// Whether the token is over by the wall clock, whatever the ticks say: the clock may have been set,
    /// or the machine suspended. Asked once in a round of the wheel at the least.
    fn outlives_its_token(&self) -> bool {
        let over = self.deadlines.token_over.get();
        let is_open = self.stage.get() == Stage::Open;
        is_open && over != 0 && over <= unix_second(self.context.wall_clock())
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

/// Whole seconds since 1970; what is too late for them is as late as they can say.
fn unix_second(at: SystemTime) -> u32 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// How much earlier a session ends that has this long left: at random, so that those whose tokens were
/// made together do not come back together. Never later, since then the token is not good any more.
fn jitter(left: Duration) -> Duration {
    (left / 10).min(EXPIRY_SPREAD).mul_f64(fastrand::f64())
}

impl Deadlines {
    fn all(&self) -> [&Cell<Tick>; 5] {
        [&self.ping, &self.pong, &self.write, &self.expiry, &self.end]
    }

    /// Forgets all deadlines; the place in the wheel stays.
    pub(super) fn clear(&self) {
        self.all().iter().for_each(|at| at.set(0));
        self.token_over.set(0);
    }

    /// Takes a place in the wheel at the earliest deadline, `heartbeat` included, unless one as early
    /// is taken already.
    fn schedule(&self, key: u32, heartbeat: Option<Tick>, wheel: &mut Wheel) {
        let set = self.all().into_iter().map(Cell::get).filter(|&at| at != 0);
        let Some(next) = set.chain(heartbeat).min() else { return };
        if self.due.get() == 0 || next < self.due.get() {
            self.due.set(wheel.insert(key, next));
        }
    }
}
