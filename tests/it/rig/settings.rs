//! The configuration of a test gateway: a whole TOML file, built key by key.

use super::{redis::Redis, token::SECRET};
use toml::{Table, Value};

/// Builds a configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Settings(Table);

impl Settings {
    /// Free ports, two shards, the tests' secret, timers short enough for tests; no endpoint yet.
    pub(crate) fn new(redis: &Redis) -> Self {
        Self::with_url(&redis.url())
    }

    /// … with any Redis URL.
    pub(crate) fn with_url(url: &str) -> Self {
        Self(Table::new()).set("server.shards", 2).on_free_ports().fast_redis(url).tests_secret()
    }

    /// A file of `config/examples`, with only ports, Redis, secret and log replaced.
    pub(crate) fn example(file: &str, redis: &Redis) -> Self {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(file);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(text.parse().expect("an example is TOML")).on_free_ports().fast_redis(&redis.url())
    }

    fn on_free_ports(self) -> Self {
        self.set("server.listen", "127.0.0.1:0")
            .set("admin.listen", "127.0.0.1:0")
            .set("log.format", "json")
            .set("shutdown.spread", "100ms")
            .set("shutdown.timeout", "5s")
    }

    fn fast_redis(self, url: &str) -> Self {
        self.set("redis.url", url)
            .set("redis.probe_interval", "1s")
            .set("redis.probe_timeout", "900ms")
            .set("redis.reconnect_min", "20ms")
            .set("redis.reconnect_max", "200ms")
            .set("redis.linger", "50ms")
    }

    /// Accepts only HS256 tokens signed with the tests' secret.
    pub(crate) fn tests_secret(self) -> Self {
        self.without("auth.jwt.secret_file").set("auth.jwt.secret", SECRET)
    }

    /// Replaces the tokens of callers by one that may publish what is `channels`.
    pub(crate) fn tests_publish_token(self, token: &str, channels: &[&str]) -> Self {
        let mut entry = Table::new();
        entry.insert("sha256".to_owned(), super::token::sha256(token).into());
        entry.insert("channels".to_owned(), channels.to_vec().into());
        self.without("http_publish.token").append("http_publish.token", entry)
    }

    /// Sets one key, given as `table.key`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (name, table) = self.place(key);
        table.insert(name, value.into());
        self
    }

    /// Removes one key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        let (name, table) = self.place(key);
        table.remove(&name);
        self
    }

    /// Adds an `[[endpoint]]`.
    pub(crate) fn endpoint(self, endpoint: Endpoint) -> Self {
        self.append("endpoint", endpoint.0)
    }

    /// Adds an `[[auth.token]]` with this token.
    pub(crate) fn static_token(self, token: &str, user: &str) -> Self {
        self.static_token_with(token, user, Table::new())
    }

    /// … and these claims.
    pub(crate) fn static_token_with(self, token: &str, user: &str, claims: Table) -> Self {
        let mut entry = Table::new();
        entry.insert("sha256".to_owned(), super::token::sha256(token).into());
        entry.insert("user".to_owned(), user.into());
        entry.insert("claims".to_owned(), claims.into());
        self.append("auth.token", entry)
    }

    /// Adds a table to an array of tables.
    pub(crate) fn append(mut self, key: &str, entry: Table) -> Self {
        let (name, table) = self.place(key);
        let list = table.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().expect("a list of tables").push(Value::Table(entry));
        self
    }

    fn place(&mut self, key: &str) -> (String, &mut Table) {
        let mut table = &mut self.0;
        let mut parts: Vec<&str> = key.split('.').collect();
        let name = parts.pop().expect("split gives at least one part").to_owned();
        for part in parts {
            let entry = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().expect("a table");
        }
        (name, table)
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }
}

/// One `[[endpoint]]`.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(Table);

impl Endpoint {
    pub(crate) fn new(name: &str, path: &str, channels: &[&str]) -> Self {
        Self(Table::new()).set("name", name).set("path", path).set("channels", channels.to_vec())
    }

    /// … with streams in place of channels.
    pub(crate) fn streams(name: &str, path: &str, streams: &[&str]) -> Self {
        Self(Table::new()).set("name", name).set("path", path).set("streams", streams.to_vec())
    }

    /// No token is needed.
    pub(crate) fn open(self) -> Self {
        self.set("auth", "none")
    }

    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }
}

/// `/ws/{room}` ← `room:{path.room}` without a token: the endpoint of tests that are not about
/// tokens.
pub(crate) fn rooms() -> Endpoint {
    Endpoint::new("rooms", "/ws/rooms/{room}", &["room:{path.room}"]).open()
}

/// `/ws/me` ← `user:{user}` and `global`, with a token.
pub(crate) fn notifications() -> Endpoint {
    Endpoint::new("notifications", "/ws/me", &["user:{user}", "global"])
}
