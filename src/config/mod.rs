//! The configuration: read key by key (`reader`), checked as a whole (`check`), and only then a
//! [`Config`].
//!
//! A `Config` holds only values that may run: ranges are kept, contradictions are refused, files that
//! it names have been read. All problems are reported at once, each with its line, column and key; no
//! message repeats a secret.

mod address;
mod check;
mod effective;
mod env;
mod files;
mod grammar;
mod http_publish;
mod load;
mod mask;
mod plan;
mod problem;
mod reader;
mod redis_tls;
mod redis_url;
mod tls;
mod units;

#[cfg(test)]
mod tests;

pub use effective::Effective;
pub use http_publish::{HttpPublish, PublishStream, PublishToken};
pub use load::{Loaded, effective, load, parse, parse_with};
pub use plan::{Plan, plan};
pub use problem::{ConfigError, Problem};
pub use redis_tls::RedisTls;
pub use tls::Tls;
pub use units::{UnitError, duration};

use crate::{
    auth::Auth,
    endpoint::{Endpoint, ReservedNames},
    secret::Secret,
};
use ipnet::IpNet;
use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// Everything that `sockway serve` needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub redis: Redis,
    pub auth: Arc<Auth>,
    pub endpoints: Vec<Arc<Endpoint>>,
    /// `None`: nothing is published by HTTP.
    pub http_publish: Option<Arc<HttpPublish>>,
    pub log: Log,
    pub reload: Reload,
    pub shutdown: Shutdown,
    /// What all of this was read from; a reload compares it.
    pub effective: Effective,
    /// How many configurations were in effect before it in this process. Part of no file.
    pub generation: u64,
}

/// `[server]`: the public port.
#[derive(Debug, Clone)]
pub struct Server {
    pub listen: ListenAddress,
    /// Of the file of a unix socket.
    pub socket_mode: u32,
    /// Threads that own sessions; `shards = 0` is resolved to the number of cores here.
    pub shards: NonZeroUsize,
    /// Of memory, that each shard may fall behind Redis.
    pub ring_bytes: NonZeroUsize,
    /// Of memory, that the sessions' queues may hold together; an equal part for each shard.
    pub max_queue_memory: NonZeroUsize,
    pub handshake_timeout: Duration,
    pub max_connections: NonZeroUsize,
    pub max_pending_handshakes: NonZeroUsize,
    /// `None`: no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
    pub max_sessions_per_user: Option<NonZeroUsize>,
    pub on_user_limit: OnUserLimit,
    pub handshakes_per_second: Option<NonZeroUsize>,
    pub allowed_origins: Vec<OriginRule>,
    pub trusted_proxies: Vec<IpNet>,
    /// `None`: plain TCP.
    pub tls: Option<Tls>,
}

impl Server {
    /// Each shard's part of `max_queue_memory`.
    #[must_use]
    pub fn queue_part(&self) -> usize {
        self.max_queue_memory.get() / self.shards
    }
}

/// What becomes of a user's session beyond `max_sessions_per_user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUserLimit {
    /// It is refused.
    Refuse,
    /// The user's oldest session is closed for it: that may be one whose network is gone.
    Replace,
}

/// Where the public port listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    /// As the configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One entry of `server.allowed_origins`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRule {
    /// `https://example.com`: compared whole, scheme and port included.
    Exact(String),
    /// `https://*.example.com` as scheme `https://` and suffix `.example.com`: any depth below.
    Below { scheme: String, suffix: String },
}

impl OriginRule {
    /// Whether this rule allows the value of an `Origin` header.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        match self {
            Self::Exact(exact) => origin == *exact,
            Self::Below { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                // A character more, such as `#` or `@`, could end the host before this suffix.
                .is_some_and(address::is_host_name),
        }
    }
}

/// `[admin]`: the private port.
#[derive(Debug, Clone)]
pub struct Admin {
    pub listen: SocketAddr,
    /// Names that it answers to beside IP addresses and `localhost`, in lower case.
    pub allowed_hosts: Vec<String>,
}

/// `[redis]`: the link upstream.
#[derive(Debug, Clone)]
pub struct Redis {
    pub address: RedisAddress,
    pub database: u8,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Root certificates and client certificate for `rediss://`.
    pub tls: RedisTls,
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// `None`: PING only.
    pub probe_channel: Option<String>,
    pub linger: Duration,
    /// `None`: no revocation through Redis.
    pub control_channel: Option<String>,
    pub on_revocation_gap: OnRevocationGap,
    /// In bytes.
    pub max_payload: NonZeroUsize,
    /// Prepended to every channel and stream, the probe's and the control channel's included.
    pub channel_prefix: String,
    /// Distinct patterns of this instance at one time.
    pub max_patterns: NonZeroUsize,
    /// Distinct streams that this instance follows at one time.
    pub max_streams: NonZeroUsize,
    /// How often every stream is read without being woken; `None`: never.
    pub stream_poll: Option<Duration>,
    /// The field of an entry that is the message.
    pub stream_field: String,
}

impl Redis {
    /// The names that no session may ever join. A session that left one of these channels would take Sockway's
    /// own subscription with it.
    #[must_use]
    pub fn reserved_names(&self) -> ReservedNames {
        let channels = [
            ("redis.probe_channel", &self.probe_channel),
            ("redis.control_channel", &self.control_channel),
        ];
        let named = channels.into_iter().filter_map(|(key, name)| Some((key, name.clone()?)));
        ReservedNames::new(&self.channel_prefix, named.collect())
    }
}

impl Redis {
    /// For how long a probe proves the link: one may be under way and one may have been lost; later than
    /// that the Redis side is stuck.
    #[must_use]
    pub fn proof_expires(&self) -> Duration {
        self.probe_interval + 2 * self.probe_timeout
    }
}

/// What is done after a time in which revocations may have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRevocationGap {
    Warn,
    /// Close every session that has an identity.
    Close,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisAddress {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    pub level: tracing::level_filters::LevelFilter,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// `[reload]`.
#[derive(Debug, Clone)]
pub struct Reload {
    /// `None`: only on SIGHUP.
    pub poll: Option<Duration>,
}

/// `[shutdown]`.
#[derive(Debug, Clone)]
pub struct Shutdown {
    pub readiness_delay: Duration,
    pub spread: Duration,
    pub timeout: Duration,
}
