//! Read buffer: bytes received from Redis and not handled yet.
//!
//! One buffer, as large as the largest message at hand and no larger than the cap on payloads
//! demands; it shrinks again behind a large one. What is above the cap never gets into it whole.

use super::{
    cursor::Stop,
    resp::{self, Event},
    skip::Skip,
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
        loop {
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
            let (event, end) = match resp::find(received, self.start, self.max_payload) {
                Ok(found) => found,
                Err(Stop::More(end)) => {
                    self.need = end - self.start;
                    return Ok(None);
                }
                Err(Stop::Wrong(why)) => return Err(why),
            };
            (self.start, self.need) = (end, 1);
            match event {
                Event::Ignored { values } => self.skip.values(values),
                Event::Oversized { bytes, .. } => {
                    self.skip.string(bytes);
                    return Ok(Some(event));
                }
                event => return Ok(Some(event)),
            }
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
