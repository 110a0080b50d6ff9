//! One table: where its keys stand, the tables inside it, and the keys that nobody asked for.

use super::{Place, Table, kind};
use std::fmt::Display;
use toml::de::{DeTable, DeValue};

impl<'r, 'd> Table<'r, 'd> {
    /// Whether the key is written at all.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// A table whose keys all have defaults: absent is the same as empty.
    pub(in crate::config) fn table<R>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_, 'd>) -> R,
    ) -> R {
        let (place, value) = self.find(key);
        let entries = value.and_then(|value| self.entries_of(value, &place));
        self.reader.effective.begin(place.key.clone());
        self.inner(entries, place).read(read)
    }

    /// A table that means something by being there.
    pub(in crate::config) fn optional_table<R>(
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
    pub(in crate::config) fn tables<R>(
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
            let key = format!("{}[{number}]", place.key);
            let place = Place { offset: element.span().start, key };
            if let Some(entries) = self.entries_of(element.get_ref(), &place) {
                self.reader.effective.begin(place.key.clone());
                results.push(self.inner(Some(entries), place).read(&mut read));
            }
        }
        results
    }

    /// Records that a key of this table is wrong in a way that only its reader could see.
    pub(in crate::config) fn problem(&mut self, key: &'static str, message: impl Display) {
        let place = self.place_of(key);
        self.reader.problem(&place, message);
    }

    pub(in crate::config) fn problem_at(&mut self, place: &Place, message: impl Display) {
        self.reader.problem(place, message);
    }

    /// Records something that works, but is seldom meant.
    pub(in crate::config) fn warning(&mut self, key: &'static str, message: impl Display) {
        let place = self.place_of(key);
        self.warning_at(&place, message);
    }

    pub(in crate::config) fn warning_at(&mut self, place: &Place, message: impl Display) {
        let warning = self.reader.describe(place, message);
        self.reader.warnings.push(warning);
    }

    /// Whether the key is written, and is more than an empty list.
    pub(in crate::config) fn has_some(&self, key: &str) -> bool {
        let value = self.entries.and_then(|entries| entries.get(key));
        value.is_some_and(|value| value.get_ref().as_array().is_none_or(|list| !list.is_empty()))
    }

    /// Where the key stands, or this table's header when it is not written.
    pub(in crate::config) fn place_of(&self, key: &str) -> Place {
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

    pub(super) fn find(&mut self, key: &'static str) -> (Place, Option<&'r DeValue<'r>>) {
        self.known.push(key);
        let value = self.entries.and_then(|entries| entries.get(key));
        (self.place_of(key), value.map(toml::Spanned::get_ref))
    }

    pub(super) fn require(&mut self, key: &'static str) -> Option<()> {
        if self.has(key) {
            return Some(());
        }
        self.known.push(key);
        self.problem(key, "is missing");
        None
    }

    fn entries_of<'v>(&mut self, value: &'v DeValue<'v>, place: &Place) -> Option<&'v DeTable<'v>> {
        let wrong = || format!("must be a table, not {}", kind(value));
        self.reader.record(place, value.as_table().ok_or_else(wrong))
    }

    fn inner<'t>(&'t mut self, entries: Option<&'t DeTable<'t>>, place: Place) -> Table<'t, 'd> {
        Table { reader: self.reader, entries, place, known: Vec::new() }
    }

    pub(super) fn read<R>(mut self, read: impl FnOnce(&mut Self) -> R) -> R {
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

/// The known key that was probably meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(key, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.85).then_some(best)
}
