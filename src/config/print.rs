//! The configuration that is in effect, as TOML: every key with its value, defaults included,
//! variables replaced, secrets masked.

use std::fmt::Write as _;

/// What a secret looks like.
pub(super) const MASK: &str = "***";

/// Every table that was read and the keys in it, in the order of reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) tables: Vec<EffectiveTable>,
}

/// One table, as it stands in the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EffectiveTable {
    /// `[server]` or `[[endpoint]]`.
    pub(super) header: String,
    /// Key and value, the value as TOML.
    pub(super) entries: Vec<(&'static str, String)>,
}

impl Effective {
    /// Begins a table; what is put from now on belongs to it.
    pub(super) fn begin(&mut self, header: String) {
        self.tables.push(EffectiveTable { header, entries: Vec::new() });
    }

    pub(super) fn put(&mut self, key: &'static str, value: impl Into<toml::Value>) {
        if let Some(table) = self.tables.last_mut() {
            table.entries.push((key, value.into().to_string()));
        }
    }

    /// The whole as TOML.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{}", table.header);
            for (key, value) in &table.entries {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        text
    }
}

/// Masks the password of a URL, and of whatever was meant to be one.
pub(super) fn mask_url(url: &str) -> String {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let Some(at) = url.rfind('@').filter(|at| *at >= start) else {
        return url.to_owned();
    };
    let user = url[start..at]
        .split_once(':')
        .map_or(MASK.to_owned(), |(user, _)| format!("{user}:{MASK}"));
    format!("{}{user}{}", &url[..start], &url[at..])
}

/// Masks a whole value; an empty one is no secret but an absent one.
pub(super) fn mask_all(value: &str) -> String {
    if value.is_empty() { String::new() } else { MASK.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_everything_but_its_password() {
        for (url, masked) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
            ("redis://user:p:w@host", "redis://user:***@host"),
            ("redis://us/er:p@w/x@host", "redis://us/er:***@host"),
            ("redis://token@host", "redis://***@host"),
            ("user:pw@host", "user:***@host"),
            ("a@b://c", "a@b://c"),
        ] {
            assert_eq!(mask_url(url), masked, "{url}");
        }
    }

    #[test]
    fn tables_and_keys_stand_in_the_order_they_were_read() {
        let mut effective = Effective::default();
        effective.begin("[server]".to_owned());
        effective.put("shards", 0);
        effective.put("listen", "say \"hi\"");
        effective.begin("[[endpoint]]".to_owned());
        effective.put("channels", vec!["a", "b"]);
        assert_eq!(
            effective.render(),
            "[server]\nshards = 0\nlisten = 'say \"hi\"'\n\n[[endpoint]]\nchannels = [\"a\", \"b\"]\n"
        );
    }
}
