//! Every form of `redis.url`, and what is refused.

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
        ("rediss://cache.example.com:6380/15", tcp_address("cache.example.com", 6380, true), 15),
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
