//! Fan-out to a session under TLS, with every record that reaches its client counted.

use super::fixture::{Rig, endpoint, identity, run, spec};
use crate::{
    bus::SubscriptionEvent,
    channel::ChannelName,
    endpoint::Endpoint,
    net::{
        Transport,
        fixture::{TlsEnds, tls_ends},
    },
};
use bytes::Bytes;
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
            self.tls.read_tls(&mut &record[..]).unwrap();
            self.tls.process_new_packets().unwrap();
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
            let shard = rig.shard.clone();
            let orders = || ChannelName::new("orders");
            let subscribe = shard.subscribe(vec![orders()]);
            let confirm = async {
                rig.requested().await;
                rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
            };
            let (subscription, ()) = tokio::join!(subscribe, confirm);
            // No ping may come in between.
            let quiet = Endpoint { ping_interval: Duration::from_secs(3600), ..endpoint() };
            let pending = subscription.unwrap().open(spec(quiet, identity()), ());
            pending.start(transport, &Bytes::new());
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
