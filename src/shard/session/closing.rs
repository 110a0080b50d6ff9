//! Closing a session: the close frame, what may still be sent before it, how long the client has to
//! answer, and the one log record.

use super::Session;
use crate::{
    carrier::Carrier,
    reason::{CloseReason, MissedReason},
    shard::wheel::TICK,
};
use std::time::Duration;
use tokio::time::Instant;

/// How long a client has to read what is queued and to answer our close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long a client has to read our close frame when no answer is expected: it broke the protocol,
/// so that nothing it sends can be parsed, or it is most likely gone.
const SHORT_WAIT: Duration = Duration::from_millis(500);

/// How often we look for what is thrown away of a client, which is up to the size of a read each time.
const MOST_DISCARDED: u16 = 32;

/// How far the closing of a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shard) enum Stage {
    Open,
    /// Our close frame is queued; the client's answer is awaited.
    AwaitingClose,
    /// The client broke the protocol, or floods us, or may not send anything (Server-Sent Events): what it
    /// sends is thrown away.
    Discarding,
    /// … and our close frame is out; we have closed our side. Closing the other side as well while
    /// the client still sends would reset the connection, and could destroy our close frame.
    HalfClosed,
    /// The client has closed too: what is queued goes out, then it is over.
    Flushing,
    /// The socket may be dropped now.
    Over,
}

impl Session {
    /// Ends the session for a reason of ours: the close frame goes out behind what may still be
    /// sent, and the client has [`CLOSE_WAIT`] to answer it. A client that breaks the protocol after
    /// our close frame, or floods us, is not read any more.
    pub(in crate::shard) fn end(&self, reason: CloseReason) {
        match self.stage.get() {
            Stage::Open => {}
            Stage::AwaitingClose if is_violation(reason) => return self.discard(),
            _ => return,
        }
        self.close_reason.set(Some(reason));
        if reason == CloseReason::RateLimited
            && let Some(user) = &self.user
        {
            self.context.floods.add(user, Instant::now());
        }
        if !flushes_first(reason) {
            self.drop_queue();
        }
        self.queue_close(reason);
        self.deadlines.clear();
        if is_violation(reason) {
            return self.discard();
        }
        let gives_no_sign = match self.carrier() {
            Carrier::WebSocket => reason == CloseReason::PingTimeout,
            Carrier::EventStream => reason == CloseReason::WriteTimeout,
        };
        let wait = if gives_no_sign { SHORT_WAIT } else { CLOSE_WAIT };
        if self.carrier() == Carrier::EventStream {
            return self.discard_within(wait);
        }
        self.stage.set(Stage::AwaitingClose);
        self.set_deadline(&self.deadlines.end, wait);
        self.wake();
    }

    /// What the client sends is thrown away from now on, and it has little time left.
    fn discard(&self) {
        self.discard_within(SHORT_WAIT);
    }

    /// … and so much time for what is queued. It then has nothing to answer.
    fn discard_within(&self, wait: Duration) {
        self.stage.set(Stage::Discarding);
        self.allowance.set(MOST_DISCARDED);
        self.set_deadline(&self.deadlines.end, wait);
        self.wake();
    }

    /// The client has closed: by a close frame of its own, or by answering ours.
    pub(in crate::shard) fn peer_closed(&self) {
        if self.stage.get() == Stage::Open {
            self.close_reason.set(Some(CloseReason::Bye));
            self.deadlines.clear();
            self.set_deadline(&self.deadlines.end, CLOSE_WAIT);
        }
        self.stage.set(Stage::Flushing);
    }

    /// The connection is lost; nothing can be sent any more.
    pub(in crate::shard) fn disconnected(&self) {
        if self.stage.get() == Stage::Open {
            self.close_reason.set(Some(CloseReason::PeerGone));
        }
        self.stage.set(Stage::Over);
        self.wake();
    }

    /// Whether the client may still get replies: we have not sent a close frame of our own.
    pub(in crate::shard) fn may_reply(&self) -> bool {
        matches!(self.close_reason.get(), None | Some(CloseReason::Bye))
    }

    /// Goes on with what only waited for the queue to empty, and says how far the closing has come.
    pub(in crate::shard) fn advance(&self) -> Stage {
        if !self.has_output() {
            match self.stage.get() {
                Stage::Flushing => self.stage.set(Stage::Over),
                Stage::Discarding => self.half_close(),
                Stage::Open | Stage::AwaitingClose | Stage::HalfClosed | Stage::Over => {}
            }
        }
        self.stage.get()
    }

    /// Ends the bookkeeping: counters and the one log record. The socket is dropped after this. One that never
    /// began was refused, and is no session to anybody.
    pub(in crate::shard) fn finish(&self) {
        if !self.queue.borrow().has_begun() {
            self.queue.borrow_mut().abandon();
            return;
        }
        let reason = self.close_reason.get().unwrap_or(if std::thread::panicking() {
            CloseReason::InternalError
        } else {
            CloseReason::PeerGone
        });
        let lost = self.queue.borrow_mut().abandon();
        self.count_private_bytes();
        self.count_missed(MissedReason::SessionEnded, u64::from(lost));
        self.metrics.closed[reason.index()].add(1);
        let ticks = self.context.now().saturating_sub(self.opened);
        let open = TICK * ticks;
        self.context.metrics.session_seconds.observe(open);
        tracing::info!(
            session = %self.id,
            endpoint = &*self.endpoint.name,
            transport = self.carrier().label(),
            reason = reason.label(),
            delivered = self.delivered.get(),
            missed = self.missed.get(),
            open_secs = open.as_secs_f64(),
            "session closed"
        );
    }

    /// The client did not close in time. What it has not read is not worth the kernel's memory.
    pub(super) fn abort(&self) {
        if self.has_output()
            && let Some(transport) = self.transport.get()
        {
            transport.reset_on_drop();
        }
        self.disconnected();
    }

    fn half_close(&self) {
        self.stage.set(Stage::HalfClosed);
        if let Some(transport) = self.transport.get() {
            transport.shut_down_writing();
        }
    }

    fn queue_close(&self, reason: CloseReason) {
        if let Some(close) = self.codec().close(reason) {
            self.push_frame(close);
        }
    }

    pub(super) fn drop_queue(&self) {
        let reason = match self.close_reason.get() {
            Some(CloseReason::SlowConsumer) => MissedReason::SlowConsumer,
            _ => MissedReason::SessionEnded,
        };
        let dropped = self.queue.borrow_mut().clear();
        self.count_private_bytes();
        self.count_missed(reason, u64::from(dropped));
    }
}

/// Whether what is queued is still sent before the close frame: not to a client that is too slow for
/// it, or that may not have it any more; and one that was replaced must learn of that, or it would come
/// back and take the place of the other.
pub(super) fn flushes_first(reason: CloseReason) -> bool {
    !matches!(
        reason,
        CloseReason::SlowConsumer
            | CloseReason::WriteTimeout
            | CloseReason::PingTimeout
            | CloseReason::TokenExpired
            | CloseReason::TokenInvalid
            | CloseReason::Revoked
            | CloseReason::Forbidden
            | CloseReason::Replaced
    )
}

/// Whether nothing more is read after this: the stream is broken, or it is a flood.
fn is_violation(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::ProtocolError
            | CloseReason::InvalidUtf8
            | CloseReason::MessageTooBig
            | CloseReason::RateLimited
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Request, Revoke},
        channel::ChannelName,
        shard::rig::{Frame, Rig, close, endpoint, run},
    };
    use tokio::time::Instant;

    #[test]
    fn a_client_that_floods_behind_our_close_frame_is_soon_not_listened_to() {
        let pings = [0x89, 0x80, 0, 0, 0, 0].repeat(1_001);
        for flood in [&pings[..], &[0x81, 0x01, b'x']] {
            run(async move {
                let mut rig = Rig::new();
                let mut client = rig.connect(endpoint()).await;
                rig.revoke(Revoke::User("42".into()));
                assert_eq!(client.next().await, close(CloseReason::Revoked));
                let told = Instant::now();
                client.send_bytes(flood).await;
                assert_eq!(client.next().await, Frame::End);
                assert_eq!(
                    rig.requested().await,
                    [Request::Unsubscribe(ChannelName::new("orders"))]
                );
                assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
                assert_eq!(rig.metrics().closed[CloseReason::Revoked.index()].load(), 1);
            });
        }
    }

    #[test]
    fn a_client_that_answers_no_ping_has_half_a_second_for_our_close_frame() {
        run(async {
            let mut rig = Rig::new();
            let mut client = rig.connect(endpoint()).await;
            while client.next().await == Frame::Ping {}
            let told = Instant::now();
            assert_eq!(client.next().await, Frame::End);
            assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
        });
    }
}
