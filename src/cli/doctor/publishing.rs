//! Checks that the account may publish to everything that clients and HTTP callers may publish to.

use super::{
    advice::{command_advice, login_advice},
    redis::{SAMPLE, log_in, wanted},
    report::Report,
};
use crate::{
    bus::StreamWrite,
    config::{Config, HttpPublish},
    endpoint::{ChannelGlob, Endpoint, OWN, PublishTarget},
    upstream::{LinkError, PublishDiagnostics},
};
use std::collections::BTreeSet;

/// Where something may be published.
struct Place {
    /// The template as it is written, and where.
    what: String,
    sample: String,
    /// The ACL pattern of all its names.
    pattern: String,
    /// `Some`: a stream, written by XADD; whether PEXPIRE follows.
    stream: Option<Expires>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expires(bool);

/// Does nothing where nobody publishes.
pub(super) async fn examine(config: &Config, report: &mut Report) {
    let mut places: Vec<_> = config.endpoints.iter().filter_map(|it| of_clients(it)).collect();
    places.extend(config.http_publish.iter().flat_map(|it| of_callers(it, config)));
    if places.is_empty() {
        return;
    }
    let channels = can_be_subscribed(config);
    let mut redis = match log_in(PublishDiagnostics::dial(&config.redis, &channels)).await {
        Ok(redis) => redis,
        Err(error @ LinkError::ChannelRefused(_)) => {
            let advice = "give the account the channels above, then try again";
            return report.warn("publish", &format!("not tried: {error}"), advice);
        }
        Err(error) => return report.fail("publish", &error.to_string(), login_advice(&error)),
    };
    let mut seen = BTreeSet::new();
    for place in &places {
        if seen.insert((&place.pattern, place.stream)) {
            tries(&mut redis, place, &config.redis.channel_prefix, report).await;
        }
    }
}

/// Where this endpoint's clients publish to.
fn of_clients(endpoint: &Endpoint) -> Option<Place> {
    let target = &endpoint.publish.as_ref()?.to;
    let template = target.name().as_template();
    Some(Place {
        what: format!("{} ({})", target.name().as_str(), endpoint.name),
        sample: template.filled(SAMPLE),
        pattern: template.filled("*"),
        stream: match target {
            PublishTarget::Channel(_) => None,
            PublishTarget::Stream(_, write) => Some(expires(*write)),
        },
    })
}

fn expires(write: StreamWrite) -> Expires {
    Expires(write.expire_after.is_some())
}

/// Where HTTP callers publish to: what tokens name, and the streams among it.
fn of_callers<'a>(
    publish: &'a HttpPublish,
    config: &'a Config,
) -> impl Iterator<Item = Place> + 'a {
    let of_tokens = publish.tokens.iter().flat_map(|token| &token.channels);
    let of_streams = publish.streams.iter().flat_map(|stream| &stream.channels);
    of_tokens.chain(of_streams).filter_map(|glob| {
        let sample = glob.as_str().replace('*', SAMPLE);
        may_be_named(publish, config, &sample).then(|| Place {
            what: format!("{} (http_publish)", glob.as_str()),
            stream: stream_of(publish, &sample),
            pattern: glob.as_str().to_owned(),
            sample,
        })
    })
}

/// Whether some token may publish there at all.
fn may_be_named(publish: &HttpPublish, config: &Config, channel: &str) -> bool {
    let mut globs = publish.tokens.iter().flat_map(|token| &token.channels);
    let is_of = |name: &Option<String>| name.as_deref() == Some(channel);
    let redis = &config.redis;
    if is_of(&redis.control_channel) {
        return globs.any(|glob| glob.only() == Some(channel));
    }
    let is_own = channel.starts_with(OWN) || is_of(&redis.probe_channel);
    !is_own && globs.any(|glob| glob.matches(channel))
}

fn stream_of(publish: &HttpPublish, channel: &str) -> Option<Expires> {
    let has = |globs: &[ChannelGlob]| globs.iter().any(|glob| glob.matches(channel));
    publish.streams.iter().find(|stream| has(&stream.channels)).map(|it| expires(it.write))
}

/// Channels that the account should have, those that it needs most first; named as Redis knows them.
fn can_be_subscribed(config: &Config) -> Vec<String> {
    let redis = &config.redis;
    let own = [&redis.probe_channel, &redis.control_channel].into_iter().flatten().cloned();
    let of_endpoints = config.endpoints.iter().flat_map(|endpoint| wanted(endpoint));
    let all = own.chain(of_endpoints.map(|(_, sample, _)| sample));
    all.map(|channel| format!("{}{channel}", redis.channel_prefix)).collect()
}

async fn tries(redis: &mut PublishDiagnostics, place: &Place, prefix: &str, report: &mut Report) {
    let Place { what, sample, pattern, stream } = place;
    let (name, what) = (format!("{prefix}{sample}"), format!("{prefix}{what}"));
    let (subject, rights, tried) = match stream {
        None => {
            let rights = format!("(+publish &{prefix}{pattern})");
            ("publish", rights, redis.may_publish(&name).await)
        }
        Some(Expires(false)) => {
            let rights = format!("(+xadd %W~{prefix}{pattern})");
            ("write stream", rights, redis.may_add(&name).await)
        }
        Some(Expires(true)) => {
            let rights = format!("(+xadd +pexpire %W~{prefix}{pattern})");
            let added = redis.may_add(&name).await;
            let tried = match added {
                Ok(()) => redis.may_expire(&name).await,
                Err(error) => Err(error),
            };
            ("write stream", rights, tried)
        }
    };
    match tried {
        Ok(()) => report.ok(subject, &what),
        Err(error) => {
            let rights = format!("give the account this right: `ACL SETUSER … {rights}`");
            report.fail(subject, &format!("{what}: {error}"), command_advice(&error, &rights));
        }
    }
}
