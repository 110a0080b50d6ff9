//! A client's connection between its request and its session.

use crate::net::Transport;
use bytes::{Bytes, BytesMut};
use std::{future::pending, io};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes that a client may send before its 101. Beyond them nothing is read until the session runs.
const MAX_EARLY_BYTES: usize = 16 * 1024;

/// The transport, and what the client sent behind its request.
pub(super) struct PendingConnection {
    pub(super) transport: Transport,
    early: BytesMut,
}

impl PendingConnection {
    pub(super) fn new(transport: Transport, early: &[u8]) -> Self {
        Self { transport, early: BytesMut::from(early) }
    }

    /// Resolves when the client has closed, so that no handshake waits for nobody. What the client
    /// sends meanwhile is kept. Cancel-safe: what was read is kept.
    pub(super) async fn disconnected(&mut self) {
        while self.early.len() < MAX_EARLY_BYTES {
            if matches!(self.transport.read_buf(&mut self.early).await, Ok(0) | Err(_)) {
                return;
            }
        }
        pending::<()>().await;
    }

    /// Writes all of an answer.
    pub(super) async fn write(&mut self, answer: &[u8]) -> io::Result<()> {
        self.transport.write_all(answer).await
    }

    /// The transport, and what came in early.
    pub(super) fn into_parts(self) -> (Transport, Bytes) {
        (self.transport, self.early.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{net::UnixStream, time::timeout};

    fn connection() -> (PendingConnection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (PendingConnection::new(Transport::Unix(ours), b"fi"), theirs)
    }

    #[tokio::test]
    async fn what_is_sent_early_is_kept_until_the_client_closes() {
        let (mut connection, mut client) = connection();
        client.write_all(b"rst").await.unwrap();
        drop(client);
        timeout(Duration::from_secs(5), connection.disconnected()).await.unwrap();
        assert_eq!(connection.into_parts().1, "first");
    }

    #[tokio::test]
    async fn a_client_that_sends_too_much_early_is_not_read_on() {
        let (mut connection, mut client) = connection();
        client.write_all(&[0; 2 * MAX_EARLY_BYTES]).await.unwrap();
        let gone = timeout(Duration::from_millis(50), connection.disconnected()).await;
        assert!(gone.is_err(), "a client that is there was taken for gone");
        let kept = connection.into_parts().1.len();
        assert!((MAX_EARLY_BYTES..2 * MAX_EARLY_BYTES).contains(&kept), "{kept} bytes kept");
    }
}
