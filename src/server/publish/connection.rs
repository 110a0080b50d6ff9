//! A connection that publishes: one request after the other, until it ends or is idle for too long.

use super::{
    authority::Publishing,
    exchange::{self, Progress},
    length::Length,
    request::Exchange,
};
use crate::{
    metrics::Metrics,
    net::Transport,
    phase::Phase,
    reason::Refusal,
    server::{
        head::{self, NoRequest, Received},
        response,
    },
    shard::Shard,
};
use bytes::Bytes;
use std::{
    future::poll_fn,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

/// The most that is read before there is a buffer for a request: most heads, and short bodies.
const FIRST_READ: usize = 4_096;

/// Serves one connection.
pub(in crate::server) struct Connection {
    pub(in crate::server) publishing: Arc<Publishing>,
    pub(in crate::server) shard: Shard,
    pub(in crate::server) metrics: Arc<Metrics>,
    pub(in crate::server) phase: watch::Receiver<Phase>,
    /// `server.handshake_timeout`: for a head, for a body, and for the client to take an answer.
    pub(in crate::server) timeout: Duration,
    /// Whether it came in on a port that is for publishing alone.
    pub(in crate::server) own_port: bool,
}

impl Connection {
    /// Serves this request and those that follow it. `Some`: a request that does not publish, still unanswered.
    pub(in crate::server) async fn serve(
        &self,
        first: Received,
        transport: &mut Transport,
    ) -> Option<Received> {
        let mut received = first;
        loop {
            let is_ours = || self.publishing.takes_on_public_port(received.head.uri.path());
            if !self.own_port && !is_ours() {
                return Some(received);
            }
            let early = self.exchange(received, transport).await?;
            received = self.next(early, transport).await?;
        }
    }

    /// Answers one request. Returns what came in behind it; `None`: the connection ends.
    async fn exchange(&self, received: Received, transport: &mut Transport) -> Option<Bytes> {
        let Received { head, raw, early } = received;
        let Some(length) = Length::of(&head) else {
            return self.refuse(Refusal::BadHandshake, transport).await;
        };
        let progress = Rc::<Progress>::default();
        let exchange = Exchange {
            authority: self.publishing.authority()?,
            shard: self.shard.clone(),
            phase: self.phase.clone(),
            length,
            deadline: Instant::now() + self.timeout,
            progress: Rc::clone(&progress),
        };
        drop(head);
        let answer = |request| exchange.answer(request);
        let answered = tokio::select! {
            biased;
            answered = exchange::run(transport, (raw, early, length), &progress, answer) => answered,
            () = self.stuck(&progress) => return None,
        };
        match answered {
            Ok(early) => progress.goes_on().then_some(early),
            Err(error) => {
                debug!(%error, "a connection broke while it published");
                None
            }
        }
    }

    /// Resolves when the client has not taken its answer within `timeout` to twice that.
    async fn stuck(&self, progress: &Progress) {
        let mut before = false;
        loop {
            sleep(self.timeout).await;
            if before && progress.answered.get() {
                return;
            }
            before = progress.answered.get();
        }
    }

    /// Waits for the next request. `None`: there is none.
    async fn next(&self, mut early: Bytes, transport: &mut Transport) -> Option<Received> {
        if early.is_empty() {
            // A reload may have taken the table away. The next request is still read, and the public port answers it.
            let authority = self.publishing.authority();
            let idle = authority.map_or(self.timeout, |it| it.config.idle_timeout);
            early = tokio::select! {
                biased; // What has come before the end is answered.
                bytes = first_bytes(transport) => bytes?,
                () = sleep(idle) => return None,
                () = self.draining() => return None,
            };
        }
        let late = Instant::now() + self.timeout;
        let end = async {
            tokio::select! {
                () = sleep_until(late) => Refusal::RequestTimeout,
                () = self.draining() => Refusal::Draining,
            }
        };
        match head::receive_behind(early, transport, end).await {
            Ok(received) => Some(received),
            Err(NoRequest::Gone) => None,
            Err(NoRequest::Refused(refusal)) => self.refuse(refusal, transport).await,
        }
    }

    /// Answers a request that cannot be served. Nothing more is read after it.
    async fn refuse<T>(&self, refusal: Refusal, transport: &mut Transport) -> Option<T> {
        self.metrics.handshake_refused(refusal);
        let answer = response::refused(refusal, None, false, None, SystemTime::now());
        // A client that does not take it is closed like one that does.
        let _ = response::write_last(transport, &answer).await;
        None
    }

    /// Resolves when the gateway drains.
    async fn draining(&self) {
        let mut phase = self.phase.clone();
        // An error means that nobody leads the phases any more, which is an end too.
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    }
}

/// Waits for the first bytes of a request, without a buffer while there are none. `None`: the connection has ended.
/// It reads, since a socket counts as ready until a read has found it empty.
async fn first_bytes(transport: &mut Transport) -> Option<Bytes> {
    poll_fn(|cx| {
        let mut buffer = [MaybeUninit::uninit(); FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        let read = ready!(Pin::new(&mut *transport).poll_read(cx, &mut buffer));
        let bytes = buffer.filled();
        Poll::Ready((read.is_ok() && !bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes)))
    })
    .await
}

/// Ends a connection so that its last answer arrives.
pub(in crate::server) async fn close(mut transport: Transport) {
    if response::write_last(&mut transport, &[]).await.is_ok() {
        response::linger(transport).await;
    }
}
