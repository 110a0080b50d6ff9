//! The end of a refused connection, so that the answer arrives.
//!
//! Closing a socket while the client still sends makes the kernel answer with a reset, which can
//! overtake and destroy the answer. So: write, stop writing, and read on for a moment.

use crate::shard::Transport;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// How long a client may take to receive its answer, and again to stop sending.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a client may go on sending, in all.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// Bytes discarded at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Writes a last answer and stops writing.
///
/// # Errors
/// When the client has gone, or does not take it in time.
pub(super) async fn write_last(transport: &mut Transport, answer: &[u8]) -> io::Result<()> {
    let written = async {
        transport.write_all(answer).await?;
        transport.shutdown().await
    };
    timeout(PATIENCE, written).await?
}

/// Reads and discards until the client has closed, or has had time and room enough.
pub(super) async fn linger(mut transport: Transport) {
    let discarded = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = MAX_DISCARDED_BYTES;
        while left > 0 {
            match transport.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(n) => left = left.saturating_sub(n),
            }
        }
    };
    // Whether the client closed or used up our patience, the socket is closed now.
    let _ = timeout(PATIENCE, discarded).await;
}
