//! The configuration in effect: every key with its value, defaults included, variables replaced.
//!
//! `check --print` shows it, secrets masked; a reload compares two of them (`plan`).
//! What stands behind a mask, or in a file, is compared by its SHA-256, so that no second copy of a
//! secret is kept and none can be printed.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::{self, Write as _};

/// Every table that was read and the keys in it, in the order of reading.
#[derive(Clone, Default)]
pub struct Effective {
    pub(super) tables: Vec<EffectiveTable>,
}

/// One table, as it stands in the effective configuration.
#[derive(Clone)]
pub(super) struct EffectiveTable {
    /// `server`, or `endpoint[2]` for one of an array.
    pub(super) path: String,
    pub(super) entries: Vec<Entry>,
}

/// One key.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: &'static str,
    pub(super) shown: toml::Value,
    pub(super) compared: Compared,
}

/// What a reload compares of a key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Compared {
    /// The value as it is shown.
    Shown,
    /// The SHA-256 of what the value stands for.
    Content([u8; 32]),
    /// Nothing: the key does the same as if it were not written.
    Default,
}

impl Compared {
    pub(super) fn shown(is_default: bool) -> Self {
        if is_default { Self::Default } else { Self::Shown }
    }

    pub(super) fn content(content: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, content).as_ref());
        Self::Content(hash)
    }
}

impl Effective {
    /// Begins a table.
    pub(super) fn begin(&mut self, path: String) {
        self.tables.push(EffectiveTable { path, entries: Vec::new() });
    }

    /// Adds a key to a table that was begun.
    pub(super) fn put(
        &mut self,
        table: &str,
        key: &'static str,
        shown: impl Into<toml::Value>,
        compared: Compared,
    ) {
        if let Some(table) = self.tables.iter_mut().rfind(|it| it.path == table) {
            table.entries.push(Entry { key, shown: shown.into(), compared });
        }
    }

    /// Compares a key that was put by something else than its text.
    pub(super) fn compare(&mut self, table: &str, key: &str, compared: Compared) {
        let table = self.tables.iter_mut().rfind(|it| it.path == table);
        let entry = table.and_then(|table| table.entries.iter_mut().find(|it| it.key == key));
        if let Some(entry) = entry {
            entry.compared = compared;
        }
    }

    /// Shows another value of a key that was put; what a reload compares stays.
    pub(super) fn show_instead(&mut self, table: &str, key: &str, shown: impl Into<toml::Value>) {
        let table = self.tables.iter_mut().rfind(|it| it.path == table);
        let entry = table.and_then(|table| table.entries.iter_mut().find(|it| it.key == key));
        if let Some(entry) = entry {
            entry.shown = shown.into();
        }
    }

    /// The whole as TOML.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", header(&table.path));
            for Entry { key, shown, .. } in &table.entries {
                let _ = writeln!(text, "{key} = {shown}");
            }
        }
        text
    }
}

/// `server` → `[server]`; `endpoint[2]` → `[[endpoint]]`.
fn header(path: &str) -> String {
    let names: Vec<_> =
        path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect();
    let name = names.join(".");
    if path.ends_with(']') { format!("[[{name}]]") } else { format!("[{name}]") }
}

impl fmt::Debug for Effective {
    /// Not the hashes: a weak secret can be guessed from its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_keys_stand_in_the_order_they_were_read() {
        let mut effective = Effective::default();
        effective.begin("server".to_owned());
        effective.put("server", "shards", 0, Compared::Default);
        effective.begin("endpoint[0]".to_owned());
        effective.begin("endpoint[0].publish".to_owned());
        effective.put("endpoint[0]", "channels", vec!["a", "b"], Compared::Shown);
        effective.put("server", "listen", "say \"hi\"", Compared::Shown);
        assert_eq!(
            effective.render(),
            "[server]\nshards = 0\nlisten = 'say \"hi\"'\n\n\
             [[endpoint]]\nchannels = [\"a\", \"b\"]\n\n[endpoint.publish]\n"
        );
    }
}
