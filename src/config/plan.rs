//! What a reload would change: the difference of two effective configurations. Pure.
//!
//! Every key that differs either takes effect at once or is in [`NEEDS_RESTART`]. What becomes of open
//! sessions is decided by their shards; here only keys are compared.

use super::{
    Config,
    effective::{Compared, Effective, EffectiveTable, Entry},
};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that are read once, when the process starts: sockets are bound, threads are started and the link
/// to Redis is made from them, but for its password, which is the next dial's. Every other key takes effect with a reload.
const NEEDS_RESTART: &[&str] = &[
    "server.listen",
    "server.socket_mode",
    "server.shards",
    "server.ring_bytes",
    "server.max_queue_memory",
    "admin.listen",
    "redis.url",
    "redis.username",
    "redis.tls.ca_file",
    "redis.tls.cert_file",
    "redis.tls.key_file",
    "redis.probe_interval",
    "redis.probe_timeout",
    "redis.reconnect_min",
    "redis.reconnect_max",
    "redis.probe_channel",
    "redis.linger",
    "redis.control_channel",
    "redis.on_revocation_gap",
    "redis.max_payload",
    "redis.channel_prefix",
    "redis.max_patterns",
    "redis.max_streams",
    "redis.stream_poll",
    "redis.stream_field",
    "http_publish.listen",
    "log.format",
];

/// Lists whose order means nothing.
const SETS: &[&str] = &[
    "server.allowed_origins",
    "server.trusted_proxies",
    "auth.jwt.algorithms",
    "auth.jwt.audience",
    "auth.jwt.issuer",
];

/// The keys that differ. Secrets are named, never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Take effect at once.
    pub live: Vec<String>,
    /// Take effect only with a new process: one of them refuses the whole reload.
    pub restart: Vec<String>,
}

impl Plan {
    /// Whether both configurations do the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// Compares two configurations, key by key.
#[must_use]
pub fn plan(old: &Config, new: &Config) -> Plan {
    let (old, new) = (values(&old.effective), values(&new.effective));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let named: BTreeSet<_> = differing.map(|key| named(key, &old, &new)).collect();
    let (restart, live): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|key| NEEDS_RESTART.contains(&key.as_str()));
    // In the order of the file, in which an operator will look for them.
    let restart = NEEDS_RESTART.iter().filter(|key| restart.iter().any(|one| one == **key));
    Plan { live, restart: restart.map(|key| (*key).to_owned()).collect() }
}

/// What is compared of each key, by the key's full name. A key that does the same as if it were not
/// written is left out, so that a table which is absent is one in which every key has its default.
type Values = BTreeMap<String, Vec<String>>;

fn values(effective: &Effective) -> Values {
    let mut values = Values::new();
    for table in &effective.tables {
        let entries = table.entries.iter().filter(|entry| entry.compared != Compared::Default);
        match name(table, effective) {
            Name::Own(name) => values.extend(entries.map(|entry| value(&name, entry))),
            Name::Shared(name) => {
                let whole: Vec<_> = entries.map(|entry| value(&name, entry)).collect();
                values.entry(name).or_default().push(format!("{whole:?}"));
            }
        }
    }
    values.values_mut().for_each(|value| value.sort());
    values
}

/// A key's full name, and what is compared: the elements of a set, else one text.
fn value(table: &str, entry: &Entry) -> (String, Vec<String>) {
    let key = format!("{table}.{}", entry.key);
    let value = match (&entry.compared, &entry.shown) {
        (Compared::Content(hash), _) => vec![format!("{hash:?}")],
        (_, toml::Value::Array(elements)) if SETS.contains(&key.as_str()) => {
            let elements: BTreeSet<_> = elements.iter().map(ToString::to_string).collect();
            elements.into_iter().collect()
        }
        (_, shown) => vec![shown.to_string()],
    };
    (key, value)
}

/// What a table is called in a plan.
enum Name {
    /// `server`, or `endpoint.orders` for `endpoint[2]`, whatever its place in the file.
    Own(String),
    /// `auth.token` for `auth.token[2]`: tables of one array that have no `name` are compared together.
    Shared(String),
}

fn name(table: &EffectiveTable, effective: &Effective) -> Name {
    let path = table.path.as_str();
    let Some((array, (_, inside))) =
        path.split_once('[').and_then(|(array, rest)| Some((array, rest.split_once(']')?)))
    else {
        return Name::Own(path.to_owned());
    };
    let element = &path[..path.len() - inside.len()];
    let element = effective.tables.iter().find(|table| table.path == element);
    let names = element.and_then(|table| table.entries.iter().find(|entry| entry.key == "name"));
    match names.and_then(|entry| entry.shown.as_str()) {
        Some(name) => Name::Own(format!("{array}.{name}{inside}")),
        None => Name::Shared(format!("{array}{inside}")),
    }
}

/// The key as a plan tells it. An endpoint that comes or goes is told once, and not by each of its keys.
fn named(key: &str, old: &Values, new: &Values) -> String {
    let Some((endpoint, _)) = key.strip_prefix("endpoint.").and_then(|rest| rest.split_once('.'))
    else {
        return key.to_owned();
    };
    let exists = |values: &Values| values.contains_key(&format!("endpoint.{endpoint}.name"));
    match (exists(old), exists(new)) {
        (false, true) => format!("endpoint.{endpoint} (added)"),
        (true, false) => format!("endpoint.{endpoint} (removed)"),
        _ => key.to_owned(),
    }
}
