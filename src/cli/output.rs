//! Lines for people and pipes.

use std::io::{self, Write};
use tokio::io::AsyncWriteExt;

/// A line of results, on stdout.
///
/// # Errors
/// When stdout is closed: its reader has stopped reading.
pub(super) fn line(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_ref())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// … from a task that has signals to hear: another thread writes, so that a reader of stdout that has
/// stopped reading does not hold up this one.
///
/// # Errors
/// When stdout is closed.
pub(super) async fn line_later(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = tokio::io::stdout();
    stdout.write_all(&[text.as_ref(), b"\n"].concat()).await?;
    stdout.flush().await
}

/// A line that is no result, on stderr. With stderr closed there is nobody left to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
