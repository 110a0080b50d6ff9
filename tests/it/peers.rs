//! Third-party clients.

use crate::rig::{
    Certificate, Gateway, Redis, Settings, left_out,
    process::Process,
    python::{NO_PYTHON, python},
    settings::{notifications, rooms},
    token,
};
use std::process::Command;

/// Starts the peer and waits for the result of its handshake.
fn receive(python: &str, arguments: &[&str]) -> (Process, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/peers/receive.py");
    let peer = Process::start(Command::new(python).arg(script).args(arguments));
    let first = peer.stdout.wait_for("the peer's handshake", |line| Some(line.clone()));
    (peer, first)
}

#[test]
fn python_websockets_gets_every_message_and_the_close() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms().set("ping_interval", "100ms"));
    let mut gateway = Gateway::start(&settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let (mut peer, first) = receive(&python, &[&url]);
    assert_eq!(first, "open None");
    redis.publish("room:1", "hello");
    redis.publish("room:1", b"\xff\xfe");
    redis.publish("room:1", "x".repeat(300_000));
    peer.stdout.wait_for("the large one", |line| line.starts_with("text 300000").then_some(()));
    gateway.terminate();
    assert_eq!(peer.exit_code(), 0, "{}", peer.stderr.text());
    let said = peer.stdout.all();
    assert_eq!(said[1], "text 5 hello");
    assert_eq!(said[2], "binary 2 b'\\xff\\xfe'");
    assert_eq!(said[4], "closed 1012 restarting");
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn python_websockets_does_the_same_over_tls() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let redis = Redis::start();
    let files = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(files.path(), "peer");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let settings = Settings::new(&redis)
        .endpoint(rooms())
        .set("server.tls.cert_file", path(&certificate.certificate))
        .set("server.tls.key_file", path(&certificate.key));
    let mut gateway = Gateway::start(&settings);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/peers/receive.py");
    let url = format!("wss://localhost:{}/ws/rooms/1", gateway.address.port());
    let mut command = Command::new(python);
    // Where Python's `ssl` looks for trusted certificates.
    command.env("SSL_CERT_FILE", &certificate.certificate).args([script, &url]);
    let mut peer = Process::start(&mut command);
    peer.stdout.wait_for("the handshake", |line| (line == "open None").then_some(()));
    redis.publish("room:1", "hello");
    redis.publish("room:1", "x".repeat(300_000));
    peer.stdout.wait_for("the large one", |line| line.starts_with("text 300000").then_some(()));
    gateway.terminate();
    assert_eq!(peer.exit_code(), 0, "{}", peer.stderr.text());
    assert_eq!(peer.stdout.all()[1], "text 5 hello");
    assert_eq!(peer.stdout.all()[3], "closed 1012 restarting");
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn python_websockets_can_bring_its_token_as_a_subprotocol_and_is_refused_without() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(notifications()));
    let url = format!("ws://{}/ws/me", gateway.address);
    let (peer, first) = receive(&python, &[&url, "bearer", &token::of("ann")]);
    assert_eq!(first, "open bearer");
    redis.publish("user:ann", "hello");
    peer.stdout.wait_for("the message", |line| (line == "text 5 hello").then_some(()));
    let (_peer, first) = receive(&python, &[&url]);
    assert_eq!(first, "refused 401");
}
