//! Listen addresses, networks and origins, as they are written.

use super::*;

#[test]
fn listen_addresses_are_a_socket_or_an_absolute_unix_path() {
    assert_eq!(listen("[::]:8080"), Ok(ListenAddress::Tcp("[::]:8080".parse().unwrap())));
    assert_eq!(listen("unix:/run/ws.sock"), Ok(ListenAddress::Unix("/run/ws.sock".into())));
    let long = format!("unix:/{}", "x".repeat(107));
    for text in [
        "",
        "8080",
        ":8080",
        "localhost:8080",
        "1.2.3.4",
        "1.2.3.4:70000",
        "unix:",
        "unix:ws.sock",
        &long,
    ] {
        assert!(listen(text).is_err(), "{text}");
    }
}

#[test]
fn listeners_collide_on_one_port_unless_their_addresses_differ() {
    for (public, admin, collides) in [
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ("[::ffff:0.0.0.0]:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "[::]:80", true),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("unix:/ws", "127.0.0.1:80", false),
    ] {
        let (public, admin) = (listen(public).unwrap(), admin.parse().unwrap());
        assert_eq!(collide(&public, admin), collides, "{public:?} {admin}");
    }
}

#[test]
fn one_address_is_a_network_too() {
    assert_eq!(network("10.0.0.0/8"), Ok("10.0.0.0/8".parse().unwrap()));
    assert_eq!(network("10.0.0.1"), Ok("10.0.0.1/32".parse().unwrap()));
    assert_eq!(network("::1"), Ok("::1/128".parse().unwrap()));
    for (mapped, plain) in [
        ("::ffff:127.0.0.0/104", "127.0.0.0/8"),
        ("::ffff:7f00:0/104", "127.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ] {
        assert_eq!(network(mapped), Ok(plain.parse().unwrap()), "{mapped}");
    }
    for unclear in ["::ffff:0:0/95", "::ffff:127.0.0.0/8"] {
        assert!(network(unclear).unwrap_err().contains("IPv4"), "{unclear}");
    }
    for (written, meant) in [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:127.0.0.1/104", "127.0.0.0/8"),
        ("::127.0.0.1/104", "127.0.0.0/8"),
        ("::127.0.0.0/104", "127.0.0.0/8"),
        ("::10.1.2.3", "10.1.2.3/32"),
    ] {
        let problem = network(written).unwrap_err();
        assert!(problem.contains(&format!("{meant:?}")), "{written}: {problem}");
    }
    for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.0/"] {
        assert!(network(text).is_err(), "{text}");
    }
}

#[test]
fn a_network_of_all_addresses_has_those_of_ipv4_too() {
    let read = |texts: &[&str]| with_ipv4(texts.iter().map(|it| network(it).unwrap()).collect());
    let nets = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect::<Vec<IpNet>>();
    assert_eq!(read(&["::/0"]), nets(&["::/0", "0.0.0.0/0"]));
    assert_eq!(read(&["::/80"]), nets(&["::/80", "0.0.0.0/0"]));
    assert_eq!(read(&["::1", "2000::/3"]), nets(&["::1/128", "2000::/3"]));
    assert_eq!(read(&["10.0.0.0/8"]), nets(&["10.0.0.0/8"]));
}

#[test]
fn origins_are_kept_as_browsers_send_them() {
    for (text, sent) in [
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.com:443", "https://example.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert_eq!(origin(text), Ok(OriginRule::Exact(sent.to_owned())), "{text}");
    }
    let below = origin("https://*.example.com:8443").unwrap();
    assert!(below.allows("https://a.b.example.com:8443"));
    assert!(below.allows("https://a_b.example.com:8443"), "allowed by its name, too");
    assert!(!below.allows("https://example.com:8443") && !below.allows("https://a.example.com"));
}

#[test]
fn what_no_browser_sends_is_not_an_origin() {
    for text in [
        "",
        "*",
        "null",
        "example.com",
        "https://",
        "https://example.com/",
        "https://a/b",
        "https://*",
        "https://*.",
        "https://*.1",
        "https://a.*.com",
        "https://*a.com",
        "https://a:0",
        "https://a:99999",
        "https://a:+1",
        "https://a:",
        "https://user@a",
        "https://a b",
        "https://ä.de",
        "https://[::1",
        "https://[x]",
        "1http://a",
        "://a",
        "https://a..b",
    ] {
        assert!(origin(text).is_err(), "{text}");
    }
}

#[test]
fn a_socket_s_mode_is_octal_and_lets_somebody_connect() {
    for (text, mode) in [("0660", 0o660), ("660", 0o660), ("0600", 0o600), ("022", 0o022)] {
        assert_eq!(socket_mode(text), Ok(mode), "{text}");
    }
    for text in
        ["", "0", "66", "00660", "0o660", "1660", "4755", "0668", "+66", "rw-rw----", " 660"]
    {
        assert!(socket_mode(text).is_err_and(|it| it.contains("octal")), "{text}");
    }
    for text in ["0000", "0555", "444"] {
        assert!(socket_mode(text).is_err_and(|it| it.contains("nobody")), "{text}");
    }
}
