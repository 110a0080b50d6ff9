//! Reads a parsed TOML document key by key and records every problem.
//!
//! serde would stop a table at its first error; an operator wants them all. So each key is read by
//! one call that names it, gives its default *in the form in which it would be written*, and says
//! what makes a value right. From these calls alone follow the types, the defaults, which keys are
//! unknown, the position of every problem, and the effective configuration. A key that fails reads
//! as `None` (or is left out of its list) after its problem was recorded; nothing is built as long
//! as there is one.

mod claims;
mod table;
mod values;

use super::{
    effective::Effective,
    env::{self, Environment},
    problem::{self, Problem},
};
use std::{
    fmt::Display,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// What reading needs, and what it has recorded.
pub(super) struct Reader<'d> {
    file: &'d str,
    text: &'d str,
    /// Files named by the configuration are relative to this: the directory of its own file.
    directory: PathBuf,
    environment: Environment<'d>,
    pub(super) problems: Vec<Problem>,
    /// Printed like problems, but nothing is refused for them.
    pub(super) warnings: Vec<Problem>,
    pub(super) effective: Effective,
}

/// Where a key, or an element of a list, stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    offset: usize,
    key: String,
}

/// A good value and where it stands, for checks that need more than the value itself.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<'d> Reader<'d> {
    pub(super) fn new(file: &'d str, text: &'d str, environment: Environment<'d>) -> Self {
        let directory = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        Self {
            file,
            text,
            directory,
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
            effective: Effective::default(),
        }
    }

    /// Reads the table that holds all others.
    pub(super) fn root<R>(
        &mut self,
        entries: &DeTable<'_>,
        read: impl FnOnce(&mut Table<'_, 'd>) -> R,
    ) -> R {
        let place = Place { offset: 0, key: String::new() };
        Table { reader: self, entries: Some(entries), place, known: Vec::new() }.read(read)
    }

    pub(super) fn problem(&mut self, place: &Place, message: impl Display) {
        let problem = self.describe(place, message);
        self.problems.push(problem);
    }

    fn describe(&self, place: &Place, message: impl Display) -> Problem {
        let (line, column) = problem::position(self.text, place.offset);
        let (file, key, message) = (self.file.to_owned(), place.key.clone(), message.to_string());
        Problem { file, line, column, key, message }
    }

    /// A string with its variables replaced.
    fn string(&mut self, value: &DeValue<'_>, place: &Place, example: &str) -> Option<String> {
        let Some(text) = value.as_str() else {
            let such =
                if example.is_empty() { String::new() } else { format!(" such as {example:?}") };
            self.problem(place, format_args!("must be a string{such}, not {}", kind(value)));
            return None;
        };
        match env::expand(text, self.environment) {
            Ok(expanded) => Some(expanded),
            Err(messages) => {
                messages.iter().for_each(|message| self.problem(place, message));
                None
            }
        }
    }

    fn record<T>(&mut self, place: &Place, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|message| self.problem(place, message)).ok()
    }
}

/// One table of the document, or the defaults of one that is absent.
pub(super) struct Table<'r, 'd> {
    reader: &'r mut Reader<'d>,
    entries: Option<&'r DeTable<'r>>,
    /// Of its header; the root has no key.
    place: Place,
    /// Every key that was asked for: all others are unknown.
    known: Vec<&'static str>,
}

/// What a value is, with its article, for "must be a string, not …".
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
