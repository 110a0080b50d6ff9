//! Reads listen addresses, origins and trusted networks.

use super::{ListenAddress, OriginRule};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

/// The kernel's `sun_path`, less its final NUL.
const LONGEST_UNIX_PATH: usize = 107;

/// `0.0.0.0:8080`, `[::]:8080` or `unix:/run/sockway/ws.sock`.
pub(super) fn listen(text: &str) -> Result<ListenAddress, String> {
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path).map(ListenAddress::Unix),
        None => text.parse().map(ListenAddress::Tcp).map_err(|_| {
            "must be an IP address and a port such as \"0.0.0.0:8080\", or \"unix:/path\""
                .to_owned()
        }),
    }
}

/// An IP address and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "must be an IP address and a port such as \"127.0.0.1:9090\"")
}

/// A host's name, as a `Host` header has it, without its port; in lower case.
pub(super) fn host(text: &str) -> Result<String, &'static str> {
    if is_host_name(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be a host name such as \"sockway.internal\", without scheme and port")
    }
}

/// The absolute path of a unix socket.
pub(super) fn unix_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err("must name its unix socket by an absolute path".to_owned());
    }
    if path.len() > LONGEST_UNIX_PATH {
        return Err(format!("has a unix socket path longer than {LONGEST_UNIX_PATH} bytes"));
    }
    Ok(path.into())
}

/// The mode of a socket's file: `"0660"`, in octal. To connect is to write.
pub(super) fn socket_mode(text: &str) -> Result<u32, &'static str> {
    let digits = text.strip_prefix('0').filter(|digits| digits.len() == 3).unwrap_or(text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
    match mode
        .ok_or("must be rights in octal such as \"0660\", without setuid, setgid and sticky")?
    {
        mode if mode & 0o222 == 0 => {
            Err("lets nobody connect, for which a socket must be writable")
        }
        mode => Ok(mode),
    }
}

/// Whether two listeners would claim the same port.
pub(super) fn collide(public: &ListenAddress, admin: SocketAddr) -> bool {
    let ListenAddress::Tcp(public) = public else { return false };
    let (one, other) = (public.ip().to_canonical(), admin.ip().to_canonical());
    let same_address = one == other || one.is_unspecified() || other.is_unspecified();
    public.port() == admin.port() && admin.port() != 0 && same_address
}

/// Whether two addresses would be listened on by the same socket.
pub(super) fn same_port(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
        (one, ListenAddress::Tcp(other)) => collide(one, *other),
        (ListenAddress::Tcp(_), ListenAddress::Unix(_)) => false,
    }
}

/// `10.0.0.0/8`, `::1/128`, or one address. IPv4 addresses in the form of IPv6 (`::ffff:10.0.0.0/104`)
/// become what they are, since addresses of peers are compared as what they are.
///
/// # Errors
/// When it is none, or when it may be meant as another: with bits behind the prefix, or in the form
/// that IPv6 once had for IPv4 (`::10.0.0.0/104`), which no peer has.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "must be a network such as \"10.0.0.0/8\" or \"::1/128\"")?;
    let (network, is_old) = match network {
        IpNet::V6(v6) => plain(v6)?,
        IpNet::V4(_) => (network, false),
    };
    if is_old || network != network.trunc() {
        return Err(format!("must be written \"{}\", if that is meant", network.trunc()));
    }
    Ok(network)
}

/// An IPv4 network that is in the form of IPv6 as itself, and whether that form is the old one.
fn plain(network: Ipv6Net) -> Result<(IpNet, bool), String> {
    let address = network.addr();
    // `::` and `::1` are addresses of IPv6.
    let old = || address.to_ipv4().filter(|v4| v4.octets()[0] != 0);
    let (v4, is_old) = match (address.to_ipv4_mapped(), old()) {
        (Some(v4), _) => (v4, false),
        (None, Some(v4)) => (v4, true),
        (None, None) => return Ok((network.into(), false)),
    };
    let length = network.prefix_len().checked_sub(IPV4_MAPPED_BITS);
    let v4 = length.and_then(|length| IpNet::new(v4.into(), length).ok());
    v4.map(|v4| (v4, is_old)).ok_or_else(|| {
        "must be an IPv4 network such as \"10.0.0.0/8\", or in the form of IPv6 at least a /96"
            .to_owned()
    })
}

/// Adds all of IPv4 where one of the networks has all of its addresses in the form of IPv6 (`::/0`): peers
/// are compared as what they are, and `::/0` is meant to be everybody.
pub(super) fn with_ipv4(mut networks: Vec<IpNet>) -> Vec<IpNet> {
    let mapped = Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), IPV4_MAPPED_BITS);
    if networks.iter().any(|network| network.contains(&IpNet::from(mapped))) {
        networks.push(Ipv4Net::default().into());
    }
    networks
}

/// What stands before the IPv4 address in `::ffff:10.0.0.1`.
const IPV4_MAPPED_BITS: u8 = 96;

/// `https://example.com`, `http://localhost:3000` or `https://*.example.com`.
///
/// Kept as browsers send it: in lower case, without the scheme's own port.
pub(super) fn origin(text: &str) -> Result<OriginRule, &'static str> {
    const EXPECTED: &str = "must be an origin such as \"https://example.com\", \
        \"http://localhost:3000\" or \"https://*.example.com\": scheme, host, port if it is not the \
        usual one, no path";
    if text == "*" {
        return Err("an empty list already allows every origin; \"*\" is not needed");
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
    let scheme_is_good = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    let (host, port) = split_port(authority).ok_or(EXPECTED)?;
    let (below, name) = host.strip_prefix("*.").map_or((false, host), |name| (true, name));
    if !scheme_is_good
        || !host_is_good(name)
        || (below && !name.contains(|c: char| c.is_alphabetic()))
    {
        return Err(EXPECTED);
    }
    let port = match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    Ok(if below {
        OriginRule::Below { scheme: format!("{scheme}://"), suffix: format!(".{name}{port}") }
    } else {
        OriginRule::Exact(format!("{scheme}://{name}{port}"))
    })
}

/// Host and port of `host`, `host:port`, `[::1]` or `[::1]:port`; the brackets stay.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(host_end);
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':').filter(|it| it.chars().all(|c| c.is_ascii_digit()))?;
    let port = digits.parse().ok().filter(|port| *port != 0)?;
    Some((host, Some(port)))
}

/// A host name (ASCII: others are written in punycode), an IPv4 address, or an IPv6 one in brackets.
pub(super) fn host_is_good(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(bracketed) => {
            bracketed.strip_suffix(']').is_some_and(|it| it.parse::<Ipv6Addr>().is_ok())
        }
        None => is_host_name(host),
    }
}

/// Whether this is one or more labels of a host's name and nothing else. An underscore is no letter of a
/// host's name, but browsers take it.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.split('.').all(|label| !label.is_empty() && label.bytes().all(is_letter))
}

#[cfg(test)]
mod tests;
