//! The URL of an issuer's keys: `auth.jwt.jwks_url`.
//!
//! Someone who can change the answer on its way can make tokens. So it is https, and http only to this
//! very machine: a sidecar, or a proxy that speaks TLS itself.

use hyper::Uri;
use std::{fmt, net::IpAddr, str::FromStr};

/// A URL that keys may be fetched from. Shown without its query, which may hold an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksUrl {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub target: String,
}

/// Why keys may not be fetched from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksUrlError {
    #[error("must be a URL such as \"https://id.example.com/.well-known/jwks.json\"")]
    NotUrl,
    #[error("must not hold a user, a password or a fragment")]
    Surplus,
    #[error(
        "must begin with https://; http:// is for localhost and loopback addresses only, since \
         someone who can change the keys on their way can make tokens"
    )]
    NotSecure,
}

impl FromStr for JwksUrl {
    type Err = JwksUrlError;

    fn from_str(text: &str) -> Result<Self, JwksUrlError> {
        let uri: Uri = text.parse().map_err(|_| JwksUrlError::NotUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(JwksUrlError::NotUrl);
        };
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(JwksUrlError::Surplus);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match scheme {
            "https" => true,
            "http" if is_this_machine(&host) => false,
            _ => return Err(JwksUrlError::NotSecure),
        };
        // `Uri` takes a port that is none for no port.
        let port = match &authority.as_str()[authority.host().len()..] {
            "" if tls => 443,
            "" => 80,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(0),
        };
        if host.is_empty() || port == 0 {
            return Err(JwksUrlError::NotUrl);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { tls, host, port, target })
    }
}

impl JwksUrl {
    /// The value of a request's `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = &self.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

impl fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for (text, host, port, target) in [
            ("https://id.example.com/keys", "id.example.com", 443, "/keys"),
            ("https://id.example.com", "id.example.com", 443, "/"),
            ("https://10.0.0.1:8443/a?b=c", "10.0.0.1", 8443, "/a?b=c"),
            ("https://[2001:db8::1]/keys", "2001:db8::1", 443, "/keys"),
            ("http://localhost:8080/keys", "localhost", 8080, "/keys"),
            ("http://127.0.0.2/keys", "127.0.0.2", 80, "/keys"),
            ("http://[::1]:81/keys", "::1", 81, "/keys"),
            ("http://[::ffff:127.0.0.1]/keys", "::ffff:127.0.0.1", 80, "/keys"),
        ] {
            let url: JwksUrl = text.parse().unwrap();
            assert_eq!((url.host.as_str(), url.port, url.target.as_str()), (host, port, target));
            assert_eq!(url.tls, text.starts_with("https"));
        }
    }

    #[test]
    fn other_urls_are_refused_by_what_is_wrong_with_them() {
        for (text, error) in [
            ("", JwksUrlError::NotUrl),
            ("keys", JwksUrlError::NotUrl),
            ("/keys", JwksUrlError::NotUrl),
            ("id.example.com/keys", JwksUrlError::NotUrl),
            ("https://", JwksUrlError::NotUrl),
            ("https:///keys", JwksUrlError::NotUrl),
            ("https://a:0/keys", JwksUrlError::NotUrl),
            ("https://a:99999/keys", JwksUrlError::NotUrl),
            ("https://a b/keys", JwksUrlError::NotUrl),
            ("https://user:password@a/keys", JwksUrlError::Surplus),
            ("https://a/keys#now", JwksUrlError::Surplus),
            ("http://id.example.com/keys", JwksUrlError::NotSecure),
            ("http://127.0.0.1.example.com/keys", JwksUrlError::NotSecure),
            ("http://10.0.0.1/keys", JwksUrlError::NotSecure),
            ("http://0.0.0.0/keys", JwksUrlError::NotSecure),
            ("ftp://localhost/keys", JwksUrlError::NotSecure),
            ("file:///etc/keys", JwksUrlError::NotUrl),
        ] {
            assert_eq!(text.parse::<JwksUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_query() {
        let url: JwksUrl = "https://a:8443/keys?key=hunter2".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://a:8443/keys https://a:8443/keys");
    }
}
