//! Redis over TLS, as `rediss://`.

use crate::rig::{
    Gateway, Redis, Settings,
    process::{Process, sockway},
    settings::rooms,
    wait::until,
};
use std::{path::Path, process::Command};
use tempfile::TempDir;

/// A self-signed certificate for `localhost`, and its key.
fn certificate(directory: &Path) -> (String, String) {
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let mut openssl = Process::start(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"])
            .args(["-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &key, "-out", &certificate]),
    );
    assert_eq!(openssl.exit_code(), 0, "{}", openssl.stderr.text());
    (certificate, key)
}

/// A Redis with TLS, a gateway connected to it, and the certificate's path.
fn start(trusts: bool) -> (Redis, Gateway) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (certificate, key) = certificate(directory.path());
    let redis = Redis::start_tls(&certificate, &key);
    let url = redis.url().replace("redis://127.0.0.1", "rediss://localhost");
    let gateway = start_gateway(&url, directory, trusts.then_some(&certificate));
    (redis, gateway)
}

fn start_gateway(url: &str, directory: TempDir, trusted: Option<&String>) -> Gateway {
    let file = directory.path().join("sockway.toml");
    std::fs::write(&file, Settings::with_url(url).endpoint(rooms()).text()).expect("written");
    let mut command = sockway();
    command.arg("serve").arg("--config").arg(&file);
    if let Some(certificate) = trusted {
        command.env("SSL_CERT_FILE", certificate);
    }
    Gateway::from_command(&mut command, directory)
}

#[test]
fn messages_arrive_over_tls_from_a_redis_that_the_system_trusts() {
    let (redis, gateway) = start(true);
    gateway.wait_ready();
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "sealed");
    assert_eq!(client.text(), "sealed");
}

#[test]
fn a_redis_that_the_system_does_not_trust_is_a_reason_not_to_be_ready() {
    let (_redis, gateway) = start(false);
    until("the reason is told", || {
        gateway.admin("/readyz").text().to_ascii_lowercase().contains("certificate")
    });
    assert!(!gateway.is_ready());
}
