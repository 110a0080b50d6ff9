//! Lines for people and pipes.

use std::io::{self, Write};

/// A line of results, on stdout.
///
/// # Errors
/// When stdout is closed: whoever asked has stopped reading.
pub(super) fn line(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_ref())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// A line that is no result, on stderr. With stderr closed there is nobody left to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
