//! Redis as an endpoint's streams need it: it tells changes, and the account may read them.

use super::{
    advice::{command_advice, login_advice},
    redis::{SAMPLE, log_in},
    report::Report,
};
use crate::{
    config::Config,
    endpoint::Endpoint,
    upstream::{LinkError, StreamDiagnostics},
};
use std::collections::BTreeSet;

/// Asks nothing where no endpoint has streams.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    if !config.endpoints.iter().any(|endpoint| endpoint.may_follow_streams()) {
        return;
    }
    let mut redis = match log_in(StreamDiagnostics::dial(&config.redis)).await {
        Ok(redis) => redis,
        Err(error) => {
            return report.fail("stream changes", &error.to_string(), login_advice(&error));
        }
    };
    changes(&mut redis, report).await;
    rights(&mut redis, config, report).await;
    canary(&mut redis, &config.redis.channel_prefix, report).await;
}

async fn changes(redis: &mut StreamDiagnostics, report: &mut Report) {
    const RIGHT: &str = "streams need Redis 6 or later, or Valkey, by RESP3, and the account `+client|tracking`; \
                         until then the gateway is not ready (tracking_refused)";
    match redis.track().await {
        Ok(()) => report.ok("stream changes", "Redis tells which streams change"),
        Err(error) => report.fail("stream changes", &format!("CLIENT TRACKING: {error}"), RIGHT),
    }
}

/// Reads each stream once, a sample of it where it is a template.
async fn rights(redis: &mut StreamDiagnostics, config: &Config, report: &mut Report) {
    let prefix = &config.redis.channel_prefix;
    let mut seen = BTreeSet::new();
    for endpoint in &config.endpoints {
        for (text, sample, pattern) in wanted(endpoint) {
            let pattern = format!("{prefix}{pattern}");
            if !seen.insert(pattern.clone()) {
                continue;
            }
            let what = format!("{prefix}{text} ({})", endpoint.name);
            let rights = format!(
                "give the account this stream: `ACL SETUSER … %R~{pattern} +xinfo|stream +xrange +xrevrange +multi +exec`"
            );
            let key = format!("{prefix}{sample}");
            let read = match redis.read(&key).await {
                Ok(()) => redis.read_newest(&key).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(()) => report.ok("read stream", &what),
                Err(error) => report.fail(
                    "read stream",
                    &format!("{what}: {error}"),
                    command_advice(&error, &rights),
                ),
            }
        }
    }
}

/// Every template of streams: as it is written, a sample of it, and the keys that it can be.
fn wanted(endpoint: &Endpoint) -> impl Iterator<Item = (&str, String, String)> {
    let fixed = endpoint.streams.iter().map(|it| (it.as_str(), it.filled(SAMPLE), it.filled("*")));
    let added = endpoint.dynamic.streams.iter();
    fixed.chain(added.map(|it| (it.as_str(), it.filled(SAMPLE), it.filled("*"))))
}

/// Refused, streams work all the same: only that Redis tells their changes is then not proven.
async fn canary(redis: &mut StreamDiagnostics, prefix: &str, report: &mut Report) {
    const SUBJECT: &str = "stream canary";
    let own = format!("{prefix}sockway:probe:stream:");
    let key = format!("{own}doctor");
    let added = match redis.add(&key).await {
        Ok(()) => redis.read(&key).await,
        Err(error) => Err(error),
    };
    let Err(error) = added else {
        return report.ok(SUBJECT, &format!("added to {key} and read"));
    };
    let rights = format!(
        "streams work without it, but a Redis that tells changes no more is not noticed; the account should add and \
         read the gateway's own: `ACL SETUSER … %R~{own}* (~{own}* +xadd +pexpire)`"
    );
    let (said, advice) = (format!("{key}: {error}"), command_advice(&error, &rights));
    match error {
        LinkError::Answered(_) => report.warn(SUBJECT, &said, advice),
        _ => report.fail(SUBJECT, &said, advice),
    }
}
