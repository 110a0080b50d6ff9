//! TLS on the public port, with third-party clients.

use crate::rig::{
    Certificate, Frame, Gateway, Redis, Request, Settings, Wss, client::Client, gateway::spawn,
    settings::rooms, wait::LIMIT,
};
use rustls::{ALL_VERSIONS, version};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, Message};

struct Tls {
    redis: Redis,
    gateway: Gateway,
    settings: Settings,
    certificate: Certificate,
    files: TempDir,
}

fn with(settings: Settings, certificate: &Certificate) -> Settings {
    settings
        .set("server.tls.cert_file", certificate.certificate.to_str().expect("UTF-8"))
        .set("server.tls.key_file", certificate.key.to_str().expect("UTF-8"))
}

fn start(change: impl FnOnce(Settings) -> Settings) -> Tls {
    let redis = Redis::start();
    let files = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(files.path(), "first");
    let settings = change(with(Settings::new(&redis).endpoint(rooms()), &certificate));
    let gateway = Gateway::start(&settings);
    Tls { redis, gateway, settings, certificate, files }
}

impl Tls {
    #[track_caller]
    fn open(&self, certificate: &Certificate) -> Wss {
        let trust = certificate.trusted(ALL_VERSIONS);
        Wss::open(self.gateway.address, "/ws/rooms/1", trust).expect("101")
    }
}

#[test]
fn over_the_limit_a_client_is_answered_over_tls_however_many_others_say_nothing() {
    let tls = start(|it| it.set("server.max_connections", 1));
    let _only = tls.open(&tls.certificate);
    // More than may be refused at a time, and none of them starts its TLS handshake.
    let _silent: Vec<_> =
        (0..100).map(|_| crate::rig::http::connect(tls.gateway.address)).collect();
    let trust = tls.certificate.trusted(ALL_VERSIONS);
    match Wss::open(tls.gateway.address, "/ws/rooms/1", trust) {
        Err(tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status(), 503);
            assert_eq!(answer.headers()["retry-after"], "2");
        }
        other => panic!("not refused: {:?}", other.map(|_| ())),
    }
    let full = "sockway_handshakes_refused_total{reason=\"at_capacity\"}";
    tls.gateway.wait_metric(full, 101.0);
}

#[test]
fn messages_large_and_small_arrive_over_both_versions_in_order() {
    // The client starts to read after everything is published.
    let tls = start(|it| it.without("endpoint").endpoint(rooms()));
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let trust = tls.certificate.trusted(versions);
        let mut client = Wss::open(tls.gateway.address, "/ws/rooms/1", trust).expect("101");
        for size in [1, 100, 16_384, 300_000, 2] {
            tls.redis.publish("room:1", "x".repeat(size));
        }
        for n in 0..500 {
            tls.redis.publish("room:1", n.to_string());
        }
        for size in [1, 100, 16_384, 300_000, 2] {
            assert_eq!(client.text().len(), size, "{versions:?}");
        }
        (0..500).for_each(|n| assert_eq!(client.text(), n.to_string()));
        client.send(Message::Ping(vec![0; 125].into()));
        client.send(Message::Text("y".repeat(10_000).into()));
        tls.redis.publish("room:1", "after");
        assert_eq!(client.text(), "after");
    }
}

#[test]
fn a_client_that_does_not_read_is_bounded_over_tls_too_and_its_neighbour_misses_nothing() {
    let tls = start(|it| {
        // One shard: when the neighbour has a message, the slow session has been offered it as
        // well.
        it.without("endpoint").set("server.shards", 1).endpoint(rooms().set("write_timeout", "60s"))
    });
    let mut slow = tls.open(&tls.certificate);
    let mut quick = tls.open(&tls.certificate);
    let payload = "x".repeat(64 * 1024);
    let closed = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    let missed = "sockway_missed_messages_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    let mut sent = 0;
    while tls.gateway.metrics().get(missed) == 0.0 {
        assert!(sent < 2_000, "nothing was ever too much");
        tls.redis.publish("room:1", &payload);
        assert_eq!(quick.text().len(), payload.len());
        sent += 1;
    }
    let mut received = 0;
    let end = loop {
        match slow.event() {
            Frame::Text(text) if text.len() == payload.len() => received += 1,
            other => break other,
        }
    };
    assert_eq!(end, Frame::Close(4008, "slow_consumer".to_owned()));
    drop(slow);
    tls.gateway.wait_metric(closed, 1.0);
    let lost = tls.gateway.metrics().get(missed);
    assert_eq!(f64::from(received) + lost, f64::from(sent), "received and told");
}

#[test]
fn a_renewed_certificate_is_for_new_connections_and_closes_nobody() {
    let tls = start(|settings| settings);
    let mut old = tls.open(&tls.certificate);
    let second = Certificate::make(tls.files.path(), "second");
    fs::copy(&second.certificate, &tls.certificate.certificate).expect("renewed");
    // Only one of the two files is renewed: the reload is refused as a whole.
    assert!(!tls.gateway.hang_up());
    tls.gateway.refused_because("server.tls.key_file: is not the key of the first certificate");
    fs::copy(&second.key, &tls.certificate.key).expect("renewed");
    assert!(tls.gateway.hang_up());
    let mut new = tls.open(&second);
    tls.redis.publish("room:1", "both");
    assert_eq!((old.text(), new.text()), ("both".to_owned(), "both".to_owned()));
    let plain = tls.settings.clone().without("server.tls");
    assert!(tls.gateway.reload(&plain), "TLS can be turned off");
    let mut plain = tls.gateway.open("/ws/rooms/1");
    tls.redis.publish("room:1", "all");
    assert_eq!((old.text(), plain.text()), ("all".to_owned(), "all".to_owned()));
}

#[test]
fn who_speaks_the_wrong_language_gets_a_clean_end() {
    let mut tls = start(|settings| settings);
    // Plain HTTP on the TLS port: an alert, and the end.
    let mut plain = TcpStream::connect(tls.gateway.address).expect("accepted");
    plain.set_read_timeout(Some(LIMIT)).expect("a socket option");
    plain.write_all(&Request::upgrade("/ws/rooms/1").encode()).expect("taken");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).expect("an end without a reset");
    assert_eq!(answer.first(), Some(&0x15), "a TLS alert: {answer:?}");

    assert!(tls.gateway.reload(&tls.settings.clone().without("server.tls")));
    let trust = tls.certificate.trusted(ALL_VERSIONS);
    assert!(Wss::open(tls.gateway.address, "/ws/rooms/1", trust).is_err());
    assert!(tls.gateway.process.is_running());
    Client::open(tls.gateway.address, &Request::upgrade("/ws/rooms/1"));
}

#[test]
fn the_handshake_s_time_counts_from_the_first_byte_of_tls() {
    let tls = start(|settings| settings.set("server.handshake_timeout", "1s"));
    let start = Instant::now();
    for bytes in [&b""[..], &[0x16, 3, 1, 1, 0]] {
        let mut silent = TcpStream::connect(tls.gateway.address).expect("accepted");
        silent.set_read_timeout(Some(LIMIT)).expect("a socket option");
        silent.write_all(bytes).expect("taken");
        // However it ends, it ends.
        let _ = silent.read_to_end(&mut Vec::new());
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn openssl_sees_http_1_1_the_configured_chain_and_an_orderly_end() {
    let mut tls = start(|settings| settings);
    let address = tls.gateway.address.to_string();
    let ask = |version: &str| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-connect", &address, "-alpn", "http/1.1", "-verify_return_error"])
            .args([version, "-quiet", "-servername", "localhost", "-CAfile"])
            .arg(&tls.certificate.certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let request = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.stdin.as_mut().expect("piped").write_all(request).expect("taken");
        let output = client.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("HTTP/1.1 404 "), "{version}: {said} {output:?}");
    };
    ["-tls1_2", "-tls1_3"].into_iter().for_each(ask);
    let mut client = tls.open(&tls.certificate);
    tls.gateway.terminate();
    assert_eq!(client.event(), Frame::Close(1012, "restarting".to_owned()));
    assert_eq!(client.event(), Frame::End, "close_notify, or rustls would complain");
    assert_eq!(tls.gateway.process.exit_code(), 0);
}

#[test]
fn wrong_certificates_and_keys_refuse_the_start_and_name_the_key() {
    let files = tempfile::tempdir().expect("a directory");
    let (good, other) =
        (Certificate::make(files.path(), "good"), Certificate::make(files.path(), "other"));
    let at = |name: &str| files.path().join(name);
    fs::write(at("empty"), "").expect("written");
    fs::write(at("text"), "hunter2").expect("written");
    let broken = "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n";
    fs::write(at("broken"), broken).expect("written");
    let base = || Settings::with_url("redis://127.0.0.1:1/0").endpoint(rooms());
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    for (certificate, key, says) in [
        (Some(path(&good.certificate)), None, "server.tls.key_file: is missing"),
        (None, Some(path(&good.key)), "server.tls.cert_file: is missing"),
        (Some(path(&good.certificate)), Some(path(&other.key)), "server.tls.key_file: is not the"),
        (Some(path(&at("absent"))), Some(path(&good.key)), "server.tls.cert_file: cannot read"),
        (Some(path(&good.certificate)), Some(path(&at("empty"))), "server.tls.key_file: "),
        (Some(path(&at("text"))), Some(path(&good.key)), "server.tls.cert_file: holds no cert"),
        (Some(path(&at("broken"))), Some(path(&good.key)), "server.tls.cert_file: is not correct"),
        (Some(path(&good.key)), Some(path(&good.key)), "server.tls.cert_file: holds no cert"),
        (
            Some(path(&good.certificate)),
            Some(path(&good.certificate)),
            "server.tls.key_file: holds no private key",
        ),
    ] {
        let mut settings = base();
        if let Some(certificate) = certificate {
            settings = settings.set("server.tls.cert_file", certificate);
        }
        if let Some(key) = key {
            settings = settings.set("server.tls.key_file", key);
        }
        let (mut process, _directory) = spawn(&settings);
        assert_eq!(process.exit_code(), 78, "{says}");
        let output = process.stderr.text();
        assert!(output.contains(says) && !output.contains("hunter2"), "{says}\n{output}");
    }
}
