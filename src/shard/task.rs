//! The task of one session: waits for its socket, reads, and ends it.
//!
//! Small on purpose, since there is one for each connection: two words and, while a client's frame
//! is incomplete, a parser.

use super::{
    inbound::{Input, Parser},
    session::{Session, Stage},
};
use crate::{
    auth::TokenError,
    endpoint::{Format, Inbound},
    reason::CloseReason,
};
use serde::Deserialize;
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};
use tungstenite::Message;

/// Runs a session over its transport; dismisses it when dropped, however it ends.
pub(super) struct SessionTask {
    session: Rc<Session>,
    /// Only while a client's frame or fragmented message is incomplete.
    parser: Option<Box<Parser>>,
}

impl SessionTask {
    pub(super) fn new(session: Rc<Session>) -> Self {
        Self { session, parser: None }
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
        let mut scratch = session.core.scratch.borrow_mut();
        match transport.try_read(&mut scratch) {
            Ok(0) => session.gone(),
            Ok(n) => self.take_input(&scratch[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => session.gone(),
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
        self.session.heard();
        // After its close frame a client has nothing to say, and after ours for a violation nothing
        // that could be understood.
        if !matches!(self.session.stage(), Stage::Open | Stage::AwaitingClose) {
            return;
        }
        let mut parser =
            self.parser.take().unwrap_or_else(|| Box::new(Parser::new(&self.session.endpoint)));
        let Input { messages, replies, frames, violation } = parser.feed(bytes);
        if !parser.is_idle() {
            self.parser = Some(parser);
        }
        messages.into_iter().for_each(|message| self.on_message(message));
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

    fn on_message(&self, message: Message) {
        match message {
            Message::Close(_) => self.session.peer_closed(),
            Message::Text(text) if self.session.endpoint.format == Format::Json => {
                match refresh_token(&text) {
                    Some(token) if self.session.user.is_some() => self.refresh(&token),
                    _ => self.on_unexpected(),
                }
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
    fn refresh(&self, token: &str) {
        let session = &self.session;
        match session.core.auth_for(session).verify(token, SystemTime::now()) {
            Ok(identity) if Some(&identity.user) == session.user.as_ref() => {
                session.lengthen(identity.expires);
            }
            Ok(_) => session.end(CloseReason::Forbidden),
            Err(TokenError::Expired) => session.end(CloseReason::TokenExpired),
            Err(TokenError::Invalid) => session.end(CloseReason::TokenInvalid),
        }
    }
}

/// The token of a `{"type":"refresh","token":"…"}`.
fn refresh_token(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Refresh {
        r#type: String,
        token: String,
    }
    let refresh: Refresh = serde_json::from_str(text).ok()?;
    (refresh.r#type == "refresh").then_some(refresh.token)
}

impl Future for SessionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        loop {
            if task.session.stage() == Stage::Over {
                return Poll::Ready(());
            }
            let wrote = task.poll_write(cx).is_ready();
            let read = task.poll_read(cx).is_ready();
            if !wrote && !read && task.session.stage() != Stage::Over {
                task.session.set_waker(cx.waker());
                return Poll::Pending;
            }
        }
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        self.session.core.dismiss(&self.session);
    }
}
