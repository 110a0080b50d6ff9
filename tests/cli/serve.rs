//! `sockway serve` as an operator sees it: start, health, signals, drain, exit status. Without
//! Redis: a gateway must run, and stop, without one.

use crate::{port::HeldPort, process::Sockway};
use rustix::process::Signal;
use std::{
    fs,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    process::Command,
};
use tempfile::TempDir;

/// A running gateway, and the file it was started with.
struct Gateway {
    process: Sockway,
    _folder: TempDir,
    admin: String,
}

fn configuration(listen: &str, admin: &str, readiness_delay: &str) -> String {
    // Nothing ever listens on port 1 of the loopback address.
    format!(
        r#"
[server]
listen = "{listen}"
shards = 2
max_connections = 50
[admin]
listen = "{admin}"
[redis]
url = "redis://127.0.0.1:1/0"
[[endpoint]]
name = "rooms"
path = "/ws/rooms/{{room}}"
channels = ["room:{{path.room}}"]
auth = "none"
[log]
format = "json"
[shutdown]
readiness_delay = "{readiness_delay}"
spread = "100ms"
timeout = "60s"
"#
    )
}

fn spawn(text: &str) -> (Sockway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sockway.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockway"));
    (Sockway::start(command.arg("serve").arg("--config").arg(file)), folder)
}

impl Gateway {
    fn start(readiness_delay: &str) -> Self {
        Self::start_at("127.0.0.1:0", readiness_delay)
    }

    fn start_at(admin: &str, readiness_delay: &str) -> Self {
        let (process, _folder) = spawn(&configuration("127.0.0.1:0", admin, readiness_delay));
        let admin = process.noted("it listens", |line| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            (record["message"] == "listening").then(|| record["admin"].as_str().unwrap().to_owned())
        });
        Self { process, _folder, admin }
    }

    fn ask(&self, arguments: &[&str]) -> Sockway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockway"));
        Sockway::start(command.args(arguments).args(["--admin", &self.admin]))
    }
}

#[test]
fn a_gateway_without_redis_is_alive_and_not_ready_and_stops_as_asked() {
    let mut gateway = Gateway::start("0s");
    assert_eq!(gateway.ask(&["health"]).exit_status(), Some(0));
    let mut ready = gateway.ask(&["health", "--ready"]);
    assert_eq!(ready.exit_status(), Some(1));
    ready.noted("why it is not ready", |line| line.contains("starting").then_some(()));

    gateway.process.signal(Signal::TERM);
    assert_eq!(gateway.process.exit_status(), Some(0));
}

#[test]
fn a_hangup_reloads_and_ends_nothing() {
    let mut gateway = Gateway::start("0s");
    gateway.process.signal(Signal::HUP);
    gateway.process.noted("the reload", |line| line.contains("reloaded").then_some(()));
    assert!(gateway.process.is_running());
    assert_eq!(gateway.ask(&["health"]).exit_status(), Some(0));
}

#[test]
fn a_drain_returns_when_the_gateway_has_ended() {
    let mut gateway = Gateway::start("300ms");
    assert_eq!(gateway.ask(&["drain"]).exit_status(), Some(0));
    // The port is closed a moment before the process exits; nothing may delay that exit.
    assert_eq!(gateway.process.exit_status(), Some(0));
}

#[test]
fn the_first_signal_waits_and_the_second_does_not_but_a_drain_is_no_signal() {
    let mut gateway = Gateway::start("50s");
    let _draining = gateway.ask(&["drain"]);
    gateway.process.noted("it leaves", |line| line.contains("\"terminating\"").then_some(()));
    gateway.process.signal(Signal::TERM);
    gateway.process.noted("the signal", |line| line.contains("SIGTERM").then_some(()));
    let mut ready = gateway.ask(&["health", "--ready"]);
    assert_eq!(ready.exit_status(), Some(1));
    ready.noted("why it is not ready", |line| line.contains("draining").then_some(()));
    assert!(gateway.process.is_running());

    gateway.process.signal(Signal::INT);
    assert_eq!(gateway.process.exit_status(), Some(0));
    gateway.process.noted("how", |line| line.contains("stopping hard").then_some(()));
}

#[test]
fn a_port_in_use_ends_the_start_with_1_and_one_line_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, admin, key) in [
        (address.as_str(), "127.0.0.1:0", "server.listen"),
        ("127.0.0.1:0", address.as_str(), "admin.listen"),
    ] {
        let (mut process, _folder) = spawn(&configuration(listen, admin, "0s"));
        assert_eq!(process.exit_status(), Some(1), "{key}");
        process.noted("the reason", |line| {
            let names = line.contains(&address) && line.contains(key) && line.contains("in use");
            names.then_some(())
        });
    }
}

#[test]
fn the_admin_port_is_gone_when_the_gateway_is() {
    let port = HeldPort::new().unwrap();
    let mut gateway = Gateway::start_at(&port.address().to_string(), "0s");
    gateway.process.signal(Signal::INT);
    assert_eq!(gateway.process.exit_status(), Some(0));
    let refused = TcpStream::connect(port.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
