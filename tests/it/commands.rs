//! The commands other than `serve`, end to end.

use crate::rig::{
    Gateway, HeldPort, Redis, Settings,
    process::{Process, sockway},
    settings::{notifications, rooms},
    wait::{LIMIT, until, within},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::File,
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _, pipe},
    net::TcpStream,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

fn start(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&change(settings));
    (redis, gateway)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = sockway();
    command.args(arguments);
    command
}

/// Runs a command to its end.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut process = Process::start(&mut command(arguments));
    (process.exit_code(), process.stdout.text(), process.stderr.text())
}

#[test]
fn token_mints_what_the_gateway_accepts() {
    let (redis, gateway) = start(|settings| {
        settings.set("auth.jwt.audience", vec!["shop"]).set("auth.jwt.issuer", vec!["me"])
    });
    let file = gateway.config_file();
    let file = file.to_str().expect("UTF-8");
    let (code, token, _) = run(&["token", "--config", file, "--user", "42", "--ttl", "10m"]);
    assert_eq!(code, 0);
    let mut client = gateway.open_with(token.trim(), "/ws/me");
    redis.publish("user:42", "hello");
    assert_eq!(client.text(), "hello");
}

#[test]
fn token_can_set_claims_and_refuses_what_makes_no_sense() {
    let (_redis, gateway) = start(|settings| {
        let endpoint =
            crate::rig::Endpoint::new("tenants", "/ws/tenant", &["tenant:{claim.tenant}"]);
        settings.endpoint(endpoint.set("format", "json"))
    });
    let file = gateway.config_file();
    let file = file.to_str().expect("UTF-8");
    let minted = run(&["token", "--config", file, "--user", "42", "--claim", "tenant=acme"]);
    assert_eq!(minted.0, 0, "{minted:?}");
    let mut client = gateway.open_with(minted.1.trim(), "/ws/tenant");
    assert_eq!(client.json()["channels"][0], "tenant:acme");

    for arguments in [
        &["token", "--config", file][..],
        &["token", "--config", file, "--user", "42", "--ttl", "soon"],
        &["token", "--config", file, "--user", "42", "--claim", "tenant"],
    ] {
        assert_eq!(run(arguments).0, 64, "{arguments:?}");
    }
    assert_eq!(run(&["token", "--config", "/nowhere.toml", "--user", "42"]).0, 78);
}

#[test]
fn check_says_ok_or_every_problem() {
    let (_redis, gateway) = start(|settings| settings);
    let file = gateway.config_file();
    let (code, output, _) = run(&["check", file.to_str().expect("UTF-8")]);
    assert_eq!((code, output.trim()), (0, "ok"));

    let (code, printed, _) = run(&["check", "--print", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 0);
    let printed: toml::Table = printed.parse().expect("the effective configuration is TOML");
    assert_eq!(printed["server"]["handshake_timeout"].as_str(), Some("10s"), "a default");
    assert_eq!(printed["redis"]["linger"].as_str(), Some("50ms"), "what was set");

    std::fs::write(&file, "[server]\nlisten = 5\ncolour = \"blue\"\n").expect("written");
    let (code, _, problems) = run(&["check", file.to_str().expect("UTF-8")]);
    assert_eq!(code, 78);
    for part in ["listen", "colour", "2:", "3:", "endpoint", "sockway.toml"] {
        assert!(problems.contains(part), "{part} is not in\n{problems}");
    }
}

/// A `sockway listen` that is connected.
fn listening(arguments: &[&str]) -> Process {
    let listen = Process::start(&mut command(arguments));
    listen.stderr.wait_for("it is connected", |line| (line == "connected").then_some(()));
    listen
}

#[test]
fn listen_prints_what_arrives_and_how_it_ended() {
    let (redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/me", gateway.address);
    let token = crate::rig::token::of("ann");
    let mut listen = listening(&["listen", &url, "--token", &token]);
    redis.publish("user:ann", "first");
    redis.publish("user:ann", "second");
    listen.stdout.wait_for("the second message", |line| (line == "second").then_some(()));
    assert_eq!(listen.stdout.text(), "first\nsecond");
    gateway.terminate();
    assert_eq!(listen.exit_code(), 1, "it did not end by itself");
    assert!(listen.stderr.text().contains("1012"), "{}", listen.stderr.text());
}

#[test]
fn listen_ends_with_0_by_any_signal_that_asks_it_to() {
    let (_redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut listen = listening(&["listen", &url]);
        listen.signal(signal);
        assert_eq!(listen.exit_code(), 0, "{signal:?}");
    }
}

#[test]
fn listen_obeys_a_signal_while_nobody_reads_what_it_prints() {
    let (redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let mut listen = command(&["listen", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    // More than a pipe holds; read by nobody.
    for _ in 0..4 {
        redis.publish("room:1", "x".repeat(60_000));
    }
    gateway.wait_metric("sockway_deliveries_total{endpoint=\"rooms\"}", 4.0);
    kill_process(Pid::from_child(&listen), Signal::TERM).expect("it runs");
    let status = within(LIMIT, "it ends", || listen.try_wait().expect("it is ours"));
    assert_eq!(status.code(), Some(0));
}

/// A pipe that is full, and its reader.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a descriptor");
    let (written, so_far) = mpsc::channel();
    thread::spawn(move || while filler.write_all(b"full").is_ok() && written.send(()).is_ok() {});
    // Full is when no write has returned for a while.
    while so_far.recv_timeout(Duration::from_millis(300)).is_ok() {}
    (reader, writer)
}

#[test]
fn listen_prints_and_obeys_a_signal_while_nobody_reads_its_stderr() {
    let (redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let (_reader, stderr) = full_pipe();
    let (stdout, its_stdout) = pipe().expect("a pipe");
    let mut command = command(&["listen", &url]);
    let mut listen =
        command.stdin(Stdio::null()).stdout(its_stdout).stderr(stderr).spawn().expect("it starts");
    drop(command);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    redis.publish("room:1", "hello");
    let (printed, line) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| printed.send(line))
    });
    let line = line.recv_timeout(LIMIT);
    kill_process(Pid::from_child(&listen), Signal::TERM).expect("it runs");
    let status = within(LIMIT, "it ends", || listen.try_wait().expect("it is ours"));
    assert_eq!((line.as_deref(), status.code()), (Ok("hello\n"), Some(0)));
}

#[test]
fn listen_ends_with_0_when_its_reader_leaves_on_a_quiet_channel_and_with_1_when_the_disk_is_full() {
    let (redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let (reader, stdout) = pipe().expect("a pipe");
    let mut quiet = command(&["listen", &url]);
    let mut listen = quiet.stderr(Stdio::null()).stdout(stdout).spawn().expect("it starts");
    drop(quiet);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    drop(reader);
    let status = within(LIMIT, "it ends", || listen.try_wait().expect("it is ours"));
    assert_eq!(status.code(), Some(0));
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);

    let full = File::create("/dev/full").expect("Linux has it");
    let mut full = command(&["listen", &url]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    redis.publish("room:1", "hello");
    let status = within(LIMIT, "it ends", || full.try_wait().expect("it is ours"));
    let said = std::io::read_to_string(full.stderr.take().expect("piped")).expect("text");
    assert!(status.code() == Some(1) && said.contains("No space left"), "{status}: {said}");
}

#[test]
fn a_drain_that_a_signal_ends_says_that_it_is_not_done() {
    let (_redis, gateway) = start(|settings| {
        settings.set("shutdown.readiness_delay", "20s").set("shutdown.timeout", "30s")
    });
    let admin = gateway.admin.to_string();
    let mut drain = Process::start(&mut command(&["drain", "--admin", &admin]));
    until("the drain has begun", || gateway.admin("/status").json()["phase"] == "terminating");
    drain.signal(Signal::TERM);
    assert_eq!(drain.exit_code(), 1);
    assert!(drain.stderr.text().contains("SIGTERM"), "{}", drain.stderr.text());
}

#[test]
fn listen_ends_with_1_and_the_code_when_its_user_is_revoked() {
    let (redis, gateway) = start(|settings| settings);
    let url = format!("ws://{}/ws/me", gateway.address);
    let mut listen = listening(&["listen", &url, "--token", &crate::rig::token::of("ann")]);
    redis.wait_numsub("sockway:control", 1);
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    assert_eq!(listen.exit_code(), 1);
    assert!(listen.stderr.text().ends_with("closed: 3000 revoked"), "{}", listen.stderr.text());
    let (code, help, _) = run(&["listen", "--help"]);
    assert!(code == 0 && help.contains("Exit status: 0 when you end it"), "{help}");
}

#[test]
fn listen_ends_with_0_when_interrupted_and_tells_a_refusal() {
    let (redis, gateway) = start(|settings| settings);
    let room = format!("ws://{}/ws/rooms/1", gateway.address);
    let mut listen = listening(&["listen", &room]);
    redis.publish("room:1", "hello");
    listen.stdout.wait_for("the message", |line| (line == "hello").then_some(()));
    listen.signal(Signal::INT);
    assert_eq!(listen.exit_code(), 0);

    let me = format!("ws://{}/ws/me", gateway.address);
    let (code, _, error) = run(&["listen", &me]);
    assert_eq!(code, 1);
    assert!(error.contains("401") && error.contains("token_missing"), "{error}");
    assert_eq!(run(&["listen", "ws://127.0.0.1:1/"]).0, 1);
}

#[test]
fn health_tells_alive_and_ready_apart() {
    let mut redis = Redis::absent();
    let port = HeldPort::new().expect("a free port");
    let admin = port.address().to_string();
    let settings = Settings::new(&redis).set("admin.listen", admin.as_str());
    let gateway = Gateway::start_unready(&settings.endpoint(rooms()));
    assert_eq!(run(&["health", "--admin", &admin]).0, 0);
    assert_eq!(run(&["health", "--ready", "--admin", &admin]).0, 1);
    redis.begin();
    gateway.wait_ready();
    assert_eq!(run(&["health", "--ready", "--admin", &admin]).0, 0);
    drop(gateway);
    assert_eq!(run(&["health", "--admin", &admin]).0, 1);
}

#[test]
fn drain_starts_the_stop_sequence_and_waits_for_its_end() {
    let port = HeldPort::new().expect("a free port");
    let admin = port.address().to_string();
    let (_redis, mut gateway) = start(|settings| {
        settings.set("shutdown.spread", "500ms").set("admin.listen", admin.as_str())
    });
    let mut client = gateway.open("/ws/rooms/1");
    let mut drain = Process::start(&mut command(&["drain", "--admin", &admin]));
    client.assert_closed(1012, "restarting");
    assert_eq!(drain.exit_code(), 0);
    // It has waited for the end: the admin port is closed.
    assert!(TcpStream::connect(gateway.admin).is_err());
    assert_eq!(gateway.process.exit_within(LIMIT).code(), Some(0));
    assert_eq!(run(&["drain", "--admin", &admin]).0, 1, "there is nobody to drain");
}

#[test]
fn a_signal_after_a_drain_does_not_cut_it_short() {
    let (_redis, mut gateway) = start(|settings| {
        settings.set("shutdown.spread", "0s").set("shutdown.readiness_delay", "3s")
    });
    let mut client = gateway.open("/ws/rooms/1");
    let admin = gateway.admin.to_string();
    let mut drain = Process::start(&mut command(&["drain", "--admin", &admin]));
    until("it is terminating", || gateway.admin("/status").json()["phase"] == "terminating");
    gateway.terminate();
    client.assert_closed(1012, "restarting");
    assert_eq!(drain.exit_code(), 0);
    assert_eq!(gateway.process.exit_code(), 0);
}
