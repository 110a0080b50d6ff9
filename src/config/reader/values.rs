//! The kinds of values that a key can have.

use super::{At, Place, Table, kind};
use crate::{
    config::{files, print},
    secret::Secret,
};
use std::{convert::Infallible, fmt::Display, num::NonZeroUsize, ops::RangeInclusive, path::Path};
use toml::de::DeValue;

impl Table<'_, '_> {
    /// A string.
    pub(in crate::config) fn text<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.masked_text(key, default, str::to_owned, parse)
    }

    /// A string of which the effective configuration shows only what `mask` leaves.
    pub(in crate::config) fn masked_text<T, E: Display>(
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
    pub(in crate::config) fn required_text<T, E: Display>(
        &mut self,
        key: &'static str,
        mask: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(key)?;
        self.masked_text(key, "", mask, parse)
    }

    /// A list of strings: its good elements.
    pub(in crate::config) fn list<T, E: Display>(
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

    /// A list of strings that must have at least one element.
    pub(in crate::config) fn filled_list<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<At<T>> {
        if let (place, Some(DeValue::Array(elements))) = self.find(key)
            && elements.is_empty()
        {
            self.reader.problem(&place, "must have at least one element");
        }
        self.list(key, default, parse)
    }

    /// A list of strings without a default, of at least one element.
    pub(in crate::config) fn required_list<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<At<T>> {
        match self.require(key) {
            Some(()) => self.filled_list(key, &[], parse),
            None => Vec::new(),
        }
    }

    /// A whole number within a range.
    pub(in crate::config) fn number(
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
    pub(in crate::config) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        most: usize,
    ) -> Option<NonZeroUsize> {
        self.number(key, default, 1..=most).and_then(NonZeroUsize::new)
    }

    /// A limit where zero, the default, means that there is none.
    pub(in crate::config) fn limit(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Option<Option<NonZeroUsize>> {
        self.number(key, 0, 0..=most).map(NonZeroUsize::new)
    }

    /// A secret that stands either here or in the file that its twin names, with the one of the two
    /// keys that gave it. `Some(None)`: neither did.
    pub(in crate::config) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Option<(&'static str, Secret)>> {
        let inline = self.masked_text(key, "", print::mask_all, |text| {
            Ok::<_, Infallible>((!text.is_empty()).then(|| Secret::new(text.to_owned())))
        });
        let from_file = self.file(file_key, files::secret);
        match (inline?, from_file?) {
            (Some(_), Some(_)) => {
                self.problem(file_key, format_args!("give either {key} or {file_key}, not both"));
                None
            }
            (Some(secret), None) => Some(Some((key, secret))),
            (None, from_file) => Some(from_file.map(|secret| (file_key, secret))),
        }
    }

    /// What `read` makes of the file that a key names. `Some(None)`: it names none.
    pub(in crate::config) fn file<T>(
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
    pub(in crate::config) fn strings(&mut self, key: &'static str) -> Vec<(String, String)> {
        let (place, value) = self.find(key);
        let entries = match value {
            None => {
                self.reader.effective.put(key, toml::Table::new());
                return Vec::new();
            }
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
}
