//! The task of one session: waits for its socket, reads, writes what was blocked, and ends.
//!
//! It owns the session's entry in the registry, so the session is removed however the task ends, by a
//! panic too. Small on purpose, since there is one for each connection: four words and the permit. What
//! the words point to exists only while a client's frame is incomplete or its new token is verified.

use super::{
    adding,
    inbound::{Input, Parser},
    refresh::Refreshes,
    registry::Registered,
    session::Stage,
};
use crate::{carrier::Carrier, endpoint::Inbound, reason::CloseReason, wire::ClientFrame};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};
use tungstenite::Message;

/// Runs a session over its transport, and removes it from the registry when dropped.
pub(super) struct SessionTask<P> {
    session: Registered,
    /// Only while a client's frame or fragmented message is incomplete.
    parser: Option<Box<Parser>>,
    /// Only while a newer token of the client is to be verified, and for a moment after that.
    refreshes: Option<Box<Refreshes>>,
    /// Gives back what admission counted, after the session is removed.
    _permit: P,
}

impl<P> SessionTask<P> {
    pub(super) fn new(session: Registered, permit: P) -> Self {
        Self { session, parser: None, refreshes: None, _permit: permit }
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
        if self.session.carrier() == Carrier::EventStream {
            // Its request was the last thing that it may send.
            self.session.end(CloseReason::UnexpectedMessage);
            return self.session.flush(Instant::now());
        }
        // After its close frame a client has nothing to send, and after ours for a violation nothing
        // that could be parsed.
        if !matches!(self.session.advance(), Stage::Open | Stage::AwaitingClose) {
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
            Ok(ClientFrame::Refresh { token }) if self.session.user.is_some() => {
                self.refreshes.get_or_insert_default().offer(&self.session, token);
            }
            Ok(ClientFrame::Subscribe { channel, since, last, reference }) => {
                adding::subscribe(
                    &self.session,
                    adding::Subscribe { channel, since, last, reference },
                );
            }
            Ok(ClientFrame::Unsubscribe { channel, reference }) => {
                adding::unsubscribe(&self.session, &channel, reference.as_ref());
            }
            _ => self.on_unexpected(),
        }
    }

    fn on_unexpected(&self) {
        if self.session.endpoint.inbound == Inbound::Close {
            self.session.end(CloseReason::UnexpectedMessage);
        }
    }

    /// `Pending`: nothing has come of a newer token, or there is none.
    fn poll_refreshes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(refreshes) = &mut self.refreshes else { return Poll::Pending };
        if self.session.advance() == Stage::Open && refreshes.poll(&self.session, cx).is_ready() {
            self.session.flush(Instant::now());
            return Poll::Ready(());
        }
        if self.session.advance() != Stage::Open || refreshes.is_idle() {
            self.refreshes = None;
        }
        Poll::Pending
    }
}

impl<P: Unpin> Future for SessionTask<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        loop {
            if task.session.advance() == Stage::Over {
                return Poll::Ready(());
            }
            let wrote = task.poll_write(cx).is_ready();
            let read = task.poll_read(cx).is_ready();
            let refreshed = task.poll_refreshes(cx).is_ready();
            if !wrote && !read && !refreshed && task.session.advance() != Stage::Over {
                task.session.set_waker(cx.waker());
                return Poll::Pending;
            }
        }
    }
}
