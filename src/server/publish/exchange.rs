//! hyper's part of one request: the body, `100 Continue`, and the answer.
//!
//! The head was read before, so it is read again from memory; hyper gets as many bytes as the request has,
//! and no more. Afterwards the connection is taken back from it. Every head is read by our own reader first, the
//! second of a connection too, since hyper accepts requests whose length is ambiguous.

use super::{chunks::Chunks, length::Length};
use crate::net::Transport;
use bytes::{Buf as _, Bytes};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How far an exchange has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether the whole body was read.
    pub(super) body_read: Cell<bool>,
    /// Whether there is an answer.
    pub(super) answered: Cell<bool>,
    /// Whether another request may follow on this connection.
    pub(super) keep: Cell<bool>,
    /// Whether hyper has begun to read a second request, because it saw the end of the first elsewhere than we
    /// do. Where the next one begins is not known then.
    overrun: Cell<bool>,
    /// Whether hyper has taken all of the answer.
    taken: Cell<bool>,
    /// Whether the answer has been written to the socket.
    written: Cell<bool>,
}

impl Progress {
    /// Whether the connection goes on with another request.
    pub(super) fn goes_on(&self) -> bool {
        self.keep.get() && !self.overrun.get()
    }
}

/// The body of an answer.
pub(super) struct AnswerBody {
    bytes: Bytes,
    progress: Rc<Progress>,
}

impl AnswerBody {
    /// `sent`: whether the body is sent; the answer to a `HEAD` has none.
    pub(super) fn new(bytes: Bytes, sent: bool, progress: Rc<Progress>) -> Self {
        progress.answered.set(true);
        progress.taken.set(!sent || bytes.is_empty());
        Self { bytes, progress }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.progress.taken.set(true);
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// A connection during one request: what hyper reads of it, and no byte of what follows.
struct OneRequest<'t> {
    /// What has come in and hyper has not read: at first the head, and what is behind it.
    before: Bytes,
    transport: &'t mut Transport,
    left: Left,
    progress: Rc<Progress>,
}

/// What a request still has.
enum Left {
    Bytes(u64),
    /// So many bytes of the head, then chunks.
    Chunked(usize, Chunks),
}

impl Left {
    fn new(head: usize, length: Length) -> Self {
        match length {
            Length::None => Self::Bytes(head as u64),
            Length::Known(length) => Self::Bytes(length.saturating_add(head as u64)),
            Length::Chunked => Self::Chunked(head, Chunks::new()),
        }
    }

    /// The most bytes that it can have.
    fn most(&self) -> usize {
        match self {
            Self::Bytes(left) => usize::try_from(*left).unwrap_or(usize::MAX),
            Self::Chunked(_, Chunks::Over | Chunks::Ambiguous) => 0,
            Self::Chunked(..) => usize::MAX,
        }
    }

    /// Whether nobody can say where it ends.
    fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Chunked(_, Chunks::Ambiguous))
    }

    /// Takes the next bytes of the connection. Returns how many of them are of this request.
    fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                taken
            }
            Self::Chunked(head, chunks) => {
                let of_head = bytes.len().min(*head);
                *head -= of_head;
                of_head + chunks.take(&bytes[of_head..])
            }
        }
    }
}

/// Has hyper do one exchange. Returns what came in behind the request, as far as hyper has not used it.
///
/// # Errors
/// When the connection broke, or the body did.
pub(super) async fn run<F>(
    transport: &mut Transport,
    (raw, early, length): (Bytes, Bytes, Length),
    progress: &Rc<Progress>,
    answer: impl FnOnce(Request<Incoming>) -> F,
) -> hyper::Result<Bytes>
where
    F: Future<Output = Response<AnswerBody>>,
{
    let left = Left::new(raw.len(), length);
    let before = if early.is_empty() { raw } else { [raw, early].concat().into() };
    let io = OneRequest { before, transport, left, progress: Rc::clone(progress) };
    let answer = Cell::new(Some(answer));
    let service = service_fn(|request| {
        let answer = answer.take();
        progress.overrun.set(answer.is_none());
        Box::pin(async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer(request).await),
                None => pending().await,
            }
        })
    });
    let mut connection =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(io), service);
    poll_fn(|cx| match connection.poll_without_shutdown(cx) {
        Poll::Pending if progress.written.get() => Poll::Ready(Ok(())),
        polled => polled,
    })
    .await?;
    let parts = connection.into_parts();
    let rest = parts.io.into_inner().before;
    Ok(if rest.is_empty() { parts.read_buf } else { [parts.read_buf, rest].concat().into() })
}

impl AsyncRead for OneRequest<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_ambiguous() {
            // For hyper the body breaks off here.
            return Poll::Ready(Ok(()));
        }
        let most = this.left.most().min(buf.remaining());
        if most == 0 || this.progress.taken.get() {
            // Nobody waits for this: hyper has what it needs, and the end is told by the written answer.
            return Poll::Pending;
        }
        if this.before.is_empty() {
            let mut limited = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut *this.transport).poll_read(cx, &mut limited))?;
            let ours = this.left.take(limited.filled());
            this.before = Bytes::copy_from_slice(&limited.filled()[ours..]);
            buf.advance(ours);
        } else {
            let ours = this.left.take(&this.before[..most.min(this.before.len())]);
            buf.put_slice(&this.before[..ours]);
            this.before.advance(ours);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OneRequest<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has written all that it holds.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut *this.transport).poll_flush(cx))?;
        if this.progress.taken.get() {
            this.progress.written.set(true);
        }
        Poll::Ready(Ok(()))
    }

    /// The connection goes on, or is closed by its owner.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
