//! Follows the head of a request as its bytes come, and refuses what can be no head any more.
//!
//! The request line and the headers may be 8 KiB each, counted on the wire with their line ends.

use crate::reason::Refusal;
use httparse::EMPTY_HEADER;

/// Bytes that the request line may have, and the headers, each with its line ends.
const MAX_BYTES: usize = 8 * 1024;

/// Header lines that a request may have.
pub(super) const MAX_HEADERS: usize = 64;

/// How far the head has come, in offsets from the first byte received.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    section: Section,
    /// Where the section begins, its first empty lines included.
    section_start: usize,
    /// Where the line begins that has not ended yet.
    line_start: usize,
    /// Where the bytes begin that were not looked at yet.
    unseen: usize,
    /// Where the lines begin that were not checked yet.
    unchecked: usize,
    headers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    #[default]
    RequestLine,
    Headers,
}

impl Scanner {
    /// Goes on in `bytes`, which are all that have come so far. Returns where the head ends, once it
    /// is complete.
    ///
    /// # Errors
    /// - [`Refusal::UriTooLong`], [`Refusal::HeadersTooLarge`]: larger than allowed, or more headers.
    /// - [`Refusal::BadHandshake`]: whatever still comes, it is no request.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(length) = bytes[self.unseen..].iter().position(|&byte| byte == b'\n') {
            let end = self.unseen + length + 1;
            self.see(bytes, end)?;
            if self.end_line(&bytes[self.line_start..end])? {
                return Ok(Some(end));
            }
            self.line_start = end;
        }
        self.see(bytes, bytes.len())?;
        self.check_lines(bytes)?;
        Ok(None)
    }

    /// Looks at the bytes up to `end`, which belong to the line that has not ended yet.
    fn see(&mut self, bytes: &[u8], end: usize) -> Result<(), Refusal> {
        if end - self.section_start > MAX_BYTES {
            return Err(match self.section {
                Section::RequestLine => Refusal::UriTooLong,
                Section::Headers => Refusal::HeadersTooLarge,
            });
        }
        // Such as the first byte of a TLS hello: its sender waits for an answer, not for a line end.
        let foreign = |byte: &u8| byte.is_ascii_control() && !b"\t\r\n".contains(byte);
        if bytes[self.unseen..end].iter().any(foreign) {
            return Err(Refusal::BadHandshake);
        }
        self.unseen = end;
        Ok(())
    }

    /// Takes a whole line, its end included; whether it is the last one of the head.
    fn end_line(&mut self, line: &[u8]) -> Result<bool, Refusal> {
        let empty = matches!(line, b"\n" | b"\r\n");
        match self.section {
            // Empty lines before a request are skipped (RFC 9112, 2.2). They count as its bytes.
            Section::RequestLine if empty => {}
            Section::RequestLine => {
                self.section = Section::Headers;
                self.section_start = self.line_start + line.len();
            }
            Section::Headers if empty => return Ok(true),
            Section::Headers => {
                self.headers += 1;
                if self.headers > MAX_HEADERS {
                    return Err(Refusal::HeadersTooLarge);
                }
            }
        }
        Ok(false)
    }

    /// Has the parser look at the lines that have ended since the last time, each once. A head that
    /// comes in one piece is not checked here but only parsed.
    fn check_lines(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let lines = &bytes[self.unchecked..self.line_start];
        if lines.is_empty() || self.section == Section::RequestLine {
            return Ok(());
        }
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let checked = if self.unchecked == 0 {
            httparse::Request::new(&mut headers).parse(lines).map(drop)
        } else {
            httparse::parse_headers(lines, &mut headers).map(drop)
        };
        checked.map_err(|_| Refusal::BadHandshake)?;
        self.unchecked = self.line_start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a head that arrives in these pieces.
    fn scanned(pieces: &[&[u8]]) -> Result<Option<usize>, Refusal> {
        let (mut scanner, mut bytes) = (Scanner::default(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece);
            match scanner.scan(&bytes) {
                Ok(None) => {}
                decided => return decided,
            }
        }
        Ok(None)
    }

    /// A line of exactly this many bytes, its end included.
    fn line(start: &str, bytes: usize) -> Vec<u8> {
        let mut line = start.as_bytes().to_vec();
        line.resize(bytes - 2, b'a');
        line.extend_from_slice(b"\r\n");
        line
    }

    #[test]
    fn a_request_line_of_8_kib_passes_and_one_byte_more_does_not() {
        let request_line = |bytes: usize| {
            let target = "a".repeat(bytes - "GET / HTTP/1.1\r\n".len());
            format!("GET /{target} HTTP/1.1\r\n").into_bytes()
        };
        assert_eq!(scanned(&[&request_line(MAX_BYTES), b"\r\n"]), Ok(Some(MAX_BYTES + 2)));
        assert_eq!(scanned(&[&request_line(MAX_BYTES + 1)]), Err(Refusal::UriTooLong));
        assert_eq!(scanned(&[&[b'a'; MAX_BYTES + 1]]), Err(Refusal::UriTooLong));
    }

    #[test]
    fn headers_of_8_kib_pass_and_one_byte_more_does_not() {
        let request_line = b"GET / HTTP/1.1\r\n";
        let passed = scanned(&[request_line, &line("x: ", MAX_BYTES - 2), b"\r\n"]);
        assert_eq!(passed, Ok(Some(request_line.len() + MAX_BYTES)));
        let over = scanned(&[request_line, &line("x: ", MAX_BYTES - 1), b"\r\n"]);
        assert_eq!(over, Err(Refusal::HeadersTooLarge));
    }

    #[test]
    fn what_follows_the_head_is_not_looked_at_however_it_is_cut() {
        let mut request = b"GET / HTTP/1.1\r\nx: y\r\n\r\n".to_vec();
        let end = request.len();
        request.resize(end + 3 * MAX_BYTES, 0);
        for cut in 0..end {
            let (start, rest) = request.split_at(cut);
            assert_eq!(scanned(&[start, rest]), Ok(Some(end)), "cut at {cut}");
        }
    }

    #[test]
    fn empty_lines_before_the_request_count_too() {
        assert_eq!(scanned(&[&b"\r\n".repeat(MAX_BYTES)]), Err(Refusal::UriTooLong));
        let request = b"\r\n\nGET / HTTP/1.1\r\n\r\n";
        let bytes: Vec<_> = request.chunks(1).collect();
        assert_eq!(scanned(&bytes), Ok(Some(request.len())));
    }

    #[test]
    fn a_line_that_belongs_to_no_head_is_refused_when_it_ends() {
        for pieces in [
            &[&b"SSH-2.0-OpenSSH_9.2\r\n"[..]][..],
            &[b"\r\n", b"PING\r\n"],
            &[b"GET / HTTP/1.1\r\n", b"x: y\r\n", b"no colon\r\n"],
            &[b"GET / HTTP/1.1\r\nx: y\r\n", b" folded\r\n"],
            &[b"GET / HTTP/1.1\r\n folded: first\r\n"],
            &[b"\x16"],
        ] {
            assert_eq!(scanned(pieces), Err(Refusal::BadHandshake), "{pieces:?}");
        }
    }
}
