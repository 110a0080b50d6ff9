//! Redis as the gateway will meet it: reachable, new enough, and with the rights it needs.

use super::{report::Report, streams, tracking};
use crate::{
    config::{self, Config, RedisAddress},
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

/// What to do when no link can be made, by what Redis says.
pub(super) fn login_advice(error: &LinkError) -> &'static str {
    let text = error.to_string();
    let is = |word: &str| text.contains(word);
    if is("WRONGPASS") || is("NOAUTH") || is("without any password") {
        "correct redis.username and redis.password_file (or redis.password)"
    } else if is("NOPERM") {
        "the account needs the commands that docs/security.md lists: hello, ping, subscribe, publish and so on"
    } else if is("LOADING") {
        "Redis is still reading its data: try again when it has finished"
    } else if is("max number of clients") {
        "raise `maxclients` in Redis, or close what uses its connections up"
    } else if is("unknown command") || is("NOPROTO") || is("RESP") {
        "this server does not speak the protocol of Redis: is it one?"
    } else if is("ertificate") || is("TLS") || is("tls") {
        "rediss:// needs a certificate that this machine, or redis.tls.ca_file, trusts, for the host \
         name in redis.url; a Redis that asks for one of ours needs redis.tls.cert_file"
    } else if is("DB index") {
        "redis.url names a database (the number behind its last /) that this Redis does not have"
    } else if is("DENIED") {
        "this Redis runs in protected mode, for its own machine alone: give it a password, or have it \
         listen where the gateway is"
    } else if matches!(error, LinkError::Answered(_)) {
        "it is Redis that says so, in its own words: mend there what they name"
    } else {
        "is it Redis that answers there, and with or without TLS as redis.url says (rediss:// is with)?"
    }
}

/// What to do when a command fails on a link that was made: `rights` only where Redis says that they are missing.
pub(super) fn command_advice<'a>(error: &LinkError, rights: &'a str) -> &'a str {
    match error {
        LinkError::Answered(said) | LinkError::ChannelRefused(said) if said.contains("NOPERM") => {
            rights
        }
        LinkError::Answered(_) | LinkError::ChannelRefused(_) => {
            "it is Redis that says so, in its own words: mend there what they name"
        }
        LinkError::Unreachable(_) | LinkError::Lost(_) => {
            "the connection was good a moment ago: does Redis, or something on the way, close or block it?"
        }
    }
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
        for template in &endpoint.channels {
            let channel = format!("{prefix}{}", template.filled(SAMPLE));
            let pattern = format!("{prefix}{}", template.filled("*"));
            if seen.insert(pattern.clone()) {
                let what = format!("{prefix}{} ({})", template.as_str(), endpoint.name);
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

async fn subscribe(
    redis: &mut RedisDiagnostics,
    channel: &str,
    pattern: &str,
    what: &str,
    report: &mut Report,
) {
    match redis.subscribe(channel).await {
        Ok(()) => report.ok("subscribe", what),
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
                "the account needs the commands subscribe, unsubscribe and ping",
            ),
        ),
    }
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

    #[test]
    fn each_way_to_be_turned_away_has_its_advice() {
        for (said, word) in [
            ("WRONGPASS invalid username-password pair", "redis.password_file"),
            (
                "NOAUTH HELLO must be called with the client already authenticated",
                "redis.password_file",
            ),
            (
                "ERR Client sent AUTH, but no password is set. AUTH called without any password configured",
                "redis.password_file",
            ),
            ("NOPERM this user has no permissions to run the 'hello' command", "docs/security.md"),
            ("LOADING Redis is loading the dataset in memory", "try again"),
            ("ERR max number of clients reached", "maxclients"),
            ("ERR unknown command 'PING'", "the protocol of Redis"),
            ("invalid peer certificate: unknown issuer", "trusts"),
            ("ERR DB index is out of range", "database"),
            ("DENIED Redis is running in protected mode", "protected mode"),
            ("whatever else", "in its own words"),
        ] {
            let advice = login_advice(&LinkError::Answered(said.to_owned()));
            assert!(advice.contains(word), "{said}: {advice}");
        }
        let nobody = login_advice(&LinkError::Lost("the connection was closed".to_owned()));
        assert!(nobody.contains("with or without TLS"), "{nobody}");
    }

    #[test]
    fn rights_are_advised_only_where_redis_says_that_they_are_missing() {
        let answered = |said: &str| LinkError::Answered(said.to_owned());
        for (error, word) in [
            (answered("NOPERM this user has no permissions to run 'ping'"), "RIGHTS"),
            (answered("MASTERDOWN Link with MASTER is down"), "in its own words"),
            (LinkError::ChannelRefused("ERR whatever".to_owned()), "in its own words"),
            (LinkError::Lost("no answer within 2s".to_owned()), "on the way"),
        ] {
            let advice = command_advice(&error, "RIGHTS");
            assert!(advice.contains(word), "{error}: {advice}");
        }
    }
}
