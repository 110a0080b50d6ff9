//! Addresses as proxies and clients write them.

use super::*;
use hyper::header::HeaderValue;

fn trusted() -> Vec<IpNet> {
    ["127.0.0.0/8", "10.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn behind(lines: &[&'static str]) -> Option<IpAddr> {
    let headers: HeaderMap =
        lines.iter().map(|line| (X_FORWARDED_FOR, HeaderValue::from_static(line))).collect();
    reported(address("127.0.0.1"), &headers, &trusted())
}

#[test]
fn only_trusted_peers_and_unix_sockets_are_proxies() {
    assert!(is_proxy(address("127.0.0.9"), &trusted()));
    assert!(is_proxy(address("::ffff:127.0.0.1"), &trusted()));
    assert!(is_proxy(None, &trusted()));
    assert!(!is_proxy(address("192.0.2.1"), &trusted()));
}

#[test]
fn the_right_most_untrusted_address_is_the_client() {
    for (lines, client) in [
        (vec!["192.0.2.1"], "192.0.2.1"),
        (vec!["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
        (vec!["192.0.2.1, 10.0.0.7"], "192.0.2.1"),
        (vec!["192.0.2.1", "10.0.0.7, 10.0.0.8"], "192.0.2.1"),
        (vec!["1.1.1.1", "192.0.2.1"], "192.0.2.1"),
        (vec!["192.0.2.1:4711"], "192.0.2.1"),
        (vec!["2001:db8::1"], "2001:db8::1"),
        (vec!["[2001:db8::1]"], "2001:db8::1"),
        (vec!["[2001:db8::1]:4711"], "2001:db8::1"),
        (vec!["10.0.0.1, 10.0.0.7"], "10.0.0.1"),
        (vec!["fe80::1%eth0"], "fe80::1"),
        (vec!["[fe80::1%25eth0]:80"], "fe80::1"),
        (vec!["\"192.0.2.1\""], "192.0.2.1"),
        (vec!["\"[2001:db8::1]:4711\", 10.0.0.7"], "2001:db8::1"),
        (vec![], "127.0.0.1"),
    ] {
        assert_eq!(behind(&lines), address(client), "{lines:?}");
    }
}

#[test]
fn what_is_not_an_address_ends_the_search_at_the_last_proxy() {
    for (lines, client) in [
        (vec!["192.0.2.1, unknown"], "127.0.0.1"),
        (vec!["192.0.2.1, unknown, 10.0.0.7"], "10.0.0.7"),
        (vec!["192.0.2.1, \"\""], "127.0.0.1"),
    ] {
        assert_eq!(behind(&lines), address(client), "{lines:?}");
    }
}

#[test]
fn empty_items_of_the_list_say_nothing() {
    for (lines, client) in [
        (vec![""], "127.0.0.1"),
        (vec![" , ,"], "127.0.0.1"),
        (vec!["192.0.2.1,"], "192.0.2.1"),
        (vec!["192.0.2.1, ,"], "192.0.2.1"),
        (vec!["192.0.2.1,,10.0.0.1"], "192.0.2.1"),
        (vec!["192.0.2.1", ""], "192.0.2.1"),
    ] {
        assert_eq!(behind(&lines), address(client), "{lines:?}");
    }
}

/// Who is counted when a client wrote `hostile` and the proxy added the client's own address.
fn behind_a_proxy_that_adds(hostile: &[u8], own: &str) -> Option<IpAddr> {
    let line = [hostile, b", ", own.as_bytes()].concat();
    let line = HeaderValue::from_bytes(&line).unwrap();
    let headers: HeaderMap = [(X_FORWARDED_FOR, line)].into_iter().collect();
    reported(address("127.0.0.1"), &headers, &trusted())
}

#[test]
fn nothing_that_a_client_writes_changes_whom_the_proxy_reports() {
    let thousand = vec!["10.0.0.1"; 1000].join(", ");
    for hostile in [
        &b"10.0.0.1"[..],
        b"127.0.0.1",
        b"::1",
        b"127.0.0.1, 127.0.0.1",
        b"fe80::1%eth0",
        b"192.0.2.9:99999",
        b"for=192.0.2.9;by=127.0.0.1",
        b"\"192.0.2.9\"",
        b",,,, ,",
        b"0x7f.1",
        b"2130706433",
        b"\xff\xfe",
        thousand.as_bytes(),
    ] {
        let client = behind_a_proxy_that_adds(hostile, "192.0.2.1");
        assert_eq!(client, address("192.0.2.1"), "{}", hostile.escape_ascii());
    }
}

#[test]
fn what_only_looks_like_an_address_is_none() {
    for entry in [
        "fe80::1%",
        "%eth0",
        "192.0.2.1%eth0",
        "\"192.0.2.1",
        "\"\"192.0.2.1\"\"",
        "192.0.2.1:99999",
        "192.0.2.1:",
        ":80",
        "[]",
        "[192.0.2.1",
        "192.0.2",
        "192.0.2.256",
        "0192.0.2.1",
        "0x7f.0.0.1",
        "2130706433",
        "::ffff:192.0.2.1.5",
        "2001:db8::1::2",
        "unknown",
        "_hidden",
        "localhost",
        "\u{661}.1.1.1",
    ] {
        assert_eq!(parse(entry), None, "{entry}");
    }
    assert_eq!(parse("::ffff:10.0.0.1"), address("10.0.0.1"), "one address has one form");
    assert_eq!(parse("[192.0.2.1]"), address("192.0.2.1"));
}

#[test]
fn ten_thousand_trusted_entries_are_walked_and_end_at_the_last() {
    let list = vec!["10.0.0.9"; 10_000].join(",");
    let headers: HeaderMap =
        [(X_FORWARDED_FOR, HeaderValue::from_str(&list).unwrap())].into_iter().collect();
    let client = reported(address("127.0.0.1"), &headers, &trusted());
    assert_eq!(client, address("10.0.0.9"));
}

#[test]
fn one_ipv6_network_and_one_ipv4_address_count_as_one() {
    let key = |text: &str| AddressKey::new(text.parse().unwrap());
    assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
    assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}
