//! How a handshake ends without a session: its answer, what is logged, and the lingering close.

use super::{
    Asked, Handshake, NoSession,
    decide::Denied,
    upgrade::{NoUpgrade, Upgrade},
};
use crate::{
    auth::Reject,
    net::Transport,
    reason::Refusal,
    server::{
        admission::OverLimit,
        head,
        response::{self, HandshakeFault},
    },
    wire::sse,
};
use std::{
    io,
    time::{Instant, SystemTime},
};
use tracing::{debug, warn};

impl Handshake {
    /// Refuses a connection over the limits, by what is wrong with its request if anything is. Ends
    /// without waiting for the client when others need the place.
    pub(super) async fn turn_away(mut self, mut transport: Transport, mut over_limit: OverLimit) {
        let late = self.end(over_limit.refusal);
        let end = async {
            tokio::select! {
                refusal = late => refusal,
                () = over_limit.place.cut_off() => over_limit.refusal,
            }
        };
        let received = match head::receive(&mut transport, end).await {
            Ok(received) if self.is_to_publish(&received.head) => {
                match self.state.admission.take_connection() {
                    Ok(connection) => {
                        drop(over_limit);
                        return Box::pin(self.publish(received, transport, connection)).await;
                    }
                    Err(refusal) => Err(NoSession::Refused(refusal)),
                }
            }
            received => received.map_err(NoSession::from).and_then(|it| self.recognise(it)),
        };
        // Only the reason is kept while the client is answered.
        let refusal = match received.err() {
            None | Some(NoSession::Preflight) => over_limit.refusal,
            Some(NoSession::Refused(refusal)) => refusal,
            Some(NoSession::Gone) => return,
        };
        if self.refuse(refusal, &mut transport).await.is_ok() {
            tokio::select! {
                biased;
                // First: at once it discards what has come, or the kernel would reset the connection.
                () = response::linger(transport) => {}
                () = over_limit.place.cut_off() => {}
            }
        }
    }

    /// Answers a client that is still there, and ends the connection.
    pub(super) async fn end_without_session(
        &self,
        no_session: NoSession,
        mut transport: Transport,
    ) {
        match no_session {
            NoSession::Gone => debug!(endpoint = self.name(), "the client closed"),
            NoSession::Refused(refusal) => {
                if self.refuse(refusal, &mut transport).await.is_ok() {
                    response::linger(transport).await;
                }
            }
            NoSession::Preflight => {
                let answer =
                    self.cors.as_ref().map(|it| response::preflight(it, SystemTime::now()));
                let answer = answer.unwrap_or_default();
                if response::write_last(&mut transport, &answer).await.is_ok() {
                    response::linger(transport).await;
                }
            }
        }
    }

    /// Notes what is wrong with a handshake, for the answer.
    pub(super) fn not_correct(&mut self, why: NoUpgrade) -> Refusal {
        match why {
            NoUpgrade::NotAsked => {
                self.fault = self.cors.is_some().then_some(HandshakeFault::Accept);
                Refusal::UpgradeRequired
            }
            NoUpgrade::Faulty(fault) => {
                self.fault = Some(fault);
                Refusal::BadHandshake
            }
        }
    }

    /// Logs why a token or a request gives no channels: the client is told the code alone.
    pub(super) fn denied(&self, denied: Denied) -> Refusal {
        let Denied { refusal, cause } = denied;
        let Some(cause) = cause else { return refusal };
        let endpoint = self.name().unwrap_or_default();
        let before = self.state.causes.to_log(&format!("{endpoint} {cause}"), Instant::now());
        if let Some(before) = before {
            warn!(endpoint, code = refusal.label(), cause = &*cause, before, "handshake refused");
        }
        refusal
    }

    /// Answers with a refusal and stops writing.
    async fn refuse(&self, refusal: Refusal, transport: &mut Transport) -> io::Result<()> {
        self.state.metrics.handshake_refused(refusal);
        debug!(endpoint = self.name(), code = refusal.label(), fault = ?self.fault, "handshake refused");
        let answer = self.closing_answer(refusal).unwrap_or_else(|| {
            let (is_head, cors) = (self.is_head, self.cors.as_deref());
            response::refused(refusal, self.fault, is_head, cors, SystemTime::now())
        });
        let written = response::write_last(transport, &answer).await;
        self.answered();
        written
    }

    /// The answer of `auth.reject = "close"`, where it applies; and over Server-Sent Events that to a refusal
    /// which time may cure, since a status would end a browser's attempts for good.
    fn closing_answer(&self, refusal: Refusal) -> Option<Vec<u8>> {
        let close = refusal.as_close().filter(|_| self.state.config.auth.reject == Reject::Close);
        match self.asked.as_ref()? {
            Asked::WebSocket(Upgrade { accept_key, subprotocol }) => {
                response::switching_and_closing(accept_key, *subprotocol, close?)
            }
            Asked::EventStream(body) => {
                let events = match close {
                    Some(close) => sse::close(*body, close)?,
                    None => sse::refused_for_now(*body, refusal)?,
                };
                Some([&self.event_stream(*body)[..], &events].concat())
            }
        }
    }
}
