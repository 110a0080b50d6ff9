//! Fan-out to a session under TLS, with every record that reaches its client counted.

use super::rig::{Rig, endpoint, identity, run, settle};
use crate::{
    bus::Revoke,
    endpoint::Endpoint,
    net::Transport,
    testing::tls::{TlsEnds, tls_ends},
};
use rustls::{ClientConnection, version};
use std::{io::Read, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The content type of a record with application data (RFC 8446, 5.1).
const APPLICATION_DATA: u8 = 23;

/// The client's end of a connection.
struct Client {
    socket: TcpStream,
    tls: ClientConnection,
    /// Ciphertext that is no whole record yet.
    partial: Vec<u8>,
    plaintext: Vec<u8>,
    /// Records of application data since hands were shaken.
    records: usize,
}

impl Client {
    async fn send(&mut self, plaintext: &[u8]) {
        std::io::Write::write_all(&mut self.tls.writer(), plaintext).unwrap();
        let mut ciphertext = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut ciphertext).unwrap();
        }
        self.socket.write_all(&ciphertext).await.unwrap();
    }

    /// Takes in what has come, record by record.
    async fn receive(&mut self) {
        assert_ne!(self.socket.read_buf(&mut self.partial).await.unwrap(), 0, "hung up");
        while let Some(record) = self.record() {
            self.records += usize::from(record[0] == APPLICATION_DATA);
            let mut rest = &record[..];
            while !rest.is_empty() {
                self.tls.read_tls(&mut rest).unwrap();
                self.tls.process_new_packets().unwrap();
            }
            // Ends with `WouldBlock` when all is read.
            let _ = self.tls.reader().read_to_end(&mut self.plaintext);
        }
    }

    /// The next whole record: its type, its version, its length, and that many bytes.
    fn record(&mut self) -> Option<Vec<u8>> {
        let length = u16::from_be_bytes([*self.partial.get(3)?, *self.partial.get(4)?]);
        let end = 5 + usize::from(length);
        (self.partial.len() >= end).then(|| self.partial.drain(..end).collect())
    }

    async fn shake_hands(&mut self) {
        while self.tls.is_handshaking() {
            self.send(b"").await;
            if self.tls.is_handshaking() {
                self.receive().await;
            }
        }
        self.send(b"!").await;
    }
}

/// Both ends of a connection that have shaken hands.
async fn connected(TlsEnds { server, client: tls }: TlsEnds) -> (Transport, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (socket, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut transport = Transport::tls(accepted.unwrap().0, server).unwrap();
    let (partial, plaintext) = (Vec::new(), Vec::new());
    let mut client = Client { socket: socket.unwrap(), tls, partial, plaintext, records: 0 };
    let (first, ()) = tokio::join!(transport.read_u8(), client.shake_hands());
    assert_eq!(first.unwrap(), b'!');
    client.records = 0;
    (transport, client)
}

#[test]
fn all_that_a_round_brings_to_a_session_reaches_its_client_in_one_record() {
    const MESSAGES: usize = 50;
    for version in [&version::TLS12, &version::TLS13] {
        run(async {
            let (transport, mut client) = connected(tls_ends(version)).await;
            let mut rig = Rig::new();
            // No ping may come in between.
            let quiet = Endpoint { ping_interval: Duration::from_secs(3600), ..endpoint() };
            rig.start(transport, quiet, identity()).await;
            for round in 1..=3 {
                (0..MESSAGES).for_each(|_| rig.publish("orders", "hello"));
                let frame = 2 + "hello".len();
                while client.plaintext.len() < round * MESSAGES * frame {
                    client.receive().await;
                }
                assert_eq!(client.records, round, "one for each round");
            }
        });
    }
}

/// The first byte of each frame, and how long its payload is. The last one may be incomplete.
fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert_eq!(second & 0x80, 0, "a masked frame after {frames:?}");
        let extended = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, payload)) = rest.split_at_checked(extended) else { break };
        let length = match extended {
            0 => usize::from(*second),
            _ => length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)),
        };
        frames.push((*first, length));
        bytes = payload.get(length..).unwrap_or_default();
    }
    frames
}

#[test]
fn a_frame_of_which_tls_has_taken_one_byte_is_not_dropped_before_the_close_frame() {
    for version in [&version::TLS12, &version::TLS13] {
        run(async {
            let (transport, mut client) = connected(tls_ends(version)).await;
            let mut rig = Rig::new();
            rig.start(transport, endpoint(), identity()).await;
            // TLS takes 65,536 bytes at a time: wherever the socket blocks, that is one byte into
            // a frame.
            rig.publish("orders", &"x".repeat(65_535 - 4));
            (0..50).for_each(|_| rig.publish("orders", &"x".repeat(65_536 - 4)));
            settle().await;
            rig.revoke(Revoke::User("42".into()));
            settle().await;
            let told = loop {
                client.receive().await;
                let frames = frames(&client.plaintext);
                if let Some(&(first, length)) = frames.last()
                    && first != 0x81
                {
                    break (first, length, frames.len());
                }
            };
            assert_eq!((told.0, told.1), (0x88, 2 + "revoked".len()));
            assert!(told.2 < 50, "what was not begun is dropped");
        });
    }
}
