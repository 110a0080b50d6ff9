//! TLS over a TCP stream, driven by hand: one system call for all that a round has to say.
//!
//! What a round gathers is encrypted into as few records as it fits in and offered to the socket
//! once. What the socket does not take is kept, at most [`MAX_UNSENT`] and what encryption adds,
//! and goes first the next time; an idle connection keeps no output. rustls keeps at most 4 KiB of
//! input while nothing comes.
//!
//! A write says how much plaintext it took, and what is encrypted cannot be taken back. So while
//! records are still unsent the last byte is *owed*: it is reported only when the socket has taken
//! everything. The session's queue thus stays busy, and its last item untouched, until then.

use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

/// Plaintext that is encrypted ahead of what the socket has taken, in bytes.
const MAX_UNSENT: usize = 64 * 1024;

/// The TLS side of a connection. Knows no socket: each call is given one that never blocks.
#[derive(Debug)]
pub(super) struct Tls {
    connection: ServerConnection,
    /// Whether the last byte that was encrypted has yet to be reported.
    owed: bool,
    /// Whether what was decrypted is not all read yet.
    more: bool,
}

impl Tls {
    /// # Errors
    /// When the configuration cannot be used, which its making has ruled out.
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(MAX_UNSENT));
        Ok(Self { connection, owed: false, more: false })
    }

    /// Whether decrypted input waits, for which the socket will not become readable again.
    pub(super) fn has_input(&self) -> bool {
        self.more
    }

    /// Whether something encrypted waits for the socket.
    pub(super) fn has_output(&self) -> bool {
        self.connection.wants_write()
    }

    /// Reads what is there, shaking hands first. `Ok(0)`: the client has closed.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `InvalidData` when the client does not speak TLS, or not
    /// correctly: it has been told by an alert, as far as the socket took it.
    pub(super) fn read(
        &mut self,
        buf: &mut [u8],
        socket: &mut (impl Read + Write),
    ) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.more = false,
                // Whoever hangs up without a word has hung up all the same; frames have ends.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => {
                    // A full buffer may have left some; asking once more finds out.
                    self.more = read.as_ref().is_ok_and(|&n| n == buf.len() && n > 0);
                    return read;
                }
            }
            self.receive(socket)?;
        }
    }

    /// Takes one piece of ciphertext in, and says what TLS itself has to say to it.
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
            // The next write takes it along; whoever shakes hands waits for that.
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Offers the socket what is encrypted, in one call.
    ///
    /// # Errors
    /// `WouldBlock` when something remains.
    pub(super) fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
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
    pub(super) fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        socket: &mut impl Write,
    ) -> io::Result<usize> {
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

    /// Says that nothing more comes. What the socket does not take at once is lost.
    pub(super) fn say_goodbye(&mut self, socket: &mut impl Write) {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify();
            // Nobody is left to be told of a failure.
            let _ = self.send(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tls_fixture::{TlsEnds, tls_ends},
        *,
    };
    use rustls::{ClientConnection, SupportedProtocolVersion, version};

    const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

    /// A socket in memory that takes so many bytes and counts the calls.
    #[derive(Default)]
    struct Socket {
        input: Vec<u8>,
        output: Vec<u8>,
        room: usize,
        writes: usize,
    }

    impl Read for Socket {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.input.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = buf.len().min(self.input.len());
            buf[..n].copy_from_slice(&self.input[..n]);
            self.input.drain(..n);
            Ok(n)
        }
    }

    impl Write for Socket {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(buf)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.writes += 1;
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let n = all.len().min(self.room);
            if n == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.output.extend_from_slice(&all[..n]);
            self.room -= n;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Pair {
        tls: Tls,
        socket: Socket,
        client: ClientConnection,
        config: Arc<ServerConfig>,
    }

    impl Pair {
        /// Two sides that have shaken hands.
        fn connected(version: &'static SupportedProtocolVersion) -> Self {
            let TlsEnds { server: config, client } = tls_ends(version);
            let mut pair = Self {
                tls: Tls::new(Arc::clone(&config)).unwrap(),
                config,
                socket: Socket { room: usize::MAX, ..Socket::default() },
                client,
            };
            while pair.client.is_handshaking() || pair.tls.connection.is_handshaking() {
                pair.client_sends(b"");
                assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::WouldBlock);
                pair.client_receives();
            }
            pair.socket.writes = 0;
            pair
        }

        fn client_sends(&mut self, plaintext: &[u8]) {
            self.client.writer().write_all(plaintext).unwrap();
            while self.client.wants_write() {
                self.client.write_tls(&mut self.socket.input).unwrap();
            }
        }

        /// What the client makes of all that was sent.
        fn client_receives(&mut self) -> Vec<u8> {
            let sent = std::mem::take(&mut self.socket.output);
            let (mut sent, mut plaintext) = (&sent[..], Vec::new());
            while !sent.is_empty() {
                self.client.read_tls(&mut sent).unwrap();
                self.client.process_new_packets().unwrap();
                // Ends with `WouldBlock`, or with the client's close.
                let _ = self.client.reader().read_to_end(&mut plaintext);
            }
            plaintext
        }

        fn read(&mut self) -> io::Result<Vec<u8>> {
            let mut buf = [0; 1_000];
            self.tls.read(&mut buf, &mut self.socket).map(|n| buf[..n].to_vec())
        }

        fn write(&mut self, parts: &[&[u8]]) -> io::Result<usize> {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            self.tls.write(&slices, &mut self.socket)
        }
    }

    #[test]
    fn all_that_a_round_has_to_say_goes_out_in_one_call() {
        for version in BOTH {
            let mut pair = Pair::connected(version);
            let parts: Vec<Vec<u8>> = (0..64_u8).map(|n| vec![n; 1_000]).collect();
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            assert_eq!(pair.write(&slices).unwrap(), 64_000);
            assert_eq!(pair.socket.writes, 1);
            assert_eq!(pair.client_receives(), parts.concat());
        }
    }

    #[test]
    fn a_socket_that_takes_little_gets_every_byte_once_and_in_order() {
        let message: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for version in BOTH {
            let mut pair = Pair::connected(version);
            let (mut at, mut received) = (0, Vec::new());
            pair.socket.room = 0;
            while at < message.len() {
                let end = message.len().min(at + 70_000);
                let middle = at + (end - at) / 2;
                match pair.write(&[&message[at..middle], &message[middle..end]]) {
                    Ok(n) => at += n,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        pair.socket.room = 5_003;
                    }
                }
                received.extend(pair.client_receives());
            }
            assert!(!pair.tls.has_output(), "the last byte is reported only when all is out");
            assert_eq!(received, message);
        }
    }

    #[test]
    fn what_a_blocked_socket_leaves_is_bounded_and_its_last_byte_is_owed() {
        let mut pair = Pair::connected(&version::TLS13);
        pair.socket.room = 0;
        let message = vec![7; 4 * MAX_UNSENT];
        assert_eq!(pair.write(&[&message]).unwrap(), MAX_UNSENT - 1);
        for _ in 0..10 {
            let again = pair.write(&[&message[MAX_UNSENT - 1..]]);
            assert_eq!(again.unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        pair.socket.room = usize::MAX;
        assert_eq!(pair.write(&[&message[MAX_UNSENT - 1..]]).unwrap(), 1);
        assert_eq!(pair.client_receives().len(), MAX_UNSENT);
    }

    #[test]
    fn a_write_of_one_byte_that_blocks_is_reported_once() {
        let mut pair = Pair::connected(&version::TLS13);
        pair.socket.room = 0;
        assert_eq!(pair.write(&[b"x"]).unwrap_err().kind(), ErrorKind::WouldBlock);
        pair.socket.room = usize::MAX;
        assert_eq!(pair.write(&[b"x"]).unwrap(), 1);
        assert_eq!(pair.client_receives(), b"x");
    }

    #[test]
    fn input_larger_than_the_buffer_is_announced_until_it_is_read() {
        let mut pair = Pair::connected(&version::TLS13);
        pair.client_sends(&[1; 2_500]);
        assert_eq!((pair.read().unwrap().len(), pair.tls.has_input()), (1_000, true));
        assert_eq!((pair.read().unwrap().len(), pair.tls.has_input()), (1_000, true));
        assert_eq!(pair.read().unwrap().len(), 500);
        assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(!pair.tls.has_input());
    }

    #[test]
    fn a_goodbye_is_said_once_and_heard_as_an_end() {
        let mut pair = Pair::connected(&version::TLS13);
        pair.tls.say_goodbye(&mut pair.socket);
        pair.tls.say_goodbye(&mut pair.socket);
        assert_eq!(pair.socket.writes, 1);
        assert!(pair.client_receives().is_empty());
        assert_eq!(pair.client.reader().read(&mut [0; 1]).unwrap(), 0);
        pair.client.send_close_notify();
        pair.client_sends(b"");
        assert_eq!(pair.read().unwrap(), b"");
    }

    #[test]
    fn what_is_not_tls_is_answered_by_an_alert_and_an_error() {
        let mut pair = Pair::connected(&version::TLS13);
        pair.tls = Tls::new(Arc::clone(&pair.config)).unwrap();
        pair.socket.input = b"GET / HTTP/1.1\r\n\r\n".to_vec();
        assert_eq!(pair.read().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(pair.socket.output[0], 0x15);
    }
}
