//! What a reload would change: the old configuration against the new one. Pure.
//!
//! Every key of the file is in one of two lists: what can change while sessions are open, and what
//! needs a restart. What becomes of open sessions is each session's own question, answered by its
//! shard; here only keys are compared.

use super::{Config, Redis, Server, Tls};
use crate::{
    auth::{Auth, JwtSettings, KeySource},
    endpoint::Endpoint,
};
use std::sync::Arc;

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

/// A key, and whether it differs.
type Compared = (&'static str, bool);

/// Compares two configurations, key by key.
#[must_use]
pub fn plan(old: &Config, new: &Config) -> Plan {
    let mut live = changed(&server_live(&old.server, &new.server));
    live.extend(changed(&auth(&old.auth, &new.auth)));
    live.extend(endpoints(&old.endpoints, &new.endpoints));
    live.extend(changed(&[("redis.password", old.redis.password != new.redis.password)]));
    live.extend(changed(&process_live(old, new)));
    let mut restart = changed(&server_restart(old, new));
    restart.extend(changed(&redis(&old.redis, &new.redis)));
    Plan { live, restart }
}

fn changed(compared: &[Compared]) -> Vec<String> {
    compared.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()).collect()
}

/// Sockets are bound and threads are started once.
fn server_restart(old: &Config, new: &Config) -> [Compared; 5] {
    [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.shards", old.server.shards != new.server.shards),
        ("server.ring_bytes", old.server.ring_bytes != new.server.ring_bytes),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("log.format", old.log.format != new.log.format),
    ]
}

fn server_live(old: &Server, new: &Server) -> [Compared; 10] {
    let limits = |it: &Server| {
        (it.max_connections_per_ip, it.max_sessions_per_user, it.handshakes_per_second)
    };
    let (old_limits, new_limits) = (limits(old), limits(new));
    [
        ("server.handshake_timeout", old.handshake_timeout != new.handshake_timeout),
        ("server.max_connections", old.max_connections != new.max_connections),
        ("server.max_pending_handshakes", old.max_pending_handshakes != new.max_pending_handshakes),
        ("server.max_connections_per_ip", old_limits.0 != new_limits.0),
        ("server.max_sessions_per_user", old_limits.1 != new_limits.1),
        ("server.handshakes_per_second", old_limits.2 != new_limits.2),
        ("server.allowed_origins", old.allowed_origins != new.allowed_origins),
        ("server.trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("server.tls.cert_file", !same(&old.tls, &new.tls, Tls::same_chain)),
        ("server.tls.key_file", !same(&old.tls, &new.tls, Tls::same_key)),
    ]
}

fn same<T>(old: &Option<T>, new: &Option<T>, alike: impl Fn(&T, &T) -> bool) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => alike(old, new),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn process_live(old: &Config, new: &Config) -> [Compared; 5] {
    let (stop, new_stop) = (&old.shutdown, &new.shutdown);
    [
        ("log.level", old.log.level != new.log.level),
        ("reload.poll", old.reload.poll != new.reload.poll),
        ("shutdown.readiness_delay", stop.readiness_delay != new_stop.readiness_delay),
        ("shutdown.spread", stop.spread != new_stop.spread),
        ("shutdown.timeout", stop.timeout != new_stop.timeout),
    ]
}

/// The link and its task are made once, from all of this; the password is the next dial's.
fn redis(old: &Redis, new: &Redis) -> [Compared; 14] {
    let address = |it: &Redis| (it.address.clone(), it.database);
    [
        ("redis.url", address(old) != address(new)),
        ("redis.username", old.username != new.username),
        ("redis.tls.ca_file", !old.tls.same_roots(&new.tls)),
        ("redis.tls.cert_file", !old.tls.same_chain(&new.tls)),
        ("redis.tls.key_file", !old.tls.same_key(&new.tls)),
        ("redis.probe_interval", old.probe_interval != new.probe_interval),
        ("redis.probe_timeout", old.probe_timeout != new.probe_timeout),
        ("redis.reconnect_min", old.reconnect_min != new.reconnect_min),
        ("redis.reconnect_max", old.reconnect_max != new.reconnect_max),
        ("redis.probe_channel", old.probe_channel != new.probe_channel),
        ("redis.linger", old.linger != new.linger),
        ("redis.control_channel", old.control_channel != new.control_channel),
        ("redis.max_payload", old.max_payload != new.max_payload),
        ("redis.channel_prefix", old.channel_prefix != new.channel_prefix),
    ]
}

fn auth(old: &Auth, new: &Auth) -> [Compared; 11] {
    let (old_jwt, new_jwt) = (old.jwt_settings(), new.jwt_settings());
    // Without [auth.jwt] on one side, its key alone says that it came or went.
    let both = |differ: fn(&JwtSettings, &JwtSettings) -> bool| {
        old_jwt.zip(new_jwt).is_some_and(|(old, new)| differ(old, new))
    };
    let key = |pick| keys(old_jwt, new_jwt, pick);
    [
        ("auth.sources", old.sources != new.sources),
        ("auth.reject", old.reject != new.reject),
        ("auth.jwt.algorithms", both(|old, new| old.algorithms != new.algorithms)),
        ("auth.jwt.secret", key(hmac)),
        ("auth.jwt.public_key_file", key(pem)),
        ("auth.jwt.jwks_url", key(jwks)),
        ("auth.jwt.audience", both(|old, new| old.audience != new.audience)),
        ("auth.jwt.issuer", both(|old, new| old.issuer != new.issuer)),
        ("auth.jwt.user_claim", both(|old, new| old.user_claim != new.user_claim)),
        ("auth.jwt.leeway", both(|old, new| old.leeway != new.leeway)),
        ("auth.token", !old.same_tokens(new)),
    ]
}

/// Whether keys of the kind that `pick` picks differ.
fn keys(
    old: Option<&JwtSettings>,
    new: Option<&JwtSettings>,
    pick: fn(&KeySource) -> Option<&KeySource>,
) -> bool {
    let key = |settings: Option<&JwtSettings>| settings.and_then(|it| pick(&it.key)).cloned();
    key(old) != key(new)
}

fn hmac(key: &KeySource) -> Option<&KeySource> {
    matches!(key, KeySource::HmacSecret(_)).then_some(key)
}

fn pem(key: &KeySource) -> Option<&KeySource> {
    matches!(key, KeySource::PublicKeyPem(_)).then_some(key)
}

fn jwks(key: &KeySource) -> Option<&KeySource> {
    matches!(key, KeySource::Jwks(_)).then_some(key)
}

/// Endpoints are known by their names, whatever their order in the file.
fn endpoints(old: &[Arc<Endpoint>], new: &[Arc<Endpoint>]) -> Vec<String> {
    let find = |list: &[Arc<Endpoint>], name: &str| {
        list.iter().find(|endpoint| *endpoint.name == *name).map(Arc::clone)
    };
    let gone = old.iter().filter(|it| find(new, &it.name).is_none());
    let mut keys: Vec<_> = gone.map(|it| format!("endpoint.{} (removed)", it.name)).collect();
    for endpoint in new {
        match find(old, &endpoint.name) {
            None => keys.push(format!("endpoint.{} (added)", endpoint.name)),
            Some(old) => keys.extend(
                changed(&one_endpoint(&old, endpoint))
                    .iter()
                    .map(|key| format!("endpoint.{}.{key}", endpoint.name)),
            ),
        }
    }
    keys
}

fn one_endpoint(old: &Endpoint, new: &Endpoint) -> [Compared; 14] {
    [
        ("path", old.path != new.path),
        ("channels", old.channels != new.channels),
        ("auth", old.access != new.access),
        ("format", old.format != new.format),
        ("queue_messages", old.queue_messages != new.queue_messages),
        ("queue_bytes", old.queue_bytes != new.queue_bytes),
        ("on_slow", old.on_slow != new.on_slow),
        ("on_gap", old.on_gap != new.on_gap),
        ("gap_notice", old.gap_notice != new.gap_notice),
        ("ping_interval", old.ping_interval != new.ping_interval),
        ("ping_timeout", old.ping_timeout != new.ping_timeout),
        ("write_timeout", old.write_timeout != new.write_timeout),
        ("max_message", old.max_message != new.max_message),
        ("inbound", old.inbound != new.inbound),
    ]
}
