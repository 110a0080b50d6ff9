//! Whose connection it is: the client's address behind trusted proxies, and what counts as one
//! address.

#[cfg(test)]
mod tests;

use hyper::{HeaderMap, header::HeaderName};
use ipnet::IpNet;
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What `max_connections_per_ip` counts as one address: an IPv4 address, or the /64 of an IPv6
/// address, since one host commonly owns a whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::server) struct AddressKey(IpAddr);

impl AddressKey {
    pub(in crate::server) fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Whether this peer's `X-Forwarded-For` is believed. `None` is the peer of a unix socket: a local
/// process that the socket's permissions let in, and never a client by itself.
pub(super) fn is_proxy(peer: Option<IpAddr>, trusted: &[IpNet]) -> bool {
    peer.is_none_or(|peer| is_trusted(peer, trusted))
}

/// The client's address as a trusted proxy reports it: the right-most address that is not itself a
/// trusted proxy. What stands further left was written by the client and proves nothing. Without a
/// usable header it is the peer's own address.
pub(in crate::server) fn reported(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut nearest = peer;
    for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        // By bytes: a client may write anything in front of what the proxy adds.
        for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
            if entry.trim_ascii().is_empty() {
                continue; // Says nothing (RFC 9110, 5.6.1).
            }
            let Some(address) = str::from_utf8(entry).ok().and_then(parse) else { return nearest };
            nearest = Some(address);
            if !is_trusted(address, trusted) {
                return nearest;
            }
        }
    }
    nearest
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes, or with the zone of an IPv6
/// address, which is left out.
fn parse(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let quoted = entry.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let entry = &*without_zone(quoted.unwrap_or(entry));
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse().ok().map(|at: SocketAddr| at.ip()));
    address.map(|address| address.to_canonical())
}

/// `fe80::1` of `fe80::1%eth0`, `[fe80::1]:80` of `[fe80::1%eth0]:80`.
fn without_zone(entry: &str) -> Cow<'_, str> {
    let Some((address, zone)) = entry.split_once('%').filter(|(address, _)| address.contains(':'))
    else {
        return entry.into();
    };
    match zone.split_once(']') {
        _ if zone.is_empty() => entry.into(),
        Some((_, port)) => format!("{address}]{port}").into(),
        None => address.into(),
    }
}
