//! The keys, their defaults and their checks: one file a table.
//!
//! Every check runs, whatever went wrong before it, so that one report shows all problems.

mod added;
mod auth;
mod delivery;
mod endpoint;
mod http_publish;
mod jwt;
mod keepalive;
mod presence;
mod publish;
mod redis;
mod server;
mod sse;
mod topics;

use super::{
    Config, Effective, Log, LogFormat, Redis, Reload, Server, Shutdown, reader::Table, units,
};
use crate::auth::Source;
use endpoint::Surroundings;
use std::{fmt::Display, sync::Arc, time::Duration};
use tracing::level_filters::LevelFilter;

/// Looking at the files more often would cost more than it gains.
const SHORTEST_POLL: Duration = Duration::from_secs(1);

/// Reads the whole document, all but [`Config::effective`]. `None` only after a problem was recorded.
pub(super) fn config(root: &mut Table<'_, '_>) -> Option<Config> {
    let server = root.table("server", server::server);
    let admin = root.table("admin", |table| server::admin(table, server.as_ref()));
    let queue_part = server.as_ref().map(Server::queue_part);
    let redis = root.table("redis", |table| redis::redis(table, queue_part));
    // When the list of origins itself is wrong, that is said already.
    let any_origin = server.as_ref().is_some_and(|server| server.allowed_origins.is_empty());
    let auth = root.table("auth", |table| auth::auth(table, any_origin));
    let surroundings = Surroundings {
        verifies_tokens: auth.verifies_tokens,
        // Wrong sources are told already.
        event_source_carries_token: auth.checked.as_ref().is_none_or(|auth| {
            auth.sources.is_empty() || auth.sources.iter().any(Source::is_for_event_sources)
        }),
        queue_part,
        reserved: Arc::new(redis.as_ref().map(Redis::reserved_names).unwrap_or_default()),
    };
    let placed = endpoint::endpoints(root, &surroundings);
    let endpoints: Option<Vec<_>> = placed.iter().map(|(_, endpoint)| endpoint.clone()).collect();
    let others = http_publish::Others {
        server: server.as_ref(),
        admin: admin.as_ref(),
        redis: redis.as_ref(),
        auth: auth.checked.as_deref(),
        endpoints: endpoints.as_deref().unwrap_or_default(),
        reserved: &surroundings.reserved,
    };
    let http_publish =
        root.optional_table("http_publish", |table| http_publish::http_publish(table, &others));
    let log = root.table("log", log);
    let reload = root.table("reload", reload);
    let shutdown = root.table("shutdown", shutdown);
    if let Some(shutdown) = &shutdown {
        presence::warn_of_restarts(root, &placed, shutdown.spread);
    }
    Some(Config {
        server: server?,
        admin: admin?,
        redis: redis?,
        auth: auth.checked?,
        endpoints: endpoints?,
        http_publish: http_publish.map_or(Some(None), |it| it.map(Arc::new).map(Some))?,
        log: log?,
        reload: reload?,
        shutdown: shutdown?,
        effective: Effective::default(),
        generation: 0,
    })
}

fn log(table: &mut Table<'_, '_>) -> Option<Log> {
    let format = table.text(
        "format",
        "text",
        one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    );
    let level = table.text(
        "level",
        "info",
        one_of(&[
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ]),
    );
    Some(Log { format: format?, level: level? })
}

fn reload(table: &mut Table<'_, '_>) -> Option<Reload> {
    let poll = table.amount("poll", "0s", units::wait)?;
    if poll > Duration::ZERO && poll < SHORTEST_POLL {
        table.problem("poll", "must be \"0s\" or at least \"1s\"");
    }
    Some(Reload { poll: (poll > Duration::ZERO).then_some(poll) })
}

fn shutdown(table: &mut Table<'_, '_>) -> Option<Shutdown> {
    let readiness_delay = table.amount("readiness_delay", "0s", units::wait);
    let spread = table.amount("spread", "5s", units::wait);
    let timeout = table.amount("timeout", "20s", units::positive_wait);
    let shutdown =
        Shutdown { readiness_delay: readiness_delay?, spread: spread?, timeout: timeout? };
    if shutdown.readiness_delay + shutdown.spread > shutdown.timeout {
        table.problem("timeout", "must be at least readiness_delay + spread");
    }
    Some(shutdown)
}

/// A parser of a closed set of words; the error lists them.
fn one_of<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let mut words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let last = words.pop().unwrap_or_default();
            format!("must be {} or {last}", words.join(", "))
        })
    }
}

/// Any text that is not empty.
fn some_text(text: &str) -> Result<String, impl Display + use<>> {
    if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}

/// Any text.
fn any_text(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.to_owned())
}
