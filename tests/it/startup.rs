//! Starts that cannot succeed: one clear line, the right exit status, at once.

use crate::rig::{
    Gateway, Redis, Settings,
    gateway::spawn,
    process::{Process, sockway},
    settings::{Endpoint, notifications, rooms},
};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// A correct configuration whose Redis does not exist: the start does not wait for it.
fn settings() -> Settings {
    Settings::with_url("redis://127.0.0.1:1/0").endpoint(rooms())
}

fn run(arguments: &[&str]) -> (i32, String) {
    let mut process = Process::start(sockway().args(arguments));
    (process.exit_code(), process.stdout.text() + &process.stderr.text())
}

/// The exit code and the output of `serve` with these settings.
fn serve(settings: &Settings) -> (i32, String) {
    let (mut process, _directory) = spawn(settings);
    let code = process.exit_code();
    (code, process.stdout.text() + &process.stderr.text())
}

#[test]
fn a_port_in_use_exits_1_with_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for key in ["server.listen", "admin.listen"] {
        let start = Instant::now();
        let (mut process, _directory) = spawn(&settings().set(key, address.as_str()));
        assert_eq!(process.exit_code(), 1, "{key}");
        assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
        let naming: Vec<_> =
            process.stderr.all().into_iter().filter(|line| line.contains(&address)).collect();
        assert_eq!(naming.len(), 1, "{naming:?}");
        assert!(naming[0].to_ascii_lowercase().contains("in use"), "{naming:?}");
    }
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once_and_exits_78() {
    let broken = settings()
        .set("server.handshake_timeout", "soon")
        .set("server.max_connections", 0)
        .set("server.colour", "blue")
        .set("redis.url", "http://redis")
        .set("auth.reject", "politely")
        .set("shutdown.timeout", 20)
        .endpoint(Endpoint::new("bad", "no-slash", &["room:{nonsense}"]).open())
        .endpoint(rooms().set("queue_bytes", "much"));
    let (code, output) = serve(&broken);
    assert_eq!(code, 78, "{output}");
    for key in [
        "handshake_timeout",
        "max_connections",
        "colour",
        "redis.url",
        "reject",
        "timeout",
        "path",
        "channels",
        "queue_bytes",
        "sockway.toml",
    ] {
        assert!(output.contains(key), "{key} is not named in\n{output}");
    }
}

#[test]
fn contradictions_and_ambiguities_exit_78() {
    let cookie_without_origins = settings().set("auth.sources", vec!["cookie:session"]);
    let twice_the_same_path = settings().endpoint(rooms().set("name", "other"));
    let twice_the_same_name = settings().endpoint(rooms().set("path", "/other/{room}"));
    let two_secrets = settings().set("auth.jwt.secret_file", "/dev/null");
    let token_needed_but_no_key = settings().without("auth.jwt.secret").endpoint(notifications());
    let no_endpoint = settings().without("endpoint");
    let user_without_token =
        settings().endpoint(Endpoint::new("odd", "/odd", &["user:{user}"]).open());
    for (what, broken) in [
        ("cookie without origins", cookie_without_origins),
        ("one path twice", twice_the_same_path),
        ("one name twice", twice_the_same_name),
        ("two secrets", two_secrets),
        ("no key", token_needed_but_no_key),
        ("no endpoint", no_endpoint),
        ("{user} without a token", user_without_token),
    ] {
        let (code, output) = serve(&broken);
        assert_eq!(code, 78, "{what}: {output}");
    }
}

#[test]
fn what_this_version_cannot_do_yet_is_refused_and_not_silently_accepted() {
    for (key, value) in [
        ("redis.url", "redis-sentinel://127.0.0.1:26379/mymaster"),
        ("redis.url", "redis-cluster://127.0.0.1:7000"),
    ] {
        let (code, output) = serve(&settings().set(key, value));
        assert_eq!(code, 78, "{key} = {value}: {output}");
        let last = key.rsplit('.').next().expect("a key");
        assert!(output.contains(last) || output.contains("tls"), "{key}: {output}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_exits_78() {
    let (code, output) = run(&["serve", "--config", "/nowhere/sockway.toml"]);
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("/nowhere/sockway.toml"), "{output}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("broken.toml");
    for bytes in [&b"[server"[..], b"\xFF\xFE", b"listen = \n", b""] {
        std::fs::write(&file, bytes).expect("written");
        let (code, output) = run(&["serve", "--config", file.to_str().expect("UTF-8")]);
        assert_eq!(code, 78, "{output}");
    }
}

#[test]
fn wrong_usage_exits_64_and_help_and_version_exit_0() {
    for arguments in [&[][..], &["nonsense"], &["serve"], &["serve", "--port", "1"], &["check"]] {
        let (code, output) = run(arguments);
        assert_eq!(code, 64, "{arguments:?}: {output}");
        assert!(output.to_ascii_lowercase().contains("usage"), "{output}");
    }
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        assert_eq!(run(arguments).0, 0, "{arguments:?}");
    }
}

#[test]
fn values_expand_from_the_environment() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("redis.url", "redis://${SOCKWAY_TEST_UNSET:-127.0.0.1}:${SOCKWAY_TEST_PORT}/0")
        .endpoint(rooms());
    let (code, output) = serve(&settings);
    assert_eq!(code, 78, "a variable that is not set is a problem: {output}");
    assert!(output.contains("SOCKWAY_TEST_PORT"), "{output}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    std::fs::write(&file, settings.text()).expect("written");
    let port = redis.address().rsplit_once(':').expect("an address").1.to_owned();
    let mut command = sockway();
    command.env("SOCKWAY_TEST_PORT", port).arg("serve").arg("--config").arg(&file);
    let gateway = Gateway::from_command(&mut command, directory);
    gateway.wait_ready();
}
