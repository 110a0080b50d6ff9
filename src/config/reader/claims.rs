//! The claims of a static token: a table of what JSON Web Tokens have in theirs.

use super::{Place, Table, kind, values::integer};
use crate::config::effective::Compared;
use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

impl Table<'_, '_> {
    /// A table of claims under names of the operator's choice: strings, numbers, booleans, and lists and
    /// tables of these.
    pub(in crate::config) fn claims(&mut self, key: &'static str) -> Map<String, Value> {
        let (place, value) = self.find(key);
        let claims = match value {
            None => Map::new(),
            Some(DeValue::Table(entries)) => self.object(&place.key, entries),
            Some(other) => {
                self.reader.problem(&place, format_args!("must be a table, not {}", kind(other)));
                return Map::new();
            }
        };
        // Neither null nor a number that TOML cannot write is among them.
        let shown = toml::Value::try_from(&claims).unwrap_or_else(|_| toml::Table::new().into());
        self.put(key, shown, Compared::shown(claims.is_empty()));
        claims
    }

    fn object(&mut self, path: &str, entries: &DeTable<'_>) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, value) in entries {
            let place =
                Place { offset: name.span().start, key: format!("{path}.{}", name.get_ref()) };
            if let Some(value) = self.claim(&place, value.get_ref()) {
                object.insert(name.get_ref().to_string(), value);
            }
        }
        object
    }

    fn claim(&mut self, place: &Place, value: &DeValue<'_>) -> Option<Value> {
        match value {
            DeValue::String(_) => self.reader.string(value, place, "").map(Value::String),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Array(items) => {
                let claim = |item: &toml::Spanned<DeValue<'_>>| {
                    let place = Place { offset: item.span().start, key: place.key.clone() };
                    self.claim(&place, item.get_ref())
                };
                items.iter().map(claim).collect::<Option<_>>().map(Value::Array)
            }
            DeValue::Table(entries) => Some(Value::Object(self.object(&place.key, entries))),
            DeValue::Integer(_) | DeValue::Float(_) => {
                let number = number(value).ok_or("must be a finite number of at most 64 bits");
                self.reader.record(place, number).map(Value::Number)
            }
            DeValue::Datetime(_) => {
                const EXPECTED: &str = "must be a string, a number, a boolean, a list or a table";
                self.reader.problem(place, format_args!("{EXPECTED}, not {}", kind(value)));
                None
            }
        }
    }
}

/// `None`: it is no finite number of at most 64 bits.
pub(super) fn number(value: &DeValue<'_>) -> Option<Number> {
    match value {
        DeValue::Float(float) => Number::from_f64(float.as_str().parse().ok()?),
        _ => integer(value).map(Number::from),
    }
}
