//! Signs of life to a client that is sent nothing else: pings, and heartbeats.
//!
//! Server-Sent Events have no pings: at their times the gateway looks instead whether the client has
//! acknowledged what it was sent.
//!
//! A ping is answered, so that the gateway learns that the client is alive; a heartbeat is seen by the
//! page, so that the client learns that the gateway is. Neither counts as a delivery, and neither is
//! queued behind anything. An idle session is woken once for both.

use super::{Session, Stage};
use crate::shard::wheel::{Tick, Wheel};
use std::time::Instant;

impl Session {
    /// The first ping comes at a random moment of the interval, so that sessions opened together are not
    /// pinged together.
    pub(super) fn schedule_first_ping(&self) {
        let first = self.endpoint.ping_interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.set_deadline(&self.deadlines.ping, first);
    }

    /// A page has seen something: the next heartbeat is due the whole time later.
    pub(super) fn put_heartbeat_off(&self) {
        self.deadlines.seen.set(self.context.now());
        self.beating.set(false);
    }

    /// When the next heartbeat is due; `None`: the session gets none, or is closing.
    pub(super) fn heartbeat_at(&self) -> Option<Tick> {
        let heartbeat = self.endpoint.heartbeat_over(self.codec())?;
        let at = self.deadlines.seen.get().saturating_add(Wheel::ticks(heartbeat));
        self.close_reason.get().is_none().then_some(at)
    }

    /// Sends the ping and the heartbeat that are due, in one write.
    pub(super) fn keep_alive(&self, now: Tick) {
        let ping = self.deadlines.ping.get() != 0 && self.deadlines.ping.get() <= now;
        let heartbeat = self.heartbeat_is_due(now, ping);
        // First: a heartbeat that is still due would take a place in the wheel at the very next tick.
        if heartbeat {
            self.put_heartbeat_off();
        }
        if ping {
            self.set_deadline(&self.deadlines.ping, self.endpoint.ping_interval);
        }
        // Behind a full socket neither proves anything; the write timeout watches that one.
        if self.has_output() || self.stage.get() != Stage::Open || self.transport.get().is_none() {
            return;
        }
        if ping {
            self.queue_ping();
        }
        if heartbeat {
            self.queue_heartbeat();
        }
        if ping || heartbeat {
            self.flush(Instant::now());
        }
        if heartbeat {
            self.beating.set(true);
        }
    }

    /// A heartbeat that follows another may come early, with a ping, so that an idle session is woken
    /// once for both and keeps the moment of its pings, which is random.
    fn heartbeat_is_due(&self, now: Tick, with_ping: bool) -> bool {
        let early = if with_ping && self.beating.get() {
            Wheel::ticks(self.endpoint.ping_interval)
        } else {
            0
        };
        self.heartbeat_at().is_some_and(|at| at <= now.saturating_add(early))
    }

    fn queue_ping(&self) {
        if self.deadlines.pong.get() == 0 {
            self.await_pong();
        }
        if let Some(ping) = self.codec().ping() {
            self.push_frame(ping);
        }
    }

    fn queue_heartbeat(&self) {
        let notice = self.endpoint.heartbeat_notice.as_ref();
        if let Some(frame) = self.codec().heartbeat(notice) {
            self.push_frame(frame.clone());
        }
    }
}
