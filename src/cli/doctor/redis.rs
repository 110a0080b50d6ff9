//! Redis as the gateway will meet it: reachable, new enough, and with the rights it needs.

use super::{
    advice::{command_advice, login_advice},
    presence, publishing,
    report::Report,
    streams, tracking,
};
use crate::{
    channel::is_pattern,
    config::{self, Config, RedisAddress},
    endpoint::Endpoint,
    upstream::{LinkError, RedisDiagnostics},
};
use std::{collections::BTreeSet, io, time::Duration};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// Stands for every placeholder of a template. Nobody publishes there.
pub(super) const SAMPLE: &str = "sockway-doctor";

/// How long a bare connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long TLS and the login may take, on both links together.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(8);

/// A softer limit than this is passed by one burst, in bytes.
const LEAST_SOFT_LIMIT: u64 = 1 << 20;

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let settings = &config.redis;
    if !is_reachable(settings, report).await {
        return;
    }
    let mut redis = match log_in(RedisDiagnostics::dial(settings)).await {
        Ok(redis) => redis,
        Err(error) => return report.fail("redis login", &error.to_string(), login_advice(&error)),
    };
    let user = settings.username.as_deref().unwrap_or("default");
    report.ok("redis login", &format!("as user {user}"));
    version(&redis, report).await;
    output_buffer(&redis, settings, report).await;
    tracking::examine(&redis, config, report).await;
    channels(&mut redis, config, report).await;
    canary(&mut redis, settings, report).await;
    streams::examine(config, report).await;
    publishing::examine(config, report).await;
    presence::examine(&mut redis, config, report).await;
}

/// Dials and logs in, in bounded time.
pub(super) async fn log_in<T>(
    dial: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let too_late = || LinkError::Lost(format!("no answer within {} s", LOGIN_TIMEOUT.as_secs()));
    timeout(LOGIN_TIMEOUT, dial).await.unwrap_or_else(|_| Err(too_late()))
}

async fn is_reachable(settings: &config::Redis, report: &mut Report) -> bool {
    let (place, connected) = match &settings.address {
        RedisAddress::Tcp { host, port, tls } => {
            let place = format!("{host} port {port}{}", if *tls { ", by TLS" } else { "" });
            (place, in_time(TcpStream::connect((host.as_str(), *port))).await)
        }
        RedisAddress::Unix(path) => {
            (path.display().to_string(), in_time(UnixStream::connect(path)).await)
        }
    };
    match &connected {
        Ok(()) => report.ok("redis address", &format!("{place} accepts connections")),
        Err(error) => report.fail(
            "redis address",
            &format!("{place}: {error}"),
            "start Redis, or correct redis.url; the gateway would start, not be ready, and try for ever",
        ),
    }
    connected.is_ok()
}

async fn in_time<T>(connect: impl Future<Output = io::Result<T>>) -> io::Result<()> {
    timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| io::ErrorKind::TimedOut)?.map(drop)
}

/// For the reader.
async fn version(redis: &RedisDiagnostics, report: &mut Report) {
    match redis.version().await {
        Ok(version) => report.ok("redis version", &version),
        Err(LinkError::Answered(said)) if said.contains("NOPERM") => {
            report.ok("redis version", "not known; the account may not ask (INFO)");
        }
        Err(error) => report.warn(
            "redis version",
            &error.to_string(),
            command_advice(&error, "the account may not ask (INFO)"),
        ),
    }
}

async fn output_buffer(redis: &RedisDiagnostics, settings: &config::Redis, report: &mut Report) {
    const NAME: &str = "client-output-buffer-limit";
    const SUBJECT: &str = "output buffer";
    let value = match redis.setting(NAME).await {
        Ok(value) => value,
        Err(error) => {
            let advice = "see for yourself: `redis-cli config get client-output-buffer-limit`; \
                          Redis drops the gateway when what waits for it passes the pubsub limit";
            return report.warn(SUBJECT, &format!("not known: {error}"), advice);
        }
    };
    let Some((hard, soft)) = pubsub_limits(&value) else {
        return report.warn(SUBJECT, &format!("not understood: {value}"), "is this a real Redis?");
    };
    let least = 2 * settings.max_payload.get() as u64;
    let small = (hard != 0 && hard < least) || (soft != 0 && soft < LEAST_SOFT_LIMIT);
    let said = format!("pubsub limit {}, {} for a while", size(hard), size(soft));
    if small {
        let advice = "a burst would make Redis drop the gateway; better: `redis-cli config set \
                      client-output-buffer-limit \"pubsub 32mb 8mb 60\"`, or a smaller redis.max_payload";
        report.warn(SUBJECT, &said, advice);
    } else {
        report.ok(SUBJECT, &said);
    }
}

/// Hard and soft limit, in bytes, out of `normal 0 0 0 slave … pubsub 33554432 8388608 60`.
fn pubsub_limits(value: &str) -> Option<(u64, u64)> {
    let mut words = value.split_whitespace().skip_while(|&word| word != "pubsub").skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn size(bytes: u64) -> String {
    match bytes {
        0 => "none".to_owned(),
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

/// Subscribes to each channel once, to a sample of it where it is a template.
async fn channels(redis: &mut RedisDiagnostics, config: &Config, report: &mut Report) {
    let prefix = &config.redis.channel_prefix;
    let mut seen = BTreeSet::new();
    for endpoint in &config.endpoints {
        for (text, sample, pattern) in wanted(endpoint) {
            let (channel, pattern) = (format!("{prefix}{sample}"), format!("{prefix}{pattern}"));
            // A pattern is tried beside channels that the same right permits.
            if seen.insert((channel.clone(), pattern.clone())) {
                let what = format!("{prefix}{text} ({})", endpoint.name);
                subscribe(redis, &channel, &pattern, &what, report).await;
            }
        }
    }
    if let Some(control) = &config.redis.control_channel {
        let channel = format!("{prefix}{control}");
        let what = format!("{channel} (redis.control_channel)");
        subscribe(redis, &channel, &channel, &what, report).await;
    }
}

/// Every template of channels: as it is written, a sample of it, and the pattern that permits it. Redis permits a
/// pattern only by itself.
pub(super) fn wanted(endpoint: &Endpoint) -> impl Iterator<Item = (&str, String, String)> {
    let fixed = endpoint.channels.iter().map(|it| (it.as_str(), it.filled(SAMPLE), it.filled("*")));
    let added = endpoint.dynamic.channels.iter();
    let added = added.map(|it| (it.as_str(), it.filled(SAMPLE), it.filled("*")));
    let patterns = endpoint.patterns.iter();
    let patterns = patterns.map(|it| (it.as_str(), it.filled(SAMPLE), it.filled(SAMPLE)));
    fixed.chain(added).chain(patterns)
}

async fn subscribe(
    redis: &mut RedisDiagnostics,
    channel: &str,
    pattern: &str,
    what: &str,
    report: &mut Report,
) {
    match redis.subscribe(channel).await {
        Ok(()) => unsubscribe(redis, channel, what, report).await,
        Err(error @ LinkError::ChannelRefused(_)) => report.fail(
            "subscribe",
            &format!("{what}: {error}"),
            &format!("give the account this channel: `ACL SETUSER … &{pattern}`"),
        ),
        Err(error) => report.fail(
            "subscribe",
            &format!("{what}: {error}"),
            command_advice(
                &error,
                if is_pattern(channel) {
                    "the account needs the commands psubscribe and punsubscribe"
                } else {
                    "the account needs the commands subscribe, unsubscribe and ping"
                },
            ),
        ),
    }
}

/// Without the right to it the gateway would keep what nobody wants any more.
async fn unsubscribe(redis: &mut RedisDiagnostics, channel: &str, what: &str, report: &mut Report) {
    let Err(error) = redis.unsubscribe(channel).await else { return report.ok("subscribe", what) };
    let rights = match is_pattern(channel) {
        true => "the account needs the command punsubscribe",
        false => "the account needs the command unsubscribe",
    };
    let said = format!("{what}: is not given back: {error}");
    report.warn("subscribe", &said, command_advice(&error, rights));
}

async fn canary(redis: &mut RedisDiagnostics, settings: &config::Redis, report: &mut Report) {
    let Some(probe) = &settings.probe_channel else {
        return match redis.ping().await {
            Ok(time) => report.ok("ping", &format!("answered in {}", millis(time))),
            Err(error) => report.fail(
                "ping",
                &error.to_string(),
                command_advice(&error, "the account needs ping"),
            ),
        };
    };
    let channel = format!("{}{probe}", settings.channel_prefix);
    let back = match redis.subscribe(&channel).await {
        Ok(()) => redis.canary(&channel).await,
        Err(error) => Err(error),
    };
    match back {
        Ok(time) if time > settings.probe_timeout / 2 => report.warn(
            "canary",
            &format!("came back on {channel} in {}", millis(time)),
            "that is close to redis.probe_timeout: the link would often count as dead",
        ),
        Ok(time) => report.ok("canary", &format!("came back on {channel} in {}", millis(time))),
        Err(error) => report.fail(
            "canary",
            &format!("{channel}: {error}"),
            command_advice(
                &error,
                &format!("the account must publish and subscribe there: `ACL SETUSER … (+publish +subscribe &{channel})`; \
                          or redis.probe_channel = \"\" for PING only"),
            ),
        ),
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_what_every_redis_answers() {
        let usual = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(pubsub_limits(usual), Some((32 << 20, 8 << 20)));
        assert_eq!(pubsub_limits("pubsub 0 0 0"), Some((0, 0)));
        for bad in ["", "normal 0 0 0", "pubsub", "pubsub 1", "pubsub a b c"] {
            assert_eq!(pubsub_limits(bad), None, "{bad}");
        }
        assert_eq!(
            (size(0), size(65_536), size(32 << 20)),
            ("none".into(), "64 KiB".into(), "32 MiB".into())
        );
    }
}
