//! Reads the answer to XINFO STREAM, token by token: it carries the first and the last entry whole,
//! whatever their size.

use super::{entry::id, read_buffer::ReadBuffer, token::Token};
use crate::{bus::StreamFacts, stream_id::StreamId};

/// Longer than every id, and every name that means something to us.
pub(super) const LONGEST: usize = 64;

/// Reads one answer after another.
#[derive(Debug, Default)]
pub(super) struct FactsReader {
    step: Step,
    /// Pairs that are still to come.
    left: u64,
    facts: StreamFacts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Answer,
    Name,
    Length,
    Added,
    Last,
    MaxDeleted,
    FirstEntry,
    /// Its id, with so many values behind it.
    FirstId {
        behind: u64,
    },
}

/// What a token has made complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FactsProgress {
    More,
    /// So many values are to be skipped next.
    Skip(u64),
    Facts(StreamFacts),
}

impl FactsReader {
    /// Takes the next token.
    ///
    /// # Errors
    /// When it is not of such an answer.
    pub(super) fn take(
        &mut self,
        token: &Token,
        buffer: &ReadBuffer,
    ) -> Result<FactsProgress, &'static str> {
        let mut skip = 0;
        match (self.step, token) {
            (Step::Answer, Token::Map(pairs)) => self.begin(*pairs),
            (Step::Answer, Token::List(values)) if values % 2 == 0 => self.begin(values / 2),
            (Step::Name, Token::Text(name)) => {
                self.step = Step::of(buffer.bytes(name.clone()));
                self.left -= 1;
                skip = u64::from(self.step == Step::Name);
            }
            (Step::Name, Token::Long(_)) => (self.left, skip) = (self.left - 1, 1),
            (Step::Length, Token::Integer(number)) => {
                self.facts.length = natural(*number)?;
                self.step = Step::Name;
            }
            (Step::Added, Token::Integer(number)) => {
                self.facts.added = Some(natural(*number)?);
                self.step = Step::Name;
            }
            (Step::Last | Step::MaxDeleted | Step::FirstId { .. }, Token::Text(text)) => {
                let id = id(buffer.bytes(text.clone())).ok_or("an id of a stream is not one")?;
                skip = self.id(id);
            }
            (Step::FirstEntry, Token::Null | Token::List(0)) => self.step = Step::Name,
            (Step::FirstEntry, Token::List(values)) => {
                self.step = Step::FirstId { behind: values - 1 };
            }
            _ => return Err("what XINFO says of a stream is not understood"),
        }
        Ok(match (self.step, self.left, skip) {
            (_, _, skip @ 1..) => FactsProgress::Skip(skip),
            (Step::Name, 0, _) => self.end(),
            _ => FactsProgress::More,
        })
    }

    /// What was read, if nothing more is to come once the values at hand are skipped.
    pub(super) fn skipped(&mut self) -> FactsProgress {
        match (self.step, self.left) {
            (Step::Name, 0) => self.end(),
            _ => FactsProgress::More,
        }
    }

    fn begin(&mut self, pairs: u64) {
        let facts = StreamFacts { exists: true, ..StreamFacts::default() };
        *self = Self { step: Step::Name, left: pairs, facts };
    }

    /// Returns how many values are to be skipped behind it.
    fn id(&mut self, id: StreamId) -> u64 {
        match std::mem::replace(&mut self.step, Step::Name) {
            Step::Last => self.facts.last = id,
            Step::MaxDeleted => self.facts.max_deleted = Some(id),
            Step::FirstId { behind } => {
                self.facts.first = Some(id);
                return behind;
            }
            _ => {}
        }
        0
    }

    fn end(&mut self) -> FactsProgress {
        FactsProgress::Facts(std::mem::take(self).facts)
    }
}

impl Step {
    /// The value of this name; [`Step::Name`]: it means nothing to us.
    fn of(name: &[u8]) -> Self {
        match name {
            b"length" => Self::Length,
            b"entries-added" => Self::Added,
            b"last-generated-id" => Self::Last,
            b"max-deleted-entry-id" => Self::MaxDeleted,
            b"first-entry" => Self::FirstEntry,
            _ => Self::Name,
        }
    }
}

fn natural(number: i64) -> Result<u64, &'static str> {
    u64::try_from(number).map_err(|_| "a count of a stream is negative")
}
