//! `redis.url`. Messages never repeat the URL: it may hold a password.

use super::{RedisAddress, address};
use crate::secret::{Secret, without_newline};
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
    let password = without_newline(&password);
    if password.is_empty() && user.contains(':') {
        return Err("has a \":\" before its \"@\" and no password between them".to_owned());
    }
    let password = (!password.is_empty()).then(|| Secret::new(password.to_owned()));
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
mod tests;
