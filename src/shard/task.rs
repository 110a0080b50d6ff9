//! The task of one session: waits for its socket, reads, writes what was blocked, and ends.
//!
//! It owns the session's entry in the registry, so the session is removed however the task ends, by a
//! panic too. Small on purpose, since there is one for each connection: four words and the permit. What
//! the words point to exists only while a client's frame is incomplete, its new token is verified, or where
//! it may publish.

use super::{
    adding,
    inbound::{Input, Parser},
    publish_rates::PublishSpec,
    publishing::{Publishing, refuse},
    refresh::Refreshes,
    registry::Registered,
    session::Stage,
};
use crate::{
    carrier::Carrier,
    endpoint::{Format, Inbound},
    identity::Identity,
    reason::{CloseReason, PublishResult},
    wire::{ClientFrame, Reference},
};
use bytes::Bytes;
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
    /// Only where the client asks for something that takes time.
    asking: Option<Box<Asking>>,
    /// Gives back what admission counted, after the session is removed.
    _permit: P,
}

/// Frames in one read that are many.
const MANY: u32 = 32;

/// What one read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Little,
    /// So much that others should not wait for the next.
    Much,
}

/// What a client asks for.
#[derive(Default)]
struct Asking {
    /// Only while a newer token is to be verified, and for a moment after that.
    refreshes: Option<Refreshes>,
    /// As long as the session lives, if it may publish.
    publishing: Option<Publishing>,
}

impl<P> SessionTask<P> {
    pub(super) fn new(session: Registered, publish: Option<Box<PublishSpec>>, permit: P) -> Self {
        let publishing = |spec: Box<PublishSpec>| Some(Publishing::new(*spec));
        let asking =
            publish.map(|spec| Box::new(Asking { refreshes: None, publishing: publishing(spec) }));
        Self { session, parser: None, asking, _permit: permit }
    }

    /// Takes what the client sent behind its request, before the first read.
    pub(super) fn take_early(&mut self, early: &[u8]) {
        if !early.is_empty() {
            self.take_input(early);
        }
    }

    /// Reads once. `Pending`: nothing is there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        let session = Rc::clone(&self.session);
        let Some(transport) = session.transport.get() else { return Poll::Pending };
        if self.is_full() || !session.may_read() || transport.poll_read_ready(cx).is_pending() {
            return Poll::Pending;
        }
        let mut scratch = session.context.scratch.borrow_mut();
        match transport.try_read(&mut scratch) {
            Ok(0) => session.disconnected(),
            Ok(n) => return Poll::Ready(self.take_input(&scratch[..n])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => session.disconnected(),
        }
        Poll::Ready(Read::Little)
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

    fn take_input(&mut self, bytes: &[u8]) -> Read {
        self.session.on_input();
        if self.session.carrier() == Carrier::EventStream {
            // Its request was the last thing that it may send.
            self.session.end(CloseReason::UnexpectedMessage);
            self.session.flush(Instant::now());
            return Read::Little;
        }
        // After its close frame a client has nothing to send, and after ours for a violation nothing
        // that could be parsed.
        if !matches!(self.session.advance(), Stage::Open | Stage::AwaitingClose) {
            return Read::Much;
        }
        let mut parser =
            self.parser.take().unwrap_or_else(|| Box::new(Parser::new(&self.session.endpoint)));
        let Input { messages, replies, frames, violation } = parser.feed(bytes);
        if !parser.is_idle() {
            self.parser = Some(parser);
        }
        if !self.session.may_send(frames) {
            self.session.end(CloseReason::RateLimited);
            self.session.flush(Instant::now());
            return Read::Much;
        }
        let mut limited_otherwise = 0;
        for message in &messages {
            limited_otherwise += u16::from(self.on_message(message));
        }
        self.session.may_send_again(limited_otherwise);
        if self.session.may_reply() {
            replies.into_iter().for_each(|reply| self.session.pong(reply));
        }
        if let Some(reason) = violation {
            self.session.end(reason);
        }
        self.write_answers();
        if frames > MANY { Read::Much } else { Read::Little }
    }

    /// Writes what the client was just answered. It may wait behind other output, and takes memory then.
    fn write_answers(&self) {
        self.session.flush(Instant::now());
        self.session.registry().bound_memory();
    }

    /// Returns whether a limit of its own has let it through.
    fn on_message(&mut self, message: &Message) -> bool {
        if message.is_close() {
            self.session.peer_closed();
            return false;
        }
        match self.session.endpoint.format {
            Format::Raw | Format::Binary => self.on_raw(message),
            Format::Json => self.on_frame(message),
        }
    }

    /// A message of a raw session is one to be published, or nothing.
    fn on_raw(&mut self, message: &Message) -> bool {
        if let Some(publishing) = self.publishing() {
            let (publishing, session) = publishing;
            return publishing.take_message(session, &message_bytes(message));
        }
        self.session.ignore();
        self.close_if_wanted();
        false
    }

    fn on_frame(&mut self, message: &Message) -> bool {
        match self.session.codec().client_frame(message) {
            Ok(ClientFrame::Refresh { token }) if self.session.user.is_some() => {
                let refreshes = &mut self.asking.get_or_insert_default().refreshes;
                refreshes.get_or_insert_default().offer(&self.session, token);
                false
            }
            Ok(ClientFrame::Publish { channel, data, reference }) => match self.publishing() {
                Some((publishing, session)) => {
                    publishing.take_frame(session, channel.as_deref(), &data, reference)
                }
                None => {
                    let code = PublishResult::NotPermitted;
                    refuse(&self.session, reference.as_ref(), code, None);
                    false
                }
            },
            Ok(ClientFrame::Subscribe { channel, since, last, reference }) => {
                let asked = adding::Subscribe { channel, since, last, reference };
                adding::subscribe(&self.session, asked)
            }
            Ok(ClientFrame::Unsubscribe { channel, reference }) => {
                adding::unsubscribe(&self.session, &channel, reference.as_ref())
            }
            Ok(ClientFrame::Refresh { .. }) => self.on_invalid(None),
            Err(invalid) => self.on_invalid(invalid.reference.as_ref()),
        }
    }

    /// A frame that is not understood.
    fn on_invalid(&mut self, reference: Option<&Reference>) -> bool {
        if self.close_if_wanted() {
            return false;
        }
        match self.publishing() {
            Some((publishing, session)) => publishing.refuse_frame(session, reference),
            None => refuse(&self.session, reference, PublishResult::FrameInvalid, None),
        }
        false
    }

    fn publishing(&mut self) -> Option<(&mut Publishing, &Registered)> {
        let publishing = self.asking.as_mut()?.publishing.as_mut()?;
        Some((publishing, &self.session))
    }

    /// Returns whether the session ends for a message that means nothing.
    fn close_if_wanted(&self) -> bool {
        let closes = self.session.endpoint.inbound == Inbound::Close;
        if closes {
            self.session.end(CloseReason::UnexpectedMessage);
        }
        closes
    }

    /// Whether so much of what the client publishes is under way that nothing more is read.
    fn is_full(&self) -> bool {
        let publishing = self.asking.as_ref().and_then(|asking| asking.publishing.as_ref());
        self.session.advance() == Stage::Open
            && publishing.is_some_and(|publishing| publishing.is_full(&self.session))
    }

    /// `Pending`: nothing has come of a newer token, or there is none.
    fn poll_refreshes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(asking) = &mut self.asking else { return Poll::Pending };
        let Some(refreshes) = &mut asking.refreshes else { return Poll::Pending };
        if self.session.advance() == Stage::Open
            && let Poll::Ready(newer) = refreshes.poll(&self.session, cx)
        {
            self.renew(newer.as_ref());
            self.session.flush(Instant::now());
            return Poll::Ready(());
        }
        if self.session.advance() != Stage::Open || refreshes.is_idle() {
            asking.refreshes = None;
            self.asking = self.asking.take().filter(|asking| asking.publishing.is_some());
        }
        Poll::Pending
    }

    fn renew(&mut self, newer: Option<&Identity>) {
        if let (Some(identity), Some((publishing, session))) = (newer, self.publishing()) {
            publishing.renew(session, identity);
        }
    }

    /// `Pending`: nothing has come of what the client publishes.
    fn poll_publishing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((publishing, session)) = self.publishing() else { return Poll::Pending };
        if publishing.poll(session, cx).is_pending() {
            return Poll::Pending;
        }
        self.write_answers();
        Poll::Ready(())
    }
}

/// A whole message's payload.
fn message_bytes(message: &Message) -> Bytes {
    match message {
        Message::Text(text) => text.clone().into(),
        Message::Binary(bytes) => bytes.clone(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Bytes::new(),
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
            let read = task.poll_read(cx);
            if read == Poll::Ready(Read::Much) {
                // Others get their turn before more is read of this one.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = read.is_ready();
            let refreshed = task.poll_refreshes(cx).is_ready();
            let published = task.poll_publishing(cx).is_ready();
            if !wrote && !read && !refreshed && !published && task.session.advance() != Stage::Over
            {
                task.session.set_waker(cx.waker());
                return Poll::Pending;
            }
        }
    }
}
