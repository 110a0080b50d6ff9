//! Small values in Redis's answers: to HELLO, ROLE and PING, and errors.

use super::cursor::{Cursor, Stop};

/// The largest answer, in bytes on the wire.
const LARGEST_REPLY: usize = 1 << 20;

/// The most values in one answer.
const MOST_VALUES: usize = 16_384;

/// How deep the values of an answer may stand within one another.
const DEEPEST: usize = 8;

/// One value, of either version of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::upstream) enum Value {
    /// A simple, bulk or verbatim string, or a big number.
    Text(Vec<u8>),
    Error(String),
    Integer(i64),
    Double(f64),
    Bool(bool),
    Null,
    /// An array, a set, or a push.
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// Reads a value that is not a push of pub/sub.
    ///
    /// # Errors
    /// See [`Stop`]; also when it is larger or deeper than any answer to us.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let start = cursor.at;
        let value = Reader { cursor, left: MOST_VALUES }.value(DEEPEST);
        // Judged by where it ends, so that it makes no difference in which pieces it comes.
        let end = match &value {
            Ok(_) => cursor.at,
            Err(Stop::More(end)) => *end,
            Err(Stop::Wrong(_)) => start,
        };
        if end - start > LARGEST_REPLY { Err(Stop::Wrong("an answer is too large")) } else { value }
    }
}

struct Reader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// Values that may still come.
    left: usize,
}

impl Reader<'_, '_> {
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        match self.cursor.kind()? {
            b'+' | b'(' => Ok(Value::Text(self.cursor.line()?.to_vec())),
            b'-' => Ok(Value::Error(lossy(self.cursor.line()?))),
            b':' => self.cursor.integer().map(Value::Integer),
            b',' => self.double(),
            b'#' => match self.cursor.line()? {
                b"t" => Ok(Value::Bool(true)),
                b"f" => Ok(Value::Bool(false)),
                _ => Err(Stop::Wrong("a boolean is not one")),
            },
            b'_' => self.cursor.line().map(|_| Value::Null),
            b'$' => Ok(self.bulk()?.map_or(Value::Null, |text| Value::Text(text.to_vec()))),
            b'!' => Ok(self.bulk()?.map_or(Value::Null, |text| Value::Error(lossy(text)))),
            // Three letters for its format, a colon, the text.
            b'=' => {
                let text = self.bulk()?.unwrap_or_default();
                Ok(Value::Text(text.get(4..).unwrap_or_default().to_vec()))
            }
            b'*' | b'~' | b'>' => self.list(depth),
            b'%' => self.pairs(depth).map(Value::Map),
            b'|' => {
                self.pairs(depth)?;
                self.value(deeper(depth)?)
            }
            _ => Err(Stop::Wrong("there is no such kind of value")),
        }
    }

    fn double(&mut self) -> Result<Value, Stop> {
        let text = std::str::from_utf8(self.cursor.line()?).ok();
        let number = text.and_then(|text| text.parse().ok());
        number.map(Value::Double).ok_or(Stop::Wrong("a number is not one"))
    }

    fn bulk(&mut self) -> Result<Option<&[u8]>, Stop> {
        let Some(length) = self.cursor.length()? else { return Ok(None) };
        let content = self.cursor.content(length)?;
        Ok(Some(self.cursor.slice(content)))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let start = self.cursor.at;
        let count = self.cursor.count()?;
        if self.cursor.slice(start..self.cursor.at) == b"-1\r\n" {
            return Ok(Value::Null);
        }
        let (count, depth) = (self.take(count)?, deeper(depth)?);
        // Grown as they come: what is announced need not be there.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(Value::List(values))
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Value, Value)>, Stop> {
        let count = self.cursor.count()?;
        self.take(2 * count)?;
        let depth = deeper(depth)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((self.value(depth)?, self.value(depth)?));
        }
        Ok(pairs)
    }

    fn take(&mut self, values: u64) -> Result<u64, Stop> {
        let left = usize::try_from(values).ok().and_then(|values| self.left.checked_sub(values));
        self.left = left.ok_or(Stop::Wrong("an answer has too many values"))?;
        Ok(values)
    }
}

fn deeper(depth: usize) -> Result<usize, Stop> {
    depth.checked_sub(1).ok_or(Stop::Wrong("an answer is too deep"))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
