//! Reads a parsed TOML document key by key and gathers everything that is wrong with it.
//!
//! serde would stop a table at its first error; an operator wants them all. So each key is read by
//! one call that names it, gives its default *in the form in which it would be written*, and says
//! what makes a value right. From these calls alone follow the types, the defaults, which keys are
//! unknown, the position of every problem, and the effective configuration. A key that fails reads
//! as `None` (or is left out of its list) after its problem was recorded; nothing is built as long
//! as there is one.

use super::{
    env::{self, Environment},
    files,
    print::{self, Effective},
    problem::{self, Problem},
};
use crate::secret::Secret;
use std::{
    fmt::Display,
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};
use toml::de::{DeTable, DeValue};

/// What reading needs and gathers.
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

    fn judge<T>(&mut self, place: &Place, result: Result<T, impl Display>) -> Option<T> {
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

impl<'r, 'd> Table<'r, 'd> {
    /// Whether the key is written at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// A string.
    pub(super) fn text<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.masked_text(key, default, str::to_owned, parse)
    }

    /// A string of which the effective configuration shows only what `mask` leaves.
    pub(super) fn masked_text<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        mask: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (place, value) = self.find(key);
        let text = match value {
            Some(value) => self.reader.string(value, &place, default)?,
            None => default.to_owned(),
        };
        self.reader.effective.put(key, mask(&text));
        self.reader.judge(&place, parse(&text))
    }

    /// A string without a default.
    pub(super) fn required_text<T, E: Display>(
        &mut self,
        key: &'static str,
        mask: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(key)?;
        self.masked_text(key, "", mask, parse)
    }

    /// A list of strings: its good elements.
    pub(super) fn list<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<At<T>> {
        let (place, value) = self.find(key);
        let elements: Vec<(Place, Option<String>)> = match value {
            None => default.iter().map(|it| (place.clone(), Some((*it).to_owned()))).collect(),
            Some(DeValue::Array(elements)) => (0..)
                .zip(elements.iter())
                .map(|(number, element)| {
                    let key = format!("{}[{number}]", place.key);
                    let place = Place { offset: element.span().start, key };
                    let text = self.reader.string(element.get_ref(), &place, "");
                    (place, text)
                })
                .collect(),
            Some(other) => {
                let message = format_args!("must be a list of strings, not {}", kind(other));
                self.reader.problem(&place, message);
                return Vec::new();
            }
        };
        let shown: Vec<_> = elements.iter().filter_map(|(_, text)| text.clone()).collect();
        self.reader.effective.put(key, shown);
        let judged = elements.into_iter().filter_map(|(place, text)| {
            let value = self.reader.judge(&place, parse(&text?))?;
            Some(At { place, value })
        });
        judged.collect()
    }

    /// A list of strings without a default, of at least one element.
    pub(super) fn required_list<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<At<T>> {
        if self.require(key).is_none() {
            return Vec::new();
        }
        if let (place, Some(DeValue::Array(elements))) = self.find(key)
            && elements.is_empty()
        {
            self.reader.problem(&place, "must have at least one element");
        }
        self.list(key, &[], parse)
    }

    /// A whole number within a range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let (place, value) = self.find(key);
        let number = match value {
            None => default,
            Some(DeValue::Integer(integer)) => {
                let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
                let (from, to) = (range.start(), range.end());
                let message = format!("must be a whole number from {from} to {to}");
                self.reader.judge(&place, number.filter(|it| range.contains(it)).ok_or(message))?
            }
            Some(other) => {
                let message = format_args!("must be a whole number, not {}", kind(other));
                self.reader.problem(&place, message);
                return None;
            }
        };
        // TOML counts to i64::MAX; every range ends far below.
        self.reader.effective.put(key, i64::try_from(number).unwrap_or(i64::MAX));
        Some(number)
    }

    /// A whole number above zero.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        most: usize,
    ) -> Option<NonZeroUsize> {
        self.number(key, default, 1..=most).and_then(NonZeroUsize::new)
    }

    /// A limit where zero, the default, means that there is none.
    pub(super) fn limit(&mut self, key: &'static str, most: usize) -> Option<Option<NonZeroUsize>> {
        self.number(key, 0, 0..=most).map(NonZeroUsize::new)
    }

    /// A secret that stands either here or in the file that its twin names. `Some(None)`: in
    /// neither.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Option<Secret>> {
        let inline = self.masked_text(key, "", print::mask_all, |text| {
            Ok::<_, String>((!text.is_empty()).then(|| Secret::new(text.to_owned())))
        });
        let from_file = self.file(file_key, files::secret);
        match (inline?, from_file?) {
            (Some(_), Some(_)) => {
                self.problem(file_key, format_args!("give either {key} or {file_key}, not both"));
                None
            }
            (inline, from_file) => Some(inline.or(from_file)),
        }
    }

    /// What `read` makes of the file that a key names. `Some(None)`: it names none.
    pub(super) fn file<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let directory = self.reader.directory.clone();
        self.text(key, "", |path| {
            if path.is_empty() { Ok(None) } else { read(&directory.join(path)).map(Some) }
        })
    }

    /// A table of strings under names of the operator's choice.
    pub(super) fn strings(&mut self, key: &'static str) -> Vec<(String, String)> {
        let (place, value) = self.find(key);
        let entries = match value {
            None => return Vec::new(),
            Some(DeValue::Table(entries)) => entries,
            Some(other) => {
                self.reader.problem(&place, format_args!("must be a table, not {}", kind(other)));
                return Vec::new();
            }
        };
        let mut strings = Vec::new();
        for (name, value) in entries {
            let key = format!("{}.{}", place.key, name.get_ref());
            let place = Place { offset: name.span().start, key };
            if let Some(text) = self.reader.string(value.get_ref(), &place, "") {
                strings.push((name.get_ref().to_string(), text));
            }
        }
        let shown = strings.iter().map(|(name, text)| (name.clone(), text.clone().into()));
        self.reader.effective.put(key, toml::Table::from_iter(shown));
        strings
    }

    /// A table whose keys all have defaults: absent is the same as empty.
    pub(super) fn table<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_, 'd>) -> R,
    ) -> R {
        let (place, value) = self.find(key);
        let entries = value.and_then(|value| self.entries_of(value, &place));
        self.reader.effective.begin(format!("[{}]", place.key));
        self.inner(entries, place).read(read)
    }

    /// A table that means something by being there.
    pub(super) fn optional_table<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_, 'd>) -> R,
    ) -> Option<R> {
        if self.has(key) {
            return Some(self.table(key, read));
        }
        self.known.push(key);
        None
    }

    /// An array of tables (`[[key]]`); absent is the same as none.
    pub(super) fn tables<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Table<'_, 'd>) -> R,
    ) -> Vec<R> {
        let (place, value) = self.find(key);
        let elements = match value {
            None => return Vec::new(),
            Some(DeValue::Array(elements)) => elements,
            Some(other) => {
                let message = format_args!("must be [[{}]] tables, not {}", place.key, kind(other));
                self.reader.problem(&place, message);
                return Vec::new();
            }
        };
        let mut results = Vec::new();
        for (number, element) in elements.iter().enumerate() {
            let header = format!("[[{}]]", place.key);
            let key = format!("{}[{number}]", place.key);
            let place = Place { offset: element.span().start, key };
            if let Some(entries) = self.entries_of(element.get_ref(), &place) {
                self.reader.effective.begin(header);
                results.push(self.inner(Some(entries), place).read(&mut read));
            }
        }
        results
    }

    /// Records that a key of this table is wrong in a way that only its reader could see.
    pub(super) fn problem(&mut self, key: &'static str, message: impl Display) {
        let place = self.place_of(key);
        self.reader.problem(&place, message);
    }

    pub(super) fn problem_at(&mut self, place: &Place, message: impl Display) {
        self.reader.problem(place, message);
    }

    /// Records something that works, but is seldom meant.
    pub(super) fn warning(&mut self, key: &'static str, message: impl Display) {
        let warning = self.reader.describe(&self.place_of(key), message);
        self.reader.warnings.push(warning);
    }

    /// Where the key stands, or this table's header when it is not written.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let offset = self
            .entries
            .and_then(|entries| entries.get_key_value(key))
            // A table begins at its header, which is before its key; other values come after it.
            .map_or(self.place.offset, |(key, value)| key.span().start.min(value.span().start));
        Place { offset, key: self.path_of(key) }
    }

    fn path_of(&self, key: &str) -> String {
        if self.place.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.key) }
    }

    fn find(&mut self, key: &'static str) -> (Place, Option<&'r DeValue<'r>>) {
        self.known.push(key);
        let value = self.entries.and_then(|entries| entries.get(key));
        (self.place_of(key), value.map(toml::Spanned::get_ref))
    }

    fn require(&mut self, key: &'static str) -> Option<()> {
        if self.has(key) {
            return Some(());
        }
        self.known.push(key);
        self.problem(key, "is missing");
        None
    }

    fn entries_of<'v>(&mut self, value: &'v DeValue<'v>, place: &Place) -> Option<&'v DeTable<'v>> {
        let wrong = || format!("must be a table, not {}", kind(value));
        self.reader.judge(place, value.as_table().ok_or_else(wrong))
    }

    fn inner<'t>(&'t mut self, entries: Option<&'t DeTable<'t>>, place: Place) -> Table<'t, 'd> {
        Table { reader: self.reader, entries, place, known: Vec::new() }
    }

    fn read<R>(mut self, read: impl FnOnce(&mut Self) -> R) -> R {
        let result = read(&mut self);
        self.refuse_unknown_keys();
        result
    }

    fn refuse_unknown_keys(&mut self) {
        for key in self.entries.into_iter().flat_map(DeTable::keys) {
            let key = key.get_ref().as_ref();
            if !self.known.contains(&key) {
                let place = self.place_of(key);
                let hint = nearest(key, &self.known)
                    .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                self.reader.problem(&place, format_args!("unknown key{hint}"));
            }
        }
    }
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

/// The known key that was probably meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(key, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.85).then_some(best)
}
