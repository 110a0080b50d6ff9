//! Lines for people and pipes.

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use std::{
    future::pending,
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    sync::oneshot,
    time::{self, Instant},
};

/// How long a line on stderr is waited for.
const LAST_NOTE: Duration = Duration::from_secs(2);

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

/// Resolves when the reader of stdout has left; never where that cannot be seen, as with a file.
pub(super) async fn reader_left() {
    let (left, has_left) = oneshot::channel();
    // Waits in the kernel, for ever where nobody leaves: it ends with the process.
    thread::spawn(move || {
        let stdout = io::stdout();
        // Asked for nothing, it tells only that the other end is closed.
        let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
        if retry_on_intr(|| poll(&mut stdout, None)).is_ok() {
            let _ = left.send(());
        }
    });
    if has_left.await.is_err() {
        pending::<()>().await;
    }
}

/// A line that is no result, on stderr. With stderr closed there is nobody left to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// … for a task that has signals to hear: another thread writes it. What is given back resolves when it is
/// written, or nobody has read it for a while.
pub(super) fn note_later(text: &'static str) -> impl Future<Output = ()> {
    let written = tokio::task::spawn_blocking(move || note(text));
    let given_up = Instant::now() + LAST_NOTE;
    async move {
        let _ = time::timeout_at(given_up, written).await;
    }
}

/// … as the last one. With nobody reading stderr it is given up after a while: signals are still caught,
/// and would not end the process.
pub(super) fn last_note(text: String) {
    let (written, is_written) = mpsc::channel();
    thread::spawn(move || {
        note(&text);
        let _ = written.send(());
    });
    let _ = is_written.recv_timeout(LAST_NOTE);
}
