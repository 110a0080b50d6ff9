//! The byte stream under a session: TCP, TLS over TCP, or a unix socket.

use super::{outstanding, tls::TlsStream};
use rustls::ServerConfig;
use socket2::SockRef;
use std::{
    io::{self, ErrorKind, Read as _},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A client's connection. `AsyncRead` and `AsyncWrite` serve the handshake; a session uses the
/// `try_` methods and readiness, which hold no buffer and no waker between calls.
#[derive(Debug)]
pub enum Transport {
    Tcp(TcpStream),
    /// Boxed: most connections are plain, and every session keeps one of these.
    Tls(Box<TlsStream>),
    Unix(UnixStream),
}

impl Transport {
    /// A TCP connection whose client will speak TLS.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn tls(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(TlsStream::new(stream, config)?)))
    }

    /// The TCP socket; `None` for a unix socket.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(tls) => Some(tls.tcp()),
            Self::Unix(_) => None,
        }
    }

    /// Waits for something to read, or for the end of the stream.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Tls(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Waits for room to write.
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Tls(stream) => stream.tcp().poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Reads what is there.
    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => read_tcp(stream, buf),
            Self::Tls(stream) => stream.try_read(buf),
            Self::Unix(stream) => stream.try_read(buf),
        }
    }

    /// Writes as much of the slices as there is room for, in one system call. One slice alone goes
    /// by the cheaper call.
    pub(crate) fn try_write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [only]) => stream.try_write(only),
            (Self::Tcp(stream), _) => stream.try_write_vectored(slices),
            (Self::Tls(stream), _) => stream.try_write_vectored(slices),
            (Self::Unix(stream), [only]) => stream.try_write(only),
            (Self::Unix(stream), _) => stream.try_write_vectored(slices),
        }
    }

    /// Whether a byte more was taken than the last write has reported: the next write reports it.
    pub(crate) fn owes(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.owes(),
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }

    /// Bytes that the client has not acknowledged, the kernel's own among them on a unix socket;
    /// `None` when the kernel does not tell. For comparison with an earlier answer alone.
    pub(crate) fn outstanding(&self) -> Option<u32> {
        let outstanding = match self {
            Self::Tcp(stream) => outstanding::of_tcp(stream),
            Self::Tls(stream) => outstanding::of_tcp(stream.tcp()),
            Self::Unix(stream) => outstanding::of_unix(stream),
        };
        outstanding
            .inspect_err(|error| tracing::debug!(%error, "cannot ask what is not acknowledged"))
            .ok()
    }

    /// Reads and discards what comes after the last answer, under TLS without decrypting it: all
    /// that it costs is what it weighs. Fills `buf` with anything.
    pub(crate) fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.tcp_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    /// Lets the kernel buffer this much unsent data at the most: what a slow client does not take
    /// waits in its session's bounded queue instead, where `on_slow` sees it.
    pub(crate) fn bound_unsent(&self, bytes: u32) {
        if let Some(stream) = self.tcp()
            && let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(bytes)
        {
            tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
        }
    }

    /// Tells the client that nothing more comes; reading goes on.
    pub(crate) fn shut_down_writing(&self) {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Tls(stream) => {
                stream.send_close_notify();
                SockRef::from(stream.tcp())
            }
            Self::Unix(stream) => SockRef::from(stream),
        };
        if let Err(error) = socket.shutdown(Shutdown::Write) {
            tracing::debug!(%error, "the client has closed already");
        }
    }

    /// Throws away what the kernel has not sent when the socket is dropped.
    pub(crate) fn reset_on_drop(&self) {
        if let Some(stream) = self.tcp()
            && let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO))
        {
            tracing::debug!(%error, "cannot set SO_LINGER");
        }
    }
}

/// Reads, and when that has emptied the socket clears its readiness: `try_read` alone leaves it to
/// another system call, for every pong of every client, to find that nothing is there.
fn read_tcp(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let length = (&*SockRef::from(stream)).read(buf)?;
        read = Some(length);
        // A whole buffer may be followed by more, and the end of the stream stays readable.
        if length == buf.len() || length == 0 { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    });
    read.map_or_else(|| outcome.map(|()| 0), Ok)
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => {
                let read = ready!(stream.poll_read(cx, buf.initialize_unfilled()))?;
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => stream.poll_write_vectored(cx, &[io::IoSlice::new(buf)]),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => stream.poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            // A write is reported whole only when everything is out.
            Self::Tls(_) => Poll::Ready(Ok(())),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
