//! `[server]`, `[server.tls]` and `[admin]`.

use super::one_of;
use crate::{
    bus::MAX_SHARDS,
    config::{
        Admin, ListenAddress, OnUserLimit, Server, Tls, address, files, reader::Table, tls, units,
    },
};
use std::{num::NonZeroUsize, thread};

/// More than one process can hold open.
const MOST_CONNECTIONS: usize = 10_000_000;

pub(super) fn server(table: &mut Table<'_, '_>) -> Option<Server> {
    let listen = table.text("listen", "0.0.0.0:8080", address::listen);
    let socket_mode = socket_mode(table, listen.as_ref());
    let shards = table.number("shards", 0, 0..=MAX_SHARDS);
    let handshake_timeout = table.amount("handshake_timeout", "10s", units::positive_wait);
    let max_connections = table.count("max_connections", 100_000, MOST_CONNECTIONS);
    let max_pending_handshakes = table.count("max_pending_handshakes", 1_024, MOST_CONNECTIONS);
    let max_connections_per_ip = table.limit("max_connections_per_ip", MOST_CONNECTIONS);
    let max_sessions_per_user = table.limit("max_sessions_per_user", MOST_CONNECTIONS);
    let on_user_limit = on_user_limit(table, max_sessions_per_user);
    let handshakes_per_second = table.limit("handshakes_per_second", MOST_CONNECTIONS);
    let ring_bytes = table.amount("ring_bytes", "64MiB", units::size);
    let max_queue_memory = table.amount("max_queue_memory", "256MiB", units::size);
    let allowed_origins = table.list("allowed_origins", &[], address::origin);
    let trusted_proxies =
        table.list("trusted_proxies", &["127.0.0.0/8", "::1/128"], address::network);
    let tls = table.optional_table("tls", tls);
    let shards = NonZeroUsize::new(shards?).unwrap_or_else(cores);
    table.compare("shards", Some(shards.to_string().as_bytes()));
    Some(Server {
        listen: listen?,
        socket_mode: socket_mode?,
        shards,
        ring_bytes: ring_bytes?,
        max_queue_memory: max_queue_memory?,
        handshake_timeout: handshake_timeout?,
        max_connections: max_connections?,
        max_pending_handshakes: max_pending_handshakes?,
        max_connections_per_ip: max_connections_per_ip?,
        max_sessions_per_user: max_sessions_per_user?,
        on_user_limit: on_user_limit?,
        handshakes_per_second: handshakes_per_second?,
        allowed_origins: allowed_origins.into_iter().map(|origin| origin.value).collect(),
        trusted_proxies: address::with_ipv4(
            trusted_proxies.into_iter().map(|network| network.value).collect(),
        ),
        tls: tls.unwrap_or(Some(None))?,
    })
}

fn socket_mode(table: &mut Table<'_, '_>, listen: Option<&ListenAddress>) -> Option<u32> {
    let mode = table.amount("socket_mode", "0660", address::socket_mode)?;
    match listen {
        Some(ListenAddress::Unix(_)) if mode & 0o002 != 0 => table.warning(
            "socket_mode",
            "lets every user of this machine connect, and name any client address by X-Forwarded-For",
        ),
        Some(ListenAddress::Tcp(_)) if table.has("socket_mode") && mode != 0o660 => {
            table.warning("socket_mode", "has no effect: listen is no unix socket");
        }
        _ => {}
    }
    Some(mode)
}

fn on_user_limit(
    table: &mut Table<'_, '_>,
    max_sessions_per_user: Option<Option<NonZeroUsize>>,
) -> Option<OnUserLimit> {
    let choices = [("refuse", OnUserLimit::Refuse), ("replace", OnUserLimit::Replace)];
    let on_user_limit = table.text("on_user_limit", "refuse", one_of(&choices));
    if (on_user_limit, max_sessions_per_user) == (Some(OnUserLimit::Replace), Some(None)) {
        table.warning("on_user_limit", "has no effect: max_sessions_per_user is 0, no limit");
    }
    on_user_limit
}

/// How many shards `shards = 0` means here.
fn cores() -> NonZeroUsize {
    let most = const { NonZeroUsize::new(MAX_SHARDS).expect("at least one shard is possible") };
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(most)
}

/// `None` after a problem was recorded; `Some(None)`: plain TCP.
fn tls(table: &mut Table<'_, '_>) -> Option<Option<Tls>> {
    let chain = table.file("cert_file", files::pem, |pem| tls::chain(&pem));
    let key = table.file("key_file", files::pem, |pem| tls::key(&pem));
    match (chain?, key?) {
        (None, None) => Some(None),
        (Some(chain), Some(key)) => match Tls::new(chain, key) {
            Ok(tls) => Some(Some(tls)),
            Err(problem) => {
                table.problem("key_file", problem);
                None
            }
        },
        (Some(_), None) => {
            table.problem("key_file", "is missing: the key of cert_file");
            None
        }
        (None, Some(_)) => {
            table.problem("cert_file", "is missing: the certificate of key_file");
            None
        }
    }
}

pub(super) fn admin(table: &mut Table<'_, '_>, server: Option<&Server>) -> Option<Admin> {
    let listen = table.text("listen", "127.0.0.1:9090", address::socket);
    let allowed_hosts = table.list("allowed_hosts", &[], address::host);
    let listen = listen?;
    if server.is_some_and(|server| address::collide(&server.listen, listen)) {
        table.problem("listen", "must not be the port of server.listen: this one stays private");
    }
    let allowed_hosts = allowed_hosts.into_iter().map(|host| host.value).collect();
    Some(Admin { listen, allowed_hosts })
}
