//! Whether the gateway could listen where it is to, and who does when it could not.

use super::report::Report;
use crate::{
    cli::admin_client,
    config::{Config, ListenAddress},
    net,
};
use hyper::Method;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

const IN_USE: &str = "stop what listens there, or choose another address; if it is a running sockway, this \
    says only that its admin port is elsewhere, or that its endpoints have other names";

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let admin = net::try_tcp(config.admin.listen);
    // Asked only where doubt is: a port that is in use may well be that of this very gateway.
    let is_ours = is_in_use(&admin) && is_running(config.admin.listen, config).await;
    tell_of("server.listen", &config.server.listen, is_ours, report);
    tell("admin.listen", &config.admin.listen.to_string(), &admin, is_ours, report);
    if let Some(own) = config.http_publish.as_ref().and_then(|publish| publish.listen.as_ref()) {
        tell_of("http publish", own, is_ours, report);
    }
}

fn tell_of(key: &str, address: &ListenAddress, is_ours: bool, report: &mut Report) {
    let tried = match address {
        ListenAddress::Tcp(address) => net::try_tcp(*address),
        ListenAddress::Unix(path) => net::try_unix(path),
    };
    tell(key, &address.to_string(), &tried, is_ours, report);
}

fn tell(key: &str, address: &str, tried: &io::Result<()>, is_ours: bool, report: &mut Report) {
    match tried {
        Ok(()) => report.ok(key, &format!("{address} is free")),
        Err(_) if is_in_use(tried) && is_ours => {
            report
                .ok(key, &format!("{address} is in use, and a sockway with these endpoints runs"));
        }
        Err(_) if is_in_use(tried) => {
            let said = format!("{address} is in use by another program or by a running sockway");
            report.warn(key, &said, IN_USE);
        }
        Err(error) => {
            report.fail(key, &format!("cannot listen on {address}: {error}"), advice(error));
        }
    }
}

fn is_in_use(tried: &io::Result<()>) -> bool {
    tried.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "the address must be one of this machine; 0.0.0.0 and [::] are all of them"
        }
        io::ErrorKind::NotFound => "make the directory of the socket first",
        io::ErrorKind::AlreadyExists => "choose another path, or remove the file",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, a socket the right to write its directory"
        }
        _ => "choose another address",
    }
}

/// Whether a sockway answers at the admin port that has the endpoints of this configuration.
async fn is_running(admin: SocketAddr, config: &Config) -> bool {
    #[derive(Deserialize)]
    struct Status {
        #[serde(rename = "uptime_seconds")]
        _uptime: f64,
        sessions: BTreeMap<String, u64>,
    }
    let address = reachable(admin);
    let Ok(reply) = admin_client::ask(&address.to_string(), Method::GET, "/status").await else {
        return false;
    };
    let Ok(status) = serde_json::from_str::<Status>(&reply.body) else { return false };
    let names: BTreeSet<&str> = config.endpoints.iter().map(|one| &*one.name).collect();
    status.sessions.keys().map(String::as_str).collect::<BTreeSet<_>>() == names
}

/// Where somebody on this machine is asked who listens there: an address that stands for all of them is asked as
/// this machine's own.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let port = address.port();
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        ip if ip.is_ipv4() => ([127, 0, 0, 1], port).into(),
        _ => (std::net::Ipv6Addr::LOCALHOST, port).into(),
    }
}
