//! [`Tls`] on a TCP stream of the runtime: what a [`Transport`](crate::net::Transport) asks of a
//! stream.

use super::Tls;
use rustls::ServerConfig;
use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{io::AsyncWrite, net::TcpStream, task::coop::poll_proceed};

/// A connection under TLS. Its first reads do the TLS handshake; dropped, it sends a `close_notify`.
#[derive(Debug)]
pub struct TlsStream {
    stream: TcpStream,
    /// Borrowed only within one call, on the one thread that has the connection.
    tls: RefCell<Tls>,
}

/// Units of a task's budget that reading one piece of ciphertext costs: 4 KiB may be 180 records of one
/// byte, so that after eight pieces other tasks have their turn.
const PIECE_UNITS: usize = 16;

/// Spends what reading a piece costs. `Pending`: other tasks first, then this one is woken.
fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    for _ in 0..PIECE_UNITS {
        ready!(poll_proceed(cx)).made_progress();
    }
    Poll::Ready(())
}

/// The stream as [`Tls`] sees it: it never blocks.
struct Socket<'a>(&'a TcpStream);

impl TlsStream {
    pub(in crate::net) fn new(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        Ok(Self { stream, tls: RefCell::new(Tls::new(config)?) })
    }

    pub(in crate::net) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    pub(in crate::net) fn tcp_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(in crate::net) fn owes(&self) -> bool {
        self.tls.borrow().owes()
    }

    pub(in crate::net) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(poll_budget(cx));
        if self.tls.borrow().has_input() {
            return Poll::Ready(Ok(()));
        }
        self.stream.poll_read_ready(cx)
    }

    pub(in crate::net) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.tls.borrow_mut().read(buf, &mut Socket(&self.stream))
    }

    pub(in crate::net) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.borrow_mut().write(slices, &mut Socket(&self.stream))
    }

    pub(in crate::net) fn send_close_notify(&self) {
        self.tls.borrow_mut().send_close_notify(&mut Socket(&self.stream));
    }

    /// Reads; during the TLS handshake it also sends our part of that.
    pub(in crate::net) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(poll_budget(cx));
            match self.try_read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
            let blocked = self.tls.borrow().has_output();
            if blocked && self.stream.poll_write_ready(cx)?.is_ready() {
                match self.tls.borrow_mut().send(&mut Socket(&self.stream)) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => {
                        return Poll::Ready(Err(error));
                    }
                    _ => continue,
                }
            }
            ready!(self.stream.poll_read_ready(cx))?;
        }
    }

    pub(in crate::net) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write_vectored(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    pub(in crate::net) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_close_notify();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.send_close_notify();
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
