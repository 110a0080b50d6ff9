//! The end of a refused connection, so that the answer arrives.
//!
//! Closing a socket while the client still sends makes the kernel answer with a reset, which can
//! overtake and destroy the answer. So: write, stop writing, and read on for a moment.

use crate::net::Transport;
use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

/// How long a client may take to receive its answer, and again to stop sending.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a client may go on sending, in all; under TLS of ciphertext.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// Bytes discarded at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Writes a last answer and stops writing.
///
/// # Errors
/// When the client has gone, or does not take it in time.
pub(in crate::server) async fn write_last(
    transport: &mut Transport,
    answer: &[u8],
) -> io::Result<()> {
    let written = async {
        transport.write_all(answer).await?;
        transport.shutdown().await
    };
    timeout(PATIENCE, written).await?
}

/// Reads and discards until the client has closed, or has had time and room enough. Keeps no buffer
/// meanwhile: refused clients can come again at once, so many may linger here.
pub(in crate::server) async fn linger(mut transport: Transport) {
    let mut left = MAX_DISCARDED_BYTES;
    let discarded = poll_fn(|cx| poll_discard(&mut transport, &mut left, cx));
    // Whether the client closed or its time is up, the socket is closed now.
    let _ = timeout(PATIENCE, discarded).await;
}

/// Ready when there is nothing more to discard, or no more room.
fn poll_discard(transport: &mut Transport, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    let mut chunk = [0; CHUNK_BYTES];
    while *left > 0 {
        let mut buf = ReadBuf::new(&mut chunk);
        match ready!(transport.poll_discard(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => *left = left.saturating_sub(buf.filled().len()),
            Ok(()) | Err(_) => break,
        }
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn what_a_refused_client_still_sends_is_discarded_up_to_a_bound() {
        let (ours, mut client) = UnixStream::pair().unwrap();
        let mut transport = Transport::Unix(ours);
        let mut left = CHUNK_BYTES + 1;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poll_discard(&mut transport, &mut left, &mut cx).is_pending());
        client.write_all(&[0; CHUNK_BYTES]).await.unwrap();
        let some = poll_fn(|cx| match poll_discard(&mut transport, &mut left, cx) {
            Poll::Pending if left == 1 => Poll::Ready(()),
            other => other,
        });
        timeout(PATIENCE, some).await.unwrap();
        client.write_all(b"xy").await.unwrap();
        let done = poll_fn(|cx| poll_discard(&mut transport, &mut left, cx));
        timeout(PATIENCE, done).await.unwrap();
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_is_left_after_a_second_and_costs_no_buffer_meanwhile() {
        let (ours, _client) = UnixStream::pair().unwrap();
        let lingering = linger(Transport::Unix(ours));
        assert!(size_of_val(&lingering) < 1024, "{} bytes", size_of_val(&lingering));
        let start = tokio::time::Instant::now();
        lingering.await;
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}
