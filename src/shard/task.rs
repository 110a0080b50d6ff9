//! The task of one session: waits for its socket, reads, writes what was blocked, and ends.
//!
//! It owns the session's entry in the registry, so the session is removed however the task ends, by a
//! panic too. Small on purpose, since there is one for each connection: four words and the permit. What
//! the words point to exists only while a client's frame is incomplete or its new token waits for a key.

use super::{
    inbound::{Input, Parser},
    registry::Registered,
    session::{Session, Stage},
};
use crate::{
    auth::TokenError, endpoint::Inbound, identity::Identity, reason::CloseReason, wire::ClientFrame,
};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};
use tracing::debug;
use tungstenite::Message;

/// Runs a session over its transport, and removes it from the registry when dropped.
pub(super) struct SessionTask<P> {
    session: Registered,
    /// Only while a client's frame or fragmented message is incomplete.
    parser: Option<Box<Parser>>,
    /// Only while the key of a client's new token is being fetched. A newer token takes its place.
    refreshing: Option<Box<Refreshing>>,
    /// Gives back what admission counted, after the session is removed.
    _permit: P,
}

/// Boxed once more where it is kept, so that the task has one word for it instead of two.
type Refreshing = Pin<Box<dyn Future<Output = Result<Identity, TokenError>>>>;

impl<P> SessionTask<P> {
    pub(super) fn new(session: Registered, permit: P) -> Self {
        Self { session, parser: None, refreshing: None, _permit: permit }
    }

    /// Takes what the client sent behind its request, before the first read.
    pub(super) fn take_early(&mut self, early: &[u8]) {
        if !early.is_empty() {
            self.take_input(early);
        }
    }

    /// Reads once. `Pending`: nothing is there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let session = Rc::clone(&self.session);
        let Some(transport) = session.transport.get() else { return Poll::Pending };
        if transport.poll_read_ready(cx).is_pending() {
            return Poll::Pending;
        }
        let mut scratch = session.context.scratch.borrow_mut();
        match transport.try_read(&mut scratch) {
            Ok(0) => session.disconnected(),
            Ok(n) => self.take_input(&scratch[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => session.disconnected(),
        }
        Poll::Ready(())
    }

    fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(transport) = self.session.transport.get() else { return Poll::Pending };
        if !self.session.has_output() || transport.poll_write_ready(cx).is_pending() {
            return Poll::Pending;
        }
        self.session.flush(Instant::now());
        // Blocked again: the next poll of readiness is what registers this task.
        Poll::Ready(())
    }

    fn take_input(&mut self, bytes: &[u8]) {
        self.session.on_input();
        // After its close frame a client has nothing to send, and after ours for a violation nothing
        // that could be parsed.
        if !matches!(self.session.stage(), Stage::Open | Stage::AwaitingClose) {
            return;
        }
        let mut parser =
            self.parser.take().unwrap_or_else(|| Box::new(Parser::new(&self.session.endpoint)));
        let Input { messages, replies, frames, violation } = parser.feed(bytes);
        if !parser.is_idle() {
            self.parser = Some(parser);
        }
        messages.iter().for_each(|message| self.on_message(message));
        if self.session.may_reply() {
            replies.into_iter().for_each(|reply| self.session.push_reply(reply));
        }
        if let Some(reason) = violation {
            self.session.end(reason);
        } else if !self.session.may_send(frames) {
            self.session.end(CloseReason::RateLimited);
        }
        self.session.flush(Instant::now());
    }

    fn on_message(&mut self, message: &Message) {
        if message.is_close() {
            return self.session.peer_closed();
        }
        match self.session.codec().client_frame(message) {
            Some(ClientFrame::Refresh { token }) if self.session.user.is_some() => {
                self.refresh(token);
            }
            _ => self.on_unexpected(),
        }
    }

    fn on_unexpected(&self) {
        if self.session.endpoint.inbound == Inbound::Close {
            self.session.end(CloseReason::UnexpectedMessage);
        }
    }

    /// A newer token of the same user lengthens the session's life.
    fn refresh(&mut self, token: String) {
        match self.session.auth().verify(&token, SystemTime::now()) {
            Err(TokenError::KeyUnknown) => {
                let session = Rc::clone(&self.session);
                self.refreshing = Some(Box::new(Box::pin(verify_with_latest(session, token))));
            }
            verified => self.refreshed(verified),
        }
    }

    /// `Pending`: nothing has come of a refresh that waits for a key, or none does.
    fn poll_refresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(refreshing) = &mut self.refreshing else { return Poll::Pending };
        let verified = ready!(Pin::new(refreshing).poll(cx));
        self.refreshing = None;
        if self.session.stage() == Stage::Open {
            self.refreshed(verified);
            self.session.flush(Instant::now());
        }
        Poll::Ready(())
    }

    fn refreshed(&self, verified: Result<Identity, TokenError>) {
        let session = &self.session;
        match verified {
            Ok(identity) if Some(&identity.user) != session.user.as_ref() => {
                session.end(CloseReason::Forbidden);
            }
            // What a session hears, its token must give, and this is the one that it lives by now.
            Ok(identity) if !session.endpoint.still_gives(&identity, &session.channels) => {
                session.end(CloseReason::Reconfigured);
            }
            Ok(identity) => {
                session.lengthen(identity);
                session.recheck_revocations();
            }
            Err(TokenError::Expired) => session.end(CloseReason::TokenExpired),
            Err(TokenError::Invalid) => session.end(CloseReason::TokenInvalid),
            // It cannot be known now whether the new token is good, and the former one still is.
            Err(TokenError::KeyUnknown) => debug!(session = %session.id, "a refresh had no key"),
        }
    }
}

/// Verifies a token whose key may have to be fetched first; again when a reload came meanwhile, by
/// what counts since then.
async fn verify_with_latest(session: Rc<Session>, token: String) -> Result<Identity, TokenError> {
    loop {
        let auth = session.auth();
        let verified = auth.authenticate(&token).await;
        if Arc::ptr_eq(&auth, &session.auth()) {
            return verified;
        }
    }
}

impl<P: Unpin> Future for SessionTask<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        loop {
            if task.session.stage() == Stage::Over {
                return Poll::Ready(());
            }
            let wrote = task.poll_write(cx).is_ready();
            let read = task.poll_read(cx).is_ready();
            let refreshed = task.poll_refresh(cx).is_ready();
            if !wrote && !read && !refreshed && task.session.stage() != Stage::Over {
                task.session.set_waker(cx.waker());
                return Poll::Pending;
            }
        }
    }
}
