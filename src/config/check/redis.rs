//! `[redis]`.

use super::{any_text, one_of};
use crate::{
    config::{
        OnRevocationGap, Redis, RedisAddress, RedisTls, files, grammar, mask, reader::Table,
        redis_url, redis_url::RedisUrl, tls, units,
    },
    secret::Secret,
};
use std::num::NonZeroUsize;

/// `queue_part`: each shard's part of `server.max_queue_memory`.
pub(super) fn redis(table: &mut Table<'_, '_>, queue_part: Option<usize>) -> Option<Redis> {
    let url =
        table.secret_text("url", "redis://127.0.0.1:6379/0", mask::mask_url, redis_url::parse);
    let username = table.text("username", "", any_text);
    let password = table.secret("password", "password_file");
    let probe_interval = table.amount("probe_interval", "5s", units::positive_wait);
    let probe_timeout = table.amount("probe_timeout", "2s", units::positive_wait);
    let reconnect_min = table.amount("reconnect_min", "100ms", units::positive_wait);
    let reconnect_max = table.amount("reconnect_max", "5s", units::positive_wait);
    let probe_channel = table.text("probe_channel", "sockway:probe", channel);
    let linger = table.amount("linger", "1s", units::wait);
    let control_channel = table.text("control_channel", "sockway:control", channel);
    let on_revocation_gap = table.text(
        "on_revocation_gap",
        "warn",
        one_of(&[("warn", OnRevocationGap::Warn), ("close", OnRevocationGap::Close)]),
    );
    let max_payload = max_payload(table, queue_part);
    let channel_prefix = table.text("channel_prefix", "", channel);
    let max_patterns = table.count("max_patterns", 100, 10_000);
    let max_streams = table.count("max_streams", 200_000, 10_000_000);
    let stream_poll = table.amount("stream_poll", "30s", units::wait);
    let stream_field = table.text("stream_field", "data", stream_field);
    let is_tls = url.as_ref().is_none_or(|url| has_tls(&url.address));
    let tls = table.optional_table("tls", |table| redis_tls(table, is_tls));

    if let (Some(timeout), Some(interval)) = (probe_timeout, probe_interval)
        && timeout >= interval
    {
        table.problem("probe_timeout", "must be less than probe_interval");
    }
    if let (Some(min), Some(max)) = (reconnect_min, reconnect_max)
        && min > max
    {
        table.problem("reconnect_min", "must be at most reconnect_max");
    }
    if let (Some(Some(probe)), Some(Some(control))) = (&probe_channel, &control_channel)
        && probe == control
    {
        table.problem("control_channel", "must not be the same as probe_channel");
    }
    let (url, (username, password)) = match (url, username, password) {
        (Some(url), Some(username), Some(password)) => {
            let username = (!username.is_empty()).then_some(username);
            let credentials = credentials(table, &url, username, password);
            compare(table, &url, &credentials);
            (url, credentials)
        }
        _ => return None,
    };
    Some(Redis {
        address: url.address,
        database: url.database,
        username,
        password,
        tls: tls.unwrap_or_else(|| Some(RedisTls::default()))?,
        probe_interval: probe_interval?,
        probe_timeout: probe_timeout?,
        reconnect_min: reconnect_min?,
        reconnect_max: reconnect_max?,
        probe_channel: probe_channel?,
        linger: linger?,
        control_channel: control_channel?,
        on_revocation_gap: on_revocation_gap?,
        max_payload: max_payload?,
        channel_prefix: channel_prefix?.unwrap_or_default(),
        max_patterns: max_patterns?,
        max_streams: max_streams?,
        stream_poll: Some(stream_poll?).filter(|poll| !poll.is_zero()),
        stream_field: stream_field?,
    })
}

fn max_payload(table: &mut Table<'_, '_>, queue_part: Option<usize>) -> Option<NonZeroUsize> {
    let max_payload = table.amount("max_payload", "8MiB", units::size)?;
    if let Some(part) = queue_part.filter(|&part| part < max_payload.get()) {
        let message = format!(
            "is more than a shard's part of server.max_queue_memory, {part} bytes: a session that does not take such a message at once is closed"
        );
        table.warning("max_payload", message);
    }
    Some(max_payload)
}

fn has_tls(address: &RedisAddress) -> bool {
    matches!(address, RedisAddress::Tcp { tls: true, .. })
}

/// `[redis.tls]`. `None` after a problem was recorded.
fn redis_tls(table: &mut Table<'_, '_>, is_tls: bool) -> Option<RedisTls> {
    let roots = table.file("ca_file", files::pem, |pem| tls::chain(&pem));
    let chain = table.file("cert_file", files::pem, |pem| tls::chain(&pem));
    let key = table.file("key_file", files::pem, |pem| tls::key(&pem));
    let (roots, chain, key) = (roots?, chain?, key?);
    let named =
        [("ca_file", roots.is_some()), ("cert_file", chain.is_some()), ("key_file", key.is_some())];
    for (key, _) in named.iter().filter(|(_, named)| *named && !is_tls) {
        table.problem(key, "only a rediss:// URL has TLS");
    }
    let identity = match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some((chain, key)),
        (Some(_), None) => {
            table.problem("key_file", "is missing: the key of cert_file");
            return None;
        }
        (None, Some(_)) => {
            table.problem("cert_file", "is missing: the certificate of key_file");
            return None;
        }
    };
    RedisTls::new(roots, identity).map_err(|(key, problem)| table.problem(key, problem)).ok()
}

/// User and password from the keys or from the URL, each from one place only.
fn credentials(
    table: &mut Table<'_, '_>,
    url: &RedisUrl,
    username: Option<String>,
    password: Option<(&'static str, Secret)>,
) -> (Option<String>, Option<Secret>) {
    if username.is_some() && url.username.is_some() {
        table.problem("username", "redis.url already names a user");
    }
    if let (Some((key, _)), Some(_)) = (&password, &url.password) {
        table.problem(key, "redis.url already has a password");
    }
    let username = username.or_else(|| url.username.clone());
    let password = password.map(|(_, password)| password).or_else(|| url.password.clone());
    if username.is_some() && password.is_none() {
        table.problem("username", "a user needs a password (password_file)");
    }
    (username, password)
}

/// Has a reload compare address, user and password each by itself, whichever key gave them.
fn compare(
    table: &mut Table<'_, '_>,
    url: &RedisUrl,
    (username, password): &(Option<String>, Option<Secret>),
) {
    table.compare("url", Some(format!("{:?} {}", url.address, url.database).as_bytes()));
    table.compare("username", username.as_ref().map(String::as_bytes));
    table.compare("password", password.as_ref().map(|secret| secret.expose().as_bytes()));
}

fn stream_field(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}

/// A channel of our own, or none.
fn channel(text: &str) -> Result<Option<String>, String> {
    grammar::channel_text(text)?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
