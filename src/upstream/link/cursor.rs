//! Reads the parts of RESP one after the other: kinds, lines, numbers, lengths, strings.
//!
//! Pure: it looks at the bytes received so far, or says how many it needs.

use std::ops::Range;

/// The longest line: a length, a number, an error text.
const LONGEST_LINE: usize = 16 << 10;

/// The largest bulk string that is skipped rather than called an error. Redis takes 512 MB.
const LARGEST_BULK: u64 = 1 << 32;

/// The most elements of one aggregate that is skipped.
const MOST_ELEMENTS: u64 = 1 << 20;

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing can be said before there are so many bytes.
    More(usize),
    /// This is not RESP, or more than any answer to us can be. The connection is of no use.
    Wrong(&'static str),
}

/// A place in the bytes received.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The byte that says what kind of value follows.
    pub(super) fn kind(&mut self) -> Result<u8, Stop> {
        let kind = self.bytes.get(self.at).copied().ok_or(Stop::More(self.at + 1))?;
        self.at += 1;
        Ok(kind)
    }

    /// The rest of a line, without its CR LF.
    pub(super) fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let newline = rest.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n');
        let Some(newline) = newline else {
            return Err(match rest.len() < LONGEST_LINE {
                true => Stop::More(self.bytes.len() + 1),
                false => Stop::Wrong("a line is too long"),
            });
        };
        self.at += newline + 1;
        rest[..newline].strip_suffix(b"\r").ok_or(Stop::Wrong("a line does not end in CR LF"))
    }

    pub(super) fn integer(&mut self) -> Result<i64, Stop> {
        integer(self.line()?).ok_or(Stop::Wrong("a number is not one"))
    }

    /// The length of a bulk string in bytes; `None`: null.
    pub(super) fn length(&mut self) -> Result<Option<u64>, Stop> {
        match self.integer()? {
            -1 => Ok(None),
            length => match u64::try_from(length) {
                Ok(length) if length <= LARGEST_BULK => Ok(Some(length)),
                _ => Err(Stop::Wrong("a string has an impossible length")),
            },
        }
    }

    /// The number of elements of an aggregate; null has none.
    pub(super) fn count(&mut self) -> Result<u64, Stop> {
        match self.integer()? {
            -1 => Ok(0),
            count => match u64::try_from(count) {
                Ok(count) if count <= MOST_ELEMENTS => Ok(count),
                _ => Err(Stop::Wrong("an aggregate has an impossible number of elements")),
            },
        }
    }

    /// The number of elements of an aggregate that nothing is allocated for; `None`: null.
    pub(super) fn elements(&mut self) -> Result<Option<u64>, Stop> {
        match self.integer()? {
            -1 => Ok(None),
            count => match u64::try_from(count) {
                Ok(count) if count <= LARGEST_BULK => Ok(Some(count)),
                _ => Err(Stop::Wrong("an aggregate has an impossible number of elements")),
            },
        }
    }

    /// The content of a bulk string, and its CR LF.
    pub(super) fn content(&mut self, length: u64) -> Result<Range<usize>, Stop> {
        let length = usize::try_from(length).map_err(|_| Stop::Wrong("a string is too long"))?;
        let content = self.at..self.at + length;
        let end = content.end + 2;
        match self.bytes.get(content.end..end) {
            Some(b"\r\n") => {
                self.at = end;
                Ok(content)
            }
            Some(_) => Err(Stop::Wrong("a string does not end in CR LF")),
            None => Err(Stop::More(end)),
        }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'a [u8] {
        &self.bytes[range]
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
