//! Which requests the admin port answers: checks the `Host`, the `Origin` and the peer's address.
//!
//! Against web pages that the operator happens to look at. A page can make a browser send requests to
//! this port, and with a name that its owner points here (DNS rebinding) it may read the answers too:
//! so the `Host` must be an IP address, `localhost` or one of `admin.allowed_hosts`, and an `Origin`
//! must be this port's own. What changes something is taken from this machine alone.

use super::response::{self, AdminResponse};
use hyper::{
    HeaderMap, Request, StatusCode, Version,
    header::{HOST, HeaderName, ORIGIN},
    http::uri::Authority,
};
use std::net::{IpAddr, SocketAddr};

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No `Host`, several, or one that is not a host and perhaps a port.
    BadHost,
    /// A name that this port does not have.
    ForeignHost,
    /// A page of another site.
    ForeignOrigin,
    /// Something would be changed from another machine.
    NotFromHere,
}

impl Denied {
    /// The answer that the request gets instead.
    pub(super) fn response(self) -> AdminResponse {
        let (status, code, detail) = match self {
            Self::BadHost => {
                (StatusCode::BAD_REQUEST, "bad_host", "the request must have one Host")
            }
            Self::ForeignHost => (
                StatusCode::FORBIDDEN,
                "host_not_allowed",
                "this port answers to IP addresses, localhost and the names in admin.allowed_hosts",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "this port takes nothing from the pages of others",
            ),
            Self::NotFromHere => (
                StatusCode::FORBIDDEN,
                "admin_token_required",
                "from another machine this is not taken without a token; ask from this one",
            ),
        };
        response::problem(status, code, detail)
    }
}

/// Whether a request may be answered at all.
///
/// # Errors
/// Why not.
pub(super) fn check<B>(request: &Request<B>, allowed_hosts: &[String]) -> Result<(), Denied> {
    let Ok(host) = single(request.headers(), HOST) else { return Err(Denied::BadHost) };
    let host = match host {
        Some(host) => Some(host.parse::<Authority>().map_err(|_| Denied::BadHost)?),
        // A health check by HTTP/1.0 has none; browsers always send one.
        None if request.version() < Version::HTTP_11 => None,
        None => return Err(Denied::BadHost),
    };
    let named = [host.as_ref(), request.uri().authority()];
    if !named.into_iter().flatten().all(is_host_and_port) {
        return Err(Denied::BadHost);
    }
    if !named.into_iter().flatten().all(|one| is_ours(one.host(), allowed_hosts)) {
        return Err(Denied::ForeignHost);
    }
    match single(request.headers(), ORIGIN) {
        Ok(None) => Ok(()),
        Ok(Some(origin)) if host.is_some_and(|host| is_own_origin(origin, &host)) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Denied::ForeignOrigin),
    }
}

/// Whether a request from there may change something.
///
/// # Errors
/// Why not.
pub(super) fn check_change(peer: SocketAddr) -> Result<(), Denied> {
    if peer.ip().to_canonical().is_loopback() { Ok(()) } else { Err(Denied::NotFromHere) }
}

/// The value of a header that may stand once at most.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next().map(|value| value.to_str().map_err(drop)).transpose()?;
    if values.next().is_none() { Ok(value) } else { Err(()) }
}

/// Whether nothing but a port follows the host, and nothing comes before it: the host of `[::1].evil` and
/// of `user@[::1]` is `[::1]`.
fn is_host_and_port(authority: &Authority) -> bool {
    let is_port = |rest: &str| {
        rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|it| it.is_ascii_digit()))
    };
    let behind_host = authority.as_str().strip_prefix(authority.host());
    behind_host.is_some_and(|rest| rest.is_empty() || is_port(rest))
}

/// Whether this names the port: `localhost`, any IP address (nobody can point one here), or a name
/// that the configuration allows.
fn is_ours(host: &str, allowed: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok()
        || allowed.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Whether a page with this origin was served by this port, as far as its name goes. Behind a proxy
/// that terminates TLS its scheme is another.
fn is_own_origin(origin: &str, host: &Authority) -> bool {
    let served_by = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    served_by.is_some_and(|served_by| served_by.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, target: &str, headers: &[(HeaderName, &str)]) -> u16 {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(()).unwrap();
        let allowed = ["metrics.internal".to_owned()];
        check(&request, &allowed).map_or_else(|it| it.response().status().as_u16(), |()| 200)
    }

    fn by_host(host: &str) -> u16 {
        status(Version::HTTP_11, "/status", &[(HOST, host)])
    }

    #[test]
    fn it_answers_to_addresses_localhost_and_allowed_names_alone() {
        for host in [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:9090",
            "localhost.:9090",
            "metrics.internal:9090",
            "Metrics.Internal",
        ] {
            assert_eq!(by_host(host), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "a.metrics.internal",
            "2130706433",
        ] {
            assert_eq!(by_host(host), 403, "{host}");
        }
        for host in [
            "",
            "a b",
            "evil.example/",
            "[::1",
            "[::1].evil",
            "[::1]evil:80",
            "[::1].evil:80",
            "[::1]:80x",
            "evil@localhost",
        ] {
            assert_eq!(by_host(host), 400, "{host:?}");
        }
    }

    #[test]
    fn one_host_is_needed_except_by_http_1_0_and_the_target_s_own_counts_too() {
        assert_eq!(status(Version::HTTP_11, "/livez", &[]), 400);
        assert_eq!(status(Version::HTTP_10, "/livez", &[]), 200);
        let twice = [(HOST, "localhost"), (HOST, "evil.example")];
        assert_eq!(status(Version::HTTP_11, "/livez", &twice), 400);
        for target in ["http://[::1].evil/livez", "http://evil@localhost/livez"] {
            assert_eq!(status(Version::HTTP_11, target, &[(HOST, "localhost")]), 400, "{target}");
        }
        let absolute = "http://evil.example/livez";
        assert_eq!(status(Version::HTTP_11, absolute, &[(HOST, "localhost")]), 403);
    }

    #[test]
    fn an_origin_must_be_this_ports_own() {
        let from =
            |origin| status(Version::HTTP_11, "/", &[(HOST, "127.0.0.1:9090"), (ORIGIN, origin)]);
        for origin in ["http://127.0.0.1:9090", "https://127.0.0.1:9090"] {
            assert_eq!(from(origin), 200, "{origin}");
        }
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:9091",
            "http://127.0.0.1",
            "http://localhost:9090",
            "http://127.0.0.1:9090.evil.example",
            "null",
            "",
        ] {
            assert_eq!(from(origin), 403, "{origin:?}");
        }
        let own = (ORIGIN, "http://localhost");
        assert_eq!(status(Version::HTTP_10, "/", std::slice::from_ref(&own)), 403, "of no Host");
        let twice = [(HOST, "localhost"), own.clone(), own];
        assert_eq!(status(Version::HTTP_11, "/", &twice), 403);
    }

    #[test]
    fn what_changes_something_is_taken_from_this_machine_alone() {
        let status = |peer: &str| {
            check_change(peer.parse().unwrap())
                .map_or_else(|it| it.response().status().as_u16(), |()| 200)
        };
        for peer in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(status(peer), 200, "{peer}");
        }
        for peer in ["10.0.0.1:1", "192.168.1.2:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(status(peer), 403, "{peer}");
        }
    }
}
