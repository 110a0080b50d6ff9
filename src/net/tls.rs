//! TLS over a TCP stream, driven by hand: one system call for all that a round has to send.
//!
//! What a round gathers is encrypted into as few records as it fits in and offered to the socket
//! once. What the socket does not take is kept, at most [`MAX_UNSENT`] and what encryption adds,
//! and goes first the next time; an idle connection keeps no output. rustls keeps at most 4 KiB of
//! input while nothing comes.
//!
//! A write reports how much plaintext it took, and what is encrypted cannot be taken back. So while
//! records are still unsent the last byte is *owed*: it is reported only when the socket has taken
//! everything. The session's queue thus stays busy, and its last item untouched, until then.

mod stream;
#[cfg(test)]
mod tests;

pub(super) use stream::TlsStream;

use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

/// Plaintext that is encrypted ahead of what the socket has taken, in bytes.
const MAX_UNSENT: usize = 64 * 1024;

/// The TLS side of a connection. Knows no socket: each call is given one that never blocks.
#[derive(Debug)]
struct Tls {
    connection: ServerConnection,
    /// Whether the last byte that was encrypted has yet to be reported.
    owed: bool,
    /// Whether what was decrypted is not all read yet.
    more: bool,
}

impl Tls {
    /// # Errors
    /// When the configuration cannot be used, which its making has ruled out.
    fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(MAX_UNSENT));
        Ok(Self { connection, owed: false, more: false })
    }

    /// Whether decrypted input waits, for which the socket will not become readable again.
    fn has_input(&self) -> bool {
        self.more
    }

    /// Whether a byte was encrypted that no write has reported yet.
    fn owes(&self) -> bool {
        self.owed
    }

    /// Whether something encrypted waits for the socket.
    fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Reads what is there; the TLS handshake goes first. `Ok(0)`: the client has closed. Takes in one
    /// piece of ciphertext at the most, since a stranger's records may be many and hold nothing.
    ///
    /// # Errors
    /// `WouldBlock` when that piece gave nothing, or none is there: the socket's readiness says which;
    /// `InvalidData` when the client does not speak TLS, or not
    /// correctly: it has been told by an alert, as far as the socket took it.
    fn read(&mut self, buf: &mut [u8], socket: &mut (impl Read + Write)) -> io::Result<usize> {
        match self.read_decrypted(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.receive(socket)?;
                self.read_decrypted(buf)
            }
            read => read,
        }
    }

    fn read_decrypted(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.connection.reader().read(buf) {
            // A client that closes without a `close_notify` has closed too: frames have ends.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        };
        // A full buffer may have left some; asking once more finds out.
        self.more = read.as_ref().is_ok_and(|&n| n == buf.len() && n > 0);
        read
    }

    /// Takes in one piece of ciphertext, and sends what TLS itself answers to it.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        let received = self.connection.read_tls(socket);
        if matches!(received, Ok(0)) && self.connection.is_handshaking() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        received?;
        let processed = self.connection.process_new_packets();
        let sent = self.send(socket);
        processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        match sent {
            // The next write takes it along; a TLS handshake waits for that.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Offers the socket what is encrypted, in one call.
    ///
    /// # Errors
    /// `WouldBlock` when something remains.
    fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        if self.has_output() && self.connection.write_tls(socket)? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        if self.has_output() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Writes as much of the slices as there is room for, in one system call. The slices of a call
    /// that follows must begin where this one stopped.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing more now.
    fn write(&mut self, slices: &[IoSlice<'_>], socket: &mut impl Write) -> io::Result<usize> {
        self.send(socket)?;
        if self.owed {
            self.owed = false;
            return Ok(1);
        }
        if self.connection.is_handshaking() {
            return Err(ErrorKind::NotConnected.into());
        }
        let taken = self.connection.writer().write_vectored(slices)?;
        match self.send(socket) {
            Ok(()) => Ok(taken),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.owed = true;
                if taken > 1 { Ok(taken - 1) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the client that nothing more comes. What the socket does not take at once is lost.
    fn send_close_notify(&mut self, socket: &mut impl Write) {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify();
            // Nobody is left to be told of a failure.
            let _ = self.send(socket);
        }
    }
}
