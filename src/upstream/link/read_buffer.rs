//! Read buffer: bytes received from Redis and not handled yet.
//!
//! One buffer, as large as the largest message at hand and no larger than the cap on payloads
//! demands; it shrinks again behind a large one. What is above the cap never gets into it whole.

use super::{
    cursor::{Cursor, Stop},
    resp::{self, Event},
    skip::Skip,
    token::{self, Token},
};
use std::ops::Range;

/// The size that most messages fit in, many at a time.
const USUAL: usize = 64 << 10;

/// Bytes received, and how far they are handled.
pub(super) struct ReadBuffer {
    buffer: Vec<u8>,
    /// Handled up to here …
    start: usize,
    /// … and received up to here.
    end: usize,
    /// Nothing can be found before so many bytes are there.
    need: usize,
    skip: Skip,
    max_payload: usize,
}

impl ReadBuffer {
    /// Messages of more than `max_payload` bytes are skipped.
    pub(super) fn new(max_payload: usize) -> Self {
        let buffer = Vec::new();
        Self { buffer, start: 0, end: 0, need: 1, skip: Skip::default(), max_payload }
    }

    /// The next event that is complete. Its ranges are good until [`ReadBuffer::room`].
    ///
    /// # Errors
    /// When this is not what Redis may say; then nothing more can be read.
    pub(super) fn next(&mut self) -> Result<Option<Event>, &'static str> {
        let max_payload = self.max_payload;
        loop {
            match self.find(|bytes, start| resp::find(bytes, start, max_payload))? {
                Some(Event::Ignored { values }) => self.skip.values(values),
                Some(Event::Oversized { channel, pattern, bytes }) => {
                    self.skip.string(bytes);
                    return Ok(Some(Event::Oversized { channel, pattern, bytes }));
                }
                event => return Ok(event),
            }
        }
    }

    /// The next token that is complete. Strings of more than `limit` bytes are skipped as they come.
    /// Ranges are good until [`ReadBuffer::room`].
    ///
    /// # Errors
    /// When this is not RESP; then nothing more can be read.
    pub(super) fn token(&mut self, limit: usize) -> Result<Option<Token>, &'static str> {
        loop {
            match self.find(|bytes, start| token::find(bytes, start, limit))? {
                Some(Token::Attribute(values)) => self.skip.values(values),
                Some(Token::Long(bytes)) => {
                    self.skip.string(bytes);
                    return Ok(Some(Token::Long(bytes)));
                }
                token => return Ok(token),
            }
        }
    }

    /// The first byte of what comes next: what kind of value it is.
    ///
    /// # Errors
    /// As [`ReadBuffer::token`].
    pub(super) fn kind(&mut self) -> Result<Option<u8>, &'static str> {
        self.find(|bytes, start| Ok((Cursor::new(bytes, start).kind()?, start)))
    }

    /// Skips so many values, of any size, as they come.
    pub(super) fn skip_values(&mut self, values: u64) {
        self.skip.values(values);
    }

    /// Finds what comes next, with its end, behind all that is to be skipped.
    fn find<T>(
        &mut self,
        find: impl FnOnce(&[u8], usize) -> Result<(T, usize), Stop>,
    ) -> Result<Option<T>, &'static str> {
        let received = &self.buffer[..self.end];
        if !self.skip.is_done() {
            self.start = self.skip.run(received, self.start)?;
            if !self.skip.is_done() {
                self.need = self.end - self.start + 1;
                return Ok(None);
            }
            self.need = 1;
        }
        if self.end - self.start < self.need {
            return Ok(None);
        }
        match find(received, self.start) {
            Ok((found, end)) => {
                (self.start, self.need) = (end, 1);
                Ok(Some(found))
            }
            Err(Stop::More(end)) => {
                self.need = end - self.start;
                Ok(None)
            }
            Err(Stop::Wrong(why)) => Err(why),
        }
    }

    /// The bytes of a range in an event.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Makes room for what is needed next, at least a byte, and forgets what is handled.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // Only the part of a message that is not complete is ever moved, and once.
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.need.max(self.end + 1).max(USUAL);
        if self.buffer.len() != wanted {
            self.buffer.resize(wanted, 0);
            self.buffer.shrink_to_fit();
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes of the room hold what was received.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// Whether what was received ends within an event.
    pub(super) fn is_torn(&self) -> bool {
        self.start < self.end || !self.skip.is_done()
    }

    /// Bytes allocated.
    #[cfg(any(test, fuzzing))]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
