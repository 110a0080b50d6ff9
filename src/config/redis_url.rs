//! `redis.url`. Messages never repeat the URL: it may hold a password.

use super::{RedisAddress, address};
use crate::secret::Secret;
use percent_encoding::percent_decode_str;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) address: RedisAddress,
    pub(super) database: u8,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

const PORT: u16 = 6379;

/// `redis://[user[:password]@]host[:port][/database]`, `rediss://…` with TLS, or
/// `redis+unix://[user[:password]@]/path[?db=database]`. User and password are percent-decoded.
pub(super) fn parse(url: &str) -> Result<RedisUrl, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match scheme {
        "redis" => tcp(rest, false),
        "rediss" => tcp(rest, true),
        "redis+unix" => unix(rest),
        "redis-sentinel" | "rediss-sentinel" | "redis-cluster" | "rediss-cluster" => Err(format!(
            "{scheme}:// is not supported by this version of Sockway yet; redis://, rediss:// and \
             redis+unix:// are"
        )),
        _ => Err("must begin with redis://, rediss:// or redis+unix://".to_owned()),
    }
}

fn tcp(rest: &str, tls: bool) -> Result<RedisUrl, String> {
    const EXPECTED: &str = "must be such as \"redis://host:6379/0\": host, port and database, \
        nothing after them; special characters of a user or password are percent-encoded";
    let (user, rest) = split_user(rest);
    let (username, password) = credentials(user)?;
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = address::split_port(authority).ok_or(EXPECTED)?;
    if !address::host_is_good(host) {
        return Err(EXPECTED.to_owned());
    }
    let host = host.trim_matches(['[', ']']).to_owned();
    let address = RedisAddress::Tcp { host, port: port.unwrap_or(PORT), tls };
    Ok(RedisUrl { address, database: number(database)?, username, password })
}

fn unix(rest: &str) -> Result<RedisUrl, String> {
    let (user, rest) = split_user(rest);
    let (username, password) = credentials(user)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let database = match query {
        "" => "",
        query => query.strip_prefix("db=").ok_or("takes only ?db=NUMBER after a unix path")?,
    };
    let address = RedisAddress::Unix(address::unix_path(path)?);
    Ok(RedisUrl { address, database: number(database)?, username, password })
}

/// The user part, and what follows its `@`.
fn split_user(rest: &str) -> (&str, &str) {
    rest.rsplit_once('@').unwrap_or(("", rest))
}

fn credentials(user: &str) -> Result<(Option<String>, Option<Secret>), String> {
    let decoded = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        text.map(String::from).map_err(|_| "has a user or password that is not UTF-8".to_owned())
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let (name, password) = (decoded(name)?, decoded(password)?);
    let password = (!password.is_empty()).then(|| Secret::new(password));
    Ok(((!name.is_empty()).then_some(name), password))
}

fn number(database: &str) -> Result<u8, &'static str> {
    match database {
        "" => Ok(0),
        digits if digits.chars().all(|c| c.is_ascii_digit()) => {
            digits.parse().map_err(|_| "must name a database from 0 to 255")
        }
        _ => Err("must name its database by a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_address(host: &str, port: u16, tls: bool) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port, tls }
    }

    #[test]
    fn every_form_is_understood() {
        for (url, address, database) in [
            ("redis://127.0.0.1:6379/0", tcp_address("127.0.0.1", 6379, false), 0),
            ("redis://redis", tcp_address("redis", 6379, false), 0),
            ("redis://redis/", tcp_address("redis", 6379, false), 0),
            (
                "rediss://cache.example.com:6380/15",
                tcp_address("cache.example.com", 6380, true),
                15,
            ),
            ("redis://[::1]:7000", tcp_address("::1", 7000, false), 0),
            ("redis+unix:///run/redis.sock", RedisAddress::Unix("/run/redis.sock".into()), 0),
            ("redis+unix:///run/redis.sock?db=3", RedisAddress::Unix("/run/redis.sock".into()), 3),
        ] {
            let parsed = parse(url).unwrap();
            assert_eq!((parsed.address, parsed.database), (address, database), "{url}");
            assert_eq!((parsed.username, parsed.password), (None, None), "{url}");
        }
    }

    #[test]
    fn user_and_password_are_taken_and_decoded() {
        for (url, username, password) in [
            ("redis://ann:hunter2@host", Some("ann"), Some("hunter2")),
            ("redis://:hunter2@host/1", None, Some("hunter2")),
            ("redis://ann@host", Some("ann"), None),
            ("rediss://a%40b:p%2Fw%3A%40@host:1/2", Some("a@b"), Some("p/w:@")),
            ("redis+unix://ann:hunter2@/run/redis.sock", Some("ann"), Some("hunter2")),
        ] {
            let parsed = parse(url).unwrap();
            assert_eq!(parsed.username.as_deref(), username, "{url}");
            assert_eq!(parsed.password.as_ref().map(Secret::expose), password, "{url}");
        }
    }

    #[test]
    fn later_schemes_are_refused_as_such() {
        for scheme in ["redis-sentinel", "redis-cluster"] {
            let message = parse(&format!("{scheme}://a:1,b:2/x")).unwrap_err();
            assert!(message.starts_with(&format!("{scheme}:// is not supported by this version")));
        }
    }

    #[test]
    fn bad_urls_are_refused_without_being_repeated() {
        for rest in [
            "",
            "host",
            "http://host",
            "redis:host",
            "redis://",
            "redis://:6379",
            "redis://host:0",
            "redis://host:x",
            "redis://host/x",
            "redis://host/256",
            "redis://host/0/1",
            "redis://host/+1",
            "redis://host?db=1",
            "redis://a,b",
            "redis://[::1",
            "redis://h%20st",
            "redis+unix://run/x",
            "redis+unix:///x?database=1",
            "redis+unix://",
            "redis://%FF:x@host",
            "REDIS://host",
        ] {
            let message = parse(rest).unwrap_err();
            assert!(!rest.contains("host") || !message.contains(rest), "{message}");
        }
        let message = parse("redis://ann:hunter2/x@host:port").unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }
}
