//! The kinds of values that a key can have.

use super::{At, Place, Table, claims::number, kind};
use crate::{
    config::{effective::Compared, env, files, mask},
    identity::user_text,
    secret::{Secret, without_newline},
};
use std::{
    convert::Infallible,
    fmt::{Debug, Display},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::Path,
};
use toml::de::DeValue;

impl Table<'_, '_> {
    /// A string.
    pub(in crate::config) fn text<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (place, text) = self.string(key, default)?;
        self.show(key, default, &text, text.clone());
        self.reader.record(&place, parse(&text))
    }

    /// A string that may hold a secret. One newline at its end is not part of it; the effective
    /// configuration shows only what `mask` leaves.
    pub(in crate::config) fn secret_text<T, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        mask: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (place, written) = self.string(key, default)?;
        let text = without_newline(&written);
        self.show(key, default, text, mask(text));
        self.reader.record(&place, parse(text))
    }

    fn string(&mut self, key: &'static str, default: &str) -> Option<(Place, String)> {
        let (place, value) = self.find(key);
        let text = match value {
            Some(value) => self.reader.string(value, &place, default)?,
            None => default.to_owned(),
        };
        Some((place, text))
    }

    fn show(&mut self, key: &'static str, default: &str, text: &str, shown: String) {
        self.put(key, shown, Compared::Default);
        self.compare(key, (text != default).then_some(text.as_bytes()));
    }

    /// A duration or a size: "60s" and "1m" are the same to a reload.
    pub(in crate::config) fn amount<T: Debug, E: Display>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let amount = self.text(key, default, &parse)?;
        let shown = format!("{amount:?}");
        let is_default = parse(default).is_ok_and(|default| format!("{default:?}") == shown);
        self.compare(key, (!is_default).then_some(shown.as_bytes()));
        Some(amount)
    }

    /// A string without a default.
    pub(in crate::config) fn required_text<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(key)?;
        self.text(key, "", parse)
    }

    /// A string without a default, which may be written as a whole number; the same number is the same
    /// text as in a token.
    pub(in crate::config) fn required_text_or_number<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(key)?;
        let (place, Some(value)) = self.find(key) else { return None };
        let text = match value {
            DeValue::Integer(_) | DeValue::Float(_) => {
                let text = number(value).and_then(|number| user_text(&number.into()));
                let expected = format!("must be a string or a whole number, not {}", kind(value));
                self.reader.record(&place, text.ok_or(expected))?
            }
            _ => self.reader.string(value, &place, "")?,
        };
        self.show(key, "", &text, text.clone());
        self.reader.record(&place, parse(&text))
    }

    /// A string without a default that may hold a secret.
    pub(in crate::config) fn required_secret_text<T, E: Display>(
        &mut self,
        key: &'static str,
        mask: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.require(key)?;
        self.secret_text(key, "", mask, parse)
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
        let is_default = shown.iter().eq(default);
        self.put(key, shown, Compared::shown(is_default));
        let good = elements.into_iter().filter_map(|(place, text)| {
            let value = self.reader.record(&place, parse(&text?))?;
            Some(At { place, value })
        });
        good.collect()
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
                self.reader.record(&place, number.filter(|it| range.contains(it)).ok_or(message))?
            }
            Some(other) => {
                let message = format_args!("must be a whole number, not {}", kind(other));
                self.reader.problem(&place, message);
                return None;
            }
        };
        // TOML counts to i64::MAX; every range ends far below.
        let shown = i64::try_from(number).unwrap_or(i64::MAX);
        let is_default = number == default;
        self.put(key, shown, Compared::shown(is_default));
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

    /// `true` or `false`.
    pub(in crate::config) fn flag(&mut self, key: &'static str, default: bool) -> Option<bool> {
        let (place, value) = self.find(key);
        let flag = match value {
            None => default,
            Some(DeValue::Boolean(flag)) => *flag,
            Some(other) => {
                let message = format_args!("must be true or false, not {}", kind(other));
                self.reader.problem(&place, message);
                return None;
            }
        };
        self.put(key, flag, Compared::shown(flag == default));
        Some(flag)
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
        let inline = self.secret_text(key, "", mask::mask_all, |text| {
            Ok::<_, Infallible>((!text.is_empty()).then(|| Secret::new(text.to_owned())))
        });
        let from_file =
            self.file(file_key, files::secret, |text| Ok(Secret::new(text.to_string())));
        if let Some(None) = inline
            && !self.is_empty_as_written(key)
        {
            self.problem(key, "is empty, as its variable is");
            return None;
        }
        let secret = match (inline?, from_file?) {
            (Some(_), Some(_)) => {
                self.problem(file_key, format_args!("give either {key} or {file_key}, not both"));
                return None;
            }
            (Some(secret), None) => Some((key, secret)),
            (None, from_file) => from_file.map(|secret| (file_key, secret)),
        };
        // The same secret is no change, from the one place or from the other.
        self.compare(key, secret.as_ref().map(|(_, secret)| secret.expose().as_bytes()));
        self.compare(file_key, None);
        Some(secret)
    }

    /// Whether a string is empty by what the file says, defaults of variables included, and not because a
    /// variable is.
    fn is_empty_as_written(&mut self, key: &'static str) -> bool {
        let written = self.find(key).1.and_then(DeValue::as_str).unwrap_or_default();
        env::expand(written, &|_| None).is_ok_and(|text| without_newline(&text).is_empty())
    }

    /// What `parse` makes of the file that a key names. `Some(None)`: it names none. A reload compares
    /// the content, not the path.
    pub(in crate::config) fn file<C: AsRef<[u8]>, T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Path) -> Result<C, String>,
        parse: impl FnOnce(C) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let directory = self.reader.directory.clone();
        let content = self.text(key, "", |path| {
            if path.is_empty() { Ok(None) } else { read(&directory.join(path)).map(Some) }
        })?;
        let Some(content) = content else { return Some(None) };
        self.compare(key, Some(content.as_ref()));
        let place = self.place_of(key);
        self.reader.record(&place, parse(content)).map(Some)
    }

    /// Has a reload compare a key by what its text stands for; `None`: by nothing, as if the key were not
    /// written.
    pub(in crate::config) fn compare(&mut self, key: &'static str, content: Option<&[u8]>) {
        let compared = content.map_or(Compared::Default, Compared::content);
        self.reader.effective.compare(&self.place.key, key, compared);
    }

    /// Shows another value of a key that was read, since it takes effect as that one here.
    pub(in crate::config) fn show_instead(&mut self, key: &'static str, shown: &str) {
        self.reader.effective.show_instead(&self.place.key, key, shown);
    }

    pub(super) fn put(
        &mut self,
        key: &'static str,
        shown: impl Into<toml::Value>,
        compared: Compared,
    ) {
        self.reader.effective.put(&self.place.key, key, shown, compared);
    }
}

/// A whole number, in whatever base it is written.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(integer) = value else { return None };
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
