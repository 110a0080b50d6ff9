//! The rules of [`Tls`], over a socket in memory that takes as much as a test allows.

use super::*;
use crate::{
    net::Transport,
    testing::tls::{TlsEnds, tls_ends},
};
use rustls::{ClientConnection, SupportedProtocolVersion, version};
use std::{future::poll_fn, pin::Pin, task::Poll};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
};

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
    /// Two sides whose TLS handshake is done.
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
fn a_close_notify_is_sent_once_and_received_as_the_end() {
    let mut pair = Pair::connected(&version::TLS13);
    pair.tls.send_close_notify(&mut pair.socket);
    pair.tls.send_close_notify(&mut pair.socket);
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

#[test]
fn a_tls_handshake_that_never_ends_keeps_64_kib_at_the_most_and_a_record_16() {
    /// One record of a TLS handshake, with this in its header as its length.
    fn record(length: u16, content: &[u8]) -> Vec<u8> {
        [&[0x16, 0x03, 0x01], &length.to_be_bytes()[..], content].concat()
    }
    let hello = |length: [u8; 3]| [&[0x01], &length[..], &[0; 16_380]].concat();
    let endless = [hello([0, 0xFF, 0xFF]), vec![0; 64 * 16_384]].concat();
    let in_records: Vec<u8> =
        endless.chunks(16_384).flat_map(|chunk| record(chunk.len() as u16, chunk)).collect();
    for (name, input, most) in [
        ("a long message", in_records, 80 << 10),
        ("a longer one", record(16_384, &hello([0xFF, 0xFF, 0xFF])), 20 << 10),
        ("a long record", record(u16::MAX, &[0; 1 << 16]), 20 << 10),
    ] {
        let mut pair = Pair::connected(&version::TLS13);
        pair.tls = Tls::new(Arc::clone(&pair.config)).unwrap();
        let bytes = input.len();
        pair.socket.input = input;
        let error = loop {
            match pair.read().unwrap_err() {
                error if error.kind() == ErrorKind::WouldBlock => {
                    assert!(!pair.socket.input.is_empty(), "{name}: all of it is kept");
                }
                error => break error,
            }
        };
        let taken = bytes - pair.socket.input.len();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}");
        assert!(taken <= most, "{name}: {taken} bytes");
    }
}

/// Both ends of a TLS connection over TCP, and a socket of the client that takes a flood at once.
async fn connected_over_tcp() -> (Transport, ClientConnection, TcpStream) {
    let TlsEnds { server, mut client } = tls_ends(&version::TLS13);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(1 << 20).unwrap();
    let connect = socket.connect(listener.local_addr().unwrap());
    let (socket, accepted) = tokio::join!(connect, listener.accept());
    let mut socket = socket.unwrap();
    let mut transport = Transport::tls(accepted.unwrap().0, server).unwrap();
    let shake_hands = async {
        client.writer().write_all(b"!").unwrap();
        while client.is_handshaking() || client.wants_write() {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            socket.write_all(&sent).await.unwrap();
            if client.is_handshaking() {
                let mut received = Vec::new();
                socket.read_buf(&mut received).await.unwrap();
                client.read_tls(&mut &received[..]).unwrap();
                client.process_new_packets().unwrap();
            }
        }
    };
    let (first, ()) = tokio::join!(transport.read_u8(), shake_hands);
    assert_eq!(first.unwrap(), b'!');
    (transport, client, socket)
}

#[tokio::test]
async fn a_turn_reads_a_bounded_amount_of_a_flood_of_tiny_records() {
    const RECORDS: usize = 10_000;
    let (mut transport, mut client, mut socket) = connected_over_tcp().await;
    let mut flood = Vec::new();
    for _ in 0..RECORDS {
        client.writer().write_all(b"x").unwrap();
        while client.wants_write() {
            client.write_tls(&mut flood).unwrap();
        }
    }
    let in_a_record = flood.len() / RECORDS;
    socket.write_all(&flood).await.unwrap();
    let (mut left, mut most) = (RECORDS, 0);
    while left > 0 {
        let read = poll_fn(|cx| {
            let (mut read, mut chunk) = (0, [0; 16 * 1024]);
            loop {
                let mut buf = ReadBuf::new(&mut chunk);
                match Pin::new(&mut transport).poll_read(cx, &mut buf) {
                    Poll::Ready(result) => result.unwrap(),
                    Poll::Pending if read == 0 => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(read),
                }
                read += buf.filled().len();
            }
        })
        .await;
        (left, most) = (left - read, most.max(read));
    }
    assert!(most * in_a_record <= 40 * 1024, "{most} records in one turn");
}
