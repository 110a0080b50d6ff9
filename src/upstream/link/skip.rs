//! Skips values of any size as they arrive, without keeping any of their bytes.

use super::cursor::{Cursor, Stop};

/// How deep the values that are skipped may stand within one another.
const DEEPEST: usize = 16;

/// What is still to be skipped.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// Of the string at hand, its CR LF included.
    bytes: u64,
    /// Values, then those that surround them, the innermost last.
    values: Vec<u64>,
}

impl Skip {
    /// Skips the rest of a string, and its CR LF.
    pub(super) fn string(&mut self, bytes: u64) {
        self.bytes = bytes + 2;
    }

    /// Skips so many values.
    pub(super) fn values(&mut self, values: u64) {
        self.values.clear();
        self.values.push(values);
    }

    pub(super) fn is_done(&self) -> bool {
        self.bytes == 0 && self.values.is_empty()
    }

    /// Skips what it can of the bytes from `start` on. Returns where it stopped.
    ///
    /// # Errors
    /// When there is something that is no value, or too deep.
    pub(super) fn run(&mut self, bytes: &[u8], start: usize) -> Result<usize, &'static str> {
        let mut at = start;
        loop {
            let left = (bytes.len() - at) as u64;
            let skipped = self.bytes.min(left);
            self.bytes -= skipped;
            at += skipped as usize;
            while self.values.last() == Some(&0) {
                self.values.pop();
            }
            if self.bytes > 0 || self.values.is_empty() {
                return Ok(at);
            }
            let mut cursor = Cursor::new(bytes, at);
            match self.value(&mut cursor) {
                Ok(()) => at = cursor.at,
                Err(Stop::More(_)) => return Ok(at),
                Err(Stop::Wrong(why)) => return Err(why),
            }
        }
    }

    /// Reads the head of the next value; what is inside of it comes next.
    fn value(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let inside = match cursor.kind()? {
            b'$' | b'!' | b'=' => {
                self.bytes = cursor.length()?.map_or(0, |length| length + 2);
                0
            }
            b'*' | b'~' | b'>' => cursor.elements()?.unwrap_or(0),
            b'%' => 2 * cursor.elements()?.unwrap_or(0),
            // The value that an attribute is about comes behind it.
            b'|' => 2 * cursor.elements()?.unwrap_or(0) + 1,
            b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => cursor.line().map(|_| 0)?,
            _ => return Err(Stop::Wrong("there is no such kind of value")),
        };
        if let Some(values) = self.values.last_mut() {
            *values -= 1;
        }
        if inside > 0 {
            if self.values.len() == DEEPEST {
                return Err(Stop::Wrong("a value is too deep"));
            }
            self.values.push(inside);
        }
        Ok(())
    }
}
