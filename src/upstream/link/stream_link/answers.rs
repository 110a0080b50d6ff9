//! What Redis sends, one step at a time: the answers to what was asked, and where in them pushes stand.

use super::{
    Event, Found, LinkError, Progress, StreamArrival, StreamLink, Value, not_resp, pong, role,
};
use crate::{
    bus::StreamFacts,
    upstream::link::{
        facts::{self, FactsProgress},
        token::Token,
    },
};

/// An error text is not looked at beyond this.
const LONGEST_ERROR: usize = 16 << 10;

/// A command whose answer is not complete.
pub(super) struct Asked {
    /// Answers of one value each that come first and mean nothing, unless they are errors.
    acknowledgements: u8,
    answer: Answer,
    /// The first error in it.
    error: Option<String>,
}

/// What a command is answered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Status,
    Pong,
    Role,
    Run,
    Parts(&'static [Part]),
    /// Parts, as the elements of one array.
    Transaction(&'static [Part]),
}

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Facts,
    Entries,
}

/// Where in what Redis sends the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between two answers or pushes.
    Between,
    /// At the values of a push.
    Push { values: u64 },
    /// Where a push names what has changed.
    Invalidate,
    /// Within these names, of which so many are still to come.
    Names { left: u64 },
    /// At the first of these parts.
    Part(&'static [Part]),
    /// Within the first of these parts, or behind what it skips.
    Facts { parts: &'static [Part], skips: bool },
    /// Within the first of these parts, of whose entries so many are still to come.
    Entries { parts: &'static [Part], left: u64 },
}

impl Asked {
    pub(super) fn of(answer: Answer) -> Self {
        Self::behind(0, answer)
    }

    /// … with so many answers of one value in front of it.
    pub(super) fn behind(acknowledgements: u8, answer: Answer) -> Self {
        Self { acknowledgements, answer, error: None }
    }
}

impl StreamLink {
    /// Handles the next piece of what was received. `false`: it is not here yet.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(super) fn step(&mut self) -> Result<bool, LinkError> {
        match self.place {
            Place::Between => self.between(),
            Place::Push { values } => self.push(values),
            Place::Invalidate => self.invalidate(),
            Place::Names { left } => self.name(left),
            Place::Part([]) => self.complete(),
            Place::Part(parts) => self.part(parts),
            Place::Facts { parts, skips } => self.facts(parts, skips),
            Place::Entries { parts, left: 0 } => {
                self.place = Place::Part(&parts[1..]);
                Ok(true)
            }
            Place::Entries { parts, left } => self.entry(parts, left),
        }
    }

    pub(super) fn token(&mut self, limit: usize) -> Result<Option<Token>, LinkError> {
        self.stream.received.token(limit).map_err(not_resp)
    }

    pub(super) fn find(&mut self, found: StreamArrival<'static>) {
        self.next = Some(Found::Other(found));
    }

    /// The oldest command is answered.
    fn answered(&mut self, found: StreamArrival<'static>) {
        self.asked.pop_front();
        self.place = Place::Between;
        self.find(found);
    }

    fn error_text(&self, token: &Token) -> Option<String> {
        match token {
            Token::Error(text) => {
                let text = self.stream.received.bytes(text.clone());
                Some(String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        }
    }

    fn between(&mut self) -> Result<bool, LinkError> {
        let Some(kind) = self.stream.received.kind().map_err(not_resp)? else { return Ok(false) };
        if kind == b'>' {
            return self.push_begins();
        }
        match self.asked.front() {
            None => self.unasked(),
            Some(asked) if asked.acknowledgements > 0 => self.acknowledgement(),
            Some(Asked { answer: Answer::Parts(parts), .. }) => {
                self.place = Place::Part(parts);
                Ok(true)
            }
            Some(Asked { answer: Answer::Transaction(parts), .. }) => self.transaction(parts),
            Some(Asked { answer: Answer::Status, .. }) => self.status(),
            Some(Asked { answer, .. }) => self.value(*answer),
        }
    }

    /// "max number of clients reached", for one.
    fn unasked(&mut self) -> Result<bool, LinkError> {
        let Some(token) = self.token(LONGEST_ERROR)? else { return Ok(false) };
        Err(match self.error_text(&token) {
            Some(text) => self.redactor.answered(&text),
            None => LinkError::Lost("Redis answers what was not asked".to_owned()),
        })
    }

    fn acknowledgement(&mut self) -> Result<bool, LinkError> {
        let Some(token) = self.token(LONGEST_ERROR)? else { return Ok(false) };
        let error = self.error_text(&token);
        // Where MULTI is refused, what was to be queued is answered at once.
        self.stream.received.skip_values(inside(&token));
        if let Some(asked) = self.asked.front_mut() {
            asked.acknowledgements -= 1;
            asked.error = asked.error.take().or(error);
        }
        Ok(true)
    }

    fn status(&mut self) -> Result<bool, LinkError> {
        let Some(token) = self.token(LONGEST_ERROR)? else { return Ok(false) };
        self.stream.received.skip_values(inside(&token));
        let error = self.error_text(&token);
        self.conclude(error);
        Ok(true)
    }

    fn value(&mut self, answer: Answer) -> Result<bool, LinkError> {
        let value = match self.stream.received.next().map_err(not_resp)? {
            Some(Event::Reply(value)) => value,
            Some(_) => return Ok(true),
            None => return Ok(false),
        };
        let found = match answer {
            Answer::Pong => {
                pong(value, &self.redactor)?;
                StreamArrival::Done
            }
            Answer::Role => StreamArrival::Role(role(&value)),
            _ => StreamArrival::Run(run(&value)),
        };
        self.answered(found);
        Ok(true)
    }

    fn transaction(&mut self, parts: &'static [Part]) -> Result<bool, LinkError> {
        let Some(token) = self.token(LONGEST_ERROR)? else { return Ok(false) };
        match (self.error_text(&token), token) {
            (Some(text), _) => self.conclude(Some(text)),
            (None, Token::List(count)) if count == parts.len() as u64 => {
                self.place = Place::Part(parts);
            }
            _ => return Err(not_resp("a transaction has another answer")),
        }
        Ok(true)
    }

    /// The head of a part.
    fn part(&mut self, parts: &'static [Part]) -> Result<bool, LinkError> {
        let Some(kind) = self.stream.received.kind().map_err(not_resp)? else { return Ok(false) };
        if kind == b'>' {
            return self.push_begins();
        }
        if parts[0] == Part::Facts && !matches!(kind, b'-' | b'!') {
            self.place = Place::Facts { parts, skips: false };
            return Ok(true);
        }
        let Some(token) = self.token(LONGEST_ERROR)? else { return Ok(false) };
        self.place = Place::Part(&parts[1..]);
        match (parts[0], self.error_text(&token), token) {
            (Part::Facts, Some(text), _) if is_no_key(&text) => {
                self.find(StreamArrival::Facts(StreamFacts::default()));
            }
            (_, Some(text), _) => {
                if let Some(asked) = self.asked.front_mut() {
                    asked.error.get_or_insert(text);
                }
            }
            (Part::Entries, None, Token::List(left)) => self.place = Place::Entries { parts, left },
            _ => return Err(not_resp("entries are no list")),
        }
        Ok(true)
    }

    fn facts(&mut self, parts: &'static [Part], skips: bool) -> Result<bool, LinkError> {
        let progress = if skips {
            // What is skipped must be past before this is over.
            self.facts.skipped()
        } else {
            let Some(token) = self.token(facts::LONGEST)? else { return Ok(false) };
            self.facts.take(&token, &self.stream.received).map_err(not_resp)?
        };
        self.place = Place::Facts { parts, skips: false };
        match progress {
            FactsProgress::More => {}
            FactsProgress::Skip(values) => {
                self.stream.received.skip_values(values);
                self.place = Place::Facts { parts, skips: true };
            }
            FactsProgress::Facts(facts) => {
                self.place = Place::Part(&parts[1..]);
                self.find(StreamArrival::Facts(facts));
            }
        }
        Ok(true)
    }

    fn entry(&mut self, parts: &'static [Part], left: u64) -> Result<bool, LinkError> {
        let Some(token) = self.token(self.entries.limit())? else { return Ok(false) };
        let progress = self.entries.take(&token, &self.stream.received).map_err(not_resp)?;
        let found = match progress {
            Progress::More => return Ok(true),
            Progress::Entry(id) => Found::Entry(id),
            Progress::TooLarge(id) => Found::Other(StreamArrival::TooLarge(id)),
        };
        self.place = Place::Entries { parts, left: left - 1 };
        self.next = Some(found);
        Ok(true)
    }

    /// All parts are here.
    fn complete(&mut self) -> Result<bool, LinkError> {
        self.conclude(None);
        Ok(true)
    }

    /// The oldest command is answered, by its first error if there is one.
    fn conclude(&mut self, last: Option<String>) {
        let first = self.asked.front_mut().and_then(|asked| asked.error.take());
        let found = match first.or(last) {
            Some(text) => StreamArrival::Failed(self.redactor.answered(&text)),
            None => StreamArrival::Done,
        };
        self.answered(found);
    }
}

/// Values that follow as the elements of this one.
pub(super) fn inside(token: &Token) -> u64 {
    match token {
        Token::List(values) | Token::Push(values) => *values,
        Token::Map(pairs) => 2 * pairs,
        _ => 0,
    }
}

/// How servers say that there is no such stream.
fn is_no_key(error: &str) -> bool {
    error.to_ascii_lowercase().contains("no such key")
}

/// `run_id` in INFO's section on the server.
fn run(answer: &Value) -> Option<String> {
    let Value::Text(text) = answer else { return None };
    let text = String::from_utf8_lossy(text);
    let run = text.lines().find_map(|line| line.strip_prefix("run_id:"))?.trim();
    (!run.is_empty()).then(|| run.to_owned())
}
