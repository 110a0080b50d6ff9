//! Lines of stdin.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Stdin};

/// Longest line, in bytes: what `listen` takes at most, too.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// Lines, without what ends them.
pub(super) struct Lines<R = BufReader<Stdin>> {
    input: R,
    line: Vec<u8>,
    /// The line that was given last, from 1; 0 before the first.
    pub(super) number: u64,
}

impl Lines {
    pub(super) fn of_stdin() -> Self {
        Self::of(BufReader::new(tokio::io::stdin()))
    }
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn of(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// The next line; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than [`MAX_LINE`].
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self.input.fill_buf().await?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let is_at_end = bytes.is_empty();
            let taken = end.unwrap_or(bytes.len());
            self.line.extend_from_slice(&bytes[..taken]);
            self.input.consume(taken + usize::from(end.is_some()));
            if self.line.len() > MAX_LINE {
                return Err(io::Error::other("a line is longer than 64 MiB"));
            }
            if is_at_end && self.line.is_empty() {
                return Ok(None);
            }
            if end.is_some() || is_at_end {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.number += 1;
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_with_lf_or_crlf_and_the_last_one_with_the_input() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"one\ntwo\r\n\n three ", &["one", "two", "", " three "]),
            (b"one\n", &["one"]),
            (b"\r\r\n", &["\r"]),
        ] {
            // However the bytes come.
            for size in [1, 2, 64] {
                let mut lines = Lines::of(BufReader::with_capacity(size, input));
                for (at, line) in expected.iter().enumerate() {
                    assert_eq!(lines.next().await.unwrap().unwrap(), line.as_bytes());
                    assert_eq!(lines.number, at as u64 + 1);
                }
                assert_eq!(lines.next().await.unwrap(), None);
            }
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut lines = Lines::of(BufReader::with_capacity(1 << 20, tokio::io::repeat(b'x')));
        assert!(lines.next().await.is_err());
    }
}
