//! Reads the entries of a stream, token by token: at most one is in memory.
//!
//! The payload of an entry is the value of the configured field, or, without that field, a JSON object
//! of all its fields. Only what may become the payload is kept, and never more of it than a payload may
//! be large: the rest is skipped as it comes.

use super::{read_buffer::ReadBuffer, token::Token};
use crate::{stream_id::StreamId, wire::entry_object};

/// The longest id: two numbers and a dash.
const LONGEST_ID: usize = 41;

/// A buffer that has become larger than this is freed behind its entry.
const USUAL: usize = 64 << 10;

/// Reads one entry after another.
pub(super) struct EntryReader {
    field: Box<[u8]>,
    max_payload: usize,
    step: Step,
    /// Names and values that are still to come.
    left: u64,
    id: StreamId,
    value: Value,
    fields: Fields,
    content: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Entry,
    Id,
    Fields,
    Name,
    /// … of the field that is the payload, or of another one.
    Value {
        is_payload: bool,
    },
}

/// The value of the field that is the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Absent,
    /// It is the content.
    Kept,
    TooLarge,
}

/// Names and values of an entry, one behind the other.
#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
    lengths: Vec<(usize, usize)>,
    name: usize,
    /// They are more than a payload can be large.
    too_large: bool,
}

/// What a token has made complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet.
    More,
    /// An entry, whose payload is [`EntryReader::payload`] until the next token.
    Entry(StreamId),
    /// An entry whose payload is too large.
    TooLarge(StreamId),
}

impl EntryReader {
    /// `field` is the payload, of at most `max_payload` bytes.
    pub(super) fn new(field: &str, max_payload: usize) -> Self {
        Self {
            field: field.as_bytes().into(),
            max_payload,
            step: Step::Entry,
            left: 0,
            id: StreamId::ZERO,
            value: Value::Absent,
            fields: Fields::default(),
            content: Vec::new(),
        }
    }

    /// Of the next token, a string of more bytes is of no use.
    pub(super) fn limit(&self) -> usize {
        match self.step {
            Step::Entry | Step::Id | Step::Fields => LONGEST_ID,
            Step::Name => self.room().max(self.field.len()),
            Step::Value { is_payload: true } => self.max_payload,
            Step::Value { is_payload: false } => self.room(),
        }
    }

    fn room(&self) -> usize {
        self.fields.room(self.max_payload).unwrap_or(0)
    }

    /// The payload of the entry that is complete.
    pub(super) fn payload(&self) -> &[u8] {
        &self.content
    }

    /// Bytes allocated.
    #[cfg(any(test, fuzzing))]
    pub(super) fn kept(&self) -> usize {
        let lengths = self.fields.lengths.capacity() * size_of::<(usize, usize)>();
        self.content.capacity() + self.fields.bytes.capacity() + lengths
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// When it is not of an entry.
    pub(super) fn take(
        &mut self,
        token: &Token,
        buffer: &ReadBuffer,
    ) -> Result<Progress, &'static str> {
        let text = match token {
            Token::Text(range) => Some(buffer.bytes(range.clone())),
            _ => None,
        };
        match (self.step, token, text) {
            (Step::Entry, Token::List(2), _) => self.begin(),
            (Step::Id, _, Some(text)) => {
                self.id = id(text).ok_or("an entry has no id")?;
                self.step = Step::Fields;
            }
            (Step::Fields, Token::List(count) | Token::Map(count), _) => {
                let is_map = matches!(token, Token::Map(_));
                self.left = if is_map { 2 * count } else { *count };
                if self.left % 2 == 1 {
                    return Err("a field of an entry has no value");
                }
                self.step = Step::Name;
            }
            (Step::Fields, Token::Null, _) => (self.left, self.step) = (0, Step::Name),
            (Step::Name, Token::Text(_) | Token::Long(_), _) => {
                self.name(text);
                return Ok(Progress::More);
            }
            (Step::Value { is_payload }, Token::Text(_) | Token::Long(_), _) => {
                self.value(text, is_payload);
            }
            _ => return Err("an entry is not one"),
        }
        let is_over = self.step == Step::Name && self.left == 0;
        Ok(if is_over { self.end() } else { Progress::More })
    }

    fn begin(&mut self) {
        self.content.clear();
        self.content.shrink_to(USUAL);
        self.fields.clear();
        self.value = Value::Absent;
        self.step = Step::Id;
    }

    fn name(&mut self, text: Option<&[u8]>) {
        let is_payload = text == Some(&*self.field);
        // The object is of no use any more once there is the field.
        if self.value == Value::Absent && !is_payload {
            self.fields.name(text, self.max_payload);
        }
        self.left -= 1;
        self.step = Step::Value { is_payload };
    }

    fn value(&mut self, text: Option<&[u8]>, is_payload: bool) {
        match text {
            Some(text) if is_payload => {
                self.content.clear();
                self.content.extend_from_slice(text);
                self.value = Value::Kept;
            }
            None if is_payload => self.value = Value::TooLarge,
            _ if self.value == Value::Absent => self.fields.value(text, self.max_payload),
            _ => {}
        }
        self.left -= 1;
        self.step = Step::Name;
    }

    fn end(&mut self) -> Progress {
        self.step = Step::Entry;
        let fits = match self.value {
            Value::Kept => true,
            Value::TooLarge => false,
            Value::Absent if self.fields.too_large => false,
            Value::Absent => {
                self.content = entry_object(self.fields.pairs());
                self.content.len() <= self.max_payload
            }
        };
        if fits { Progress::Entry(self.id) } else { Progress::TooLarge(self.id) }
    }
}

impl Fields {
    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(USUAL);
        self.lengths.clear();
        self.lengths.shrink_to(USUAL / size_of::<(usize, usize)>());
        self.too_large = false;
    }

    /// What more can be of use: each pair has quotes, a colon and a comma or brace in its object.
    fn room(&self, max_payload: usize) -> Option<usize> {
        let taken = self.bytes.len() + 6 * (self.lengths.len() + 1);
        max_payload.checked_sub(taken).filter(|_| !self.too_large)
    }

    /// Keeps this, if it can be of use. Returns whether it does.
    fn keep(&mut self, text: Option<&[u8]>, max_payload: usize) -> bool {
        let room = self.room(max_payload);
        match text.filter(|text| room.is_some_and(|room| text.len() <= room)) {
            Some(text) => self.bytes.extend_from_slice(text),
            None => self.too_large = true,
        }
        !self.too_large
    }

    fn name(&mut self, text: Option<&[u8]>, max_payload: usize) {
        if self.keep(text, max_payload) {
            self.name = text.map_or(0, <[u8]>::len);
        }
    }

    fn value(&mut self, text: Option<&[u8]>, max_payload: usize) {
        if self.keep(text, max_payload) {
            self.lengths.push((self.name, text.map_or(0, <[u8]>::len)));
        }
    }

    /// Names and values, in their order.
    fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        let mut at = 0;
        let mut next = |length: usize| {
            at += length;
            &self.bytes[at - length..at]
        };
        self.lengths.iter().map(|&(name, value)| (next(name), next(value))).collect()
    }
}

/// Reads an id as Redis writes it.
pub(super) fn id(text: &[u8]) -> Option<StreamId> {
    StreamId::parse(std::str::from_utf8(text).ok()?)
}
