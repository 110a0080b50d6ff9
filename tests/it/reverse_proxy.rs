//! The reverse proxies of `deploy/`, unchanged but for addresses and file names: real nginx and
//! real Caddy in front of the gateway, and no token in anything that they write.

use crate::rig::{
    Client, Gateway, HeldPort, Redis, Request, Settings, events, http, left_out, process::Process,
    settings::notifications, token, wait,
};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Whether a program can be run here; with `CI=true` it must be.
fn is_here(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    let status = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let here = status.is_ok_and(|status| status.success());
    let required = env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(here || !required, "{program} is missing: `make test` installs it");
    if !here {
        left_out(&format!("no {program}; `make test` installs it where it can"));
    }
    here
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Replaces a text that must be present.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} in {text}");
    text.replace(from, to)
}

/// A proxy that listens at this port: neither program can say which one the system gave it.
fn listening(start: Start, directory: &Path, port: &HeldPort, gateway: SocketAddr) -> Process {
    let address = port.address();
    let mut proxy = start(directory, address, gateway);
    proxy.wait_for("the proxy listens", || TcpStream::connect(address).ok());
    proxy
}

/// nginx with the file of `deploy/`, without TLS, its logs in the directory.
fn nginx(directory: &Path, address: SocketAddr, gateway: SocketAddr) -> Process {
    let text = read("deploy/nginx/sockway.conf");
    let text = replace(&text, "listen 443 ssl;", &format!("listen {address};"));
    let text = replace(&text, "127.0.0.1:8080", &gateway.to_string());
    let text = replace(&text, "/var/log/nginx", &directory.display().to_string());
    let lines = text.lines().filter(|line| !line.contains("ssl_certificate"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let place = directory.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {place}/{name};"))
        .join("\n");
    let whole = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/main.log;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, whole).expect("a file");
    Process::start(
        Command::new("nginx").arg("-e").arg(directory.join("start.log")).arg("-c").arg(file),
    )
}

/// Caddy with the file of `deploy/`, without a certificate, its data in the directory.
fn caddy(directory: &Path, address: SocketAddr, gateway: SocketAddr) -> Process {
    let text = read("deploy/caddy/Caddyfile");
    // At the address whose port is held: at others it may be somebody's.
    let site = format!("http://:{} {{\n\tbind {}", address.port(), address.ip());
    let text = replace(&text, "example.com {", &site);
    let text = replace(&text, "127.0.0.1:8080", &gateway.to_string());
    let text = replace(&text, "\n{\n", "\n{\n\tadmin off\n");
    let file = directory.join("Caddyfile");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("XDG_DATA_HOME", directory).env("XDG_CONFIG_HOME", directory);
    Process::start(&mut command)
}

/// Everything the proxy wrote: its files, stdout and stderr.
fn written(directory: &TempDir, proxy: &Process) -> String {
    let mut text = proxy.stdout.text() + &proxy.stderr.text();
    for entry in fs::read_dir(directory).expect("the directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            text += &fs::read_to_string(path).unwrap_or_default();
        }
    }
    text
}

/// Checks that each event passes at once, though a response of HTTP may be kept until it is whole.
fn carries_events(address: SocketAddr, token: &str, redis: &Redis) {
    let mut stream = http::connect(address);
    let request = events::request(&format!("/ws/me?token={token}"));
    stream.write_all(&request.encode()).expect("taken");
    let mut read = String::new();
    let mut until = |end: &str| {
        while !read.contains(end) {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).expect("an event");
            assert_ne!(length, 0, "the proxy closed it: {read}");
            read += &String::from_utf8_lossy(&bytes[..length]);
        }
    };
    until("event: ready");
    redis.publish("user:ann", "by event");
    until("data: by event\n\n");
}

/// Starts a proxy at the first address, before a gateway at the second.
type Start = fn(&Path, SocketAddr, SocketAddr) -> Process;

fn carries_a_session_and_logs_no_token(start: Start) {
    let redis = Redis::start();
    let mut gateway =
        Gateway::start(&Settings::new(&redis).endpoint(notifications().set("sse", true)));
    let directory = tempfile::tempdir().expect("a directory");
    let port = HeldPort::new().expect("a free port");
    let proxy = listening(start, directory.path(), &port, gateway.address);
    let address = port.address();

    let token = token::of("ann");
    let by_query = Request::upgrade(&format!("/ws/me?token={token}"));
    let protocol = format!("bearer, {token}");
    let by_protocol = Request::upgrade("/ws/me").header("Sec-WebSocket-Protocol", &protocol);
    for request in [&by_query, &by_protocol] {
        let mut client = Client::open(address, request);
        redis.publish("user:ann", "hello");
        assert_eq!(client.text(), "hello");
        client.bye();
    }
    carries_events(address, &token, &redis);
    let refused = Request::upgrade("/ws/me?token=wrong.wrong.wrong").send(address);
    refused.assert_refused(401, "token_invalid");
    // Proxies tend to log whole requests when their upstream is down.
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
    assert_eq!(by_query.send(address).status, 502);

    let served = || written(&directory, &proxy).matches("/ws/me").count() >= 5;
    wait::until("every request is in the log", served);
    let text = written(&directory, &proxy);
    let secrets = [token.as_str(), "wrong.wrong.wrong", "token="];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn nginx_carries_a_session_and_logs_no_token() {
    if is_here("nginx", "-v") {
        carries_a_session_and_logs_no_token(nginx);
    }
}

#[test]
fn caddy_carries_a_session_and_logs_no_token() {
    if is_here("caddy", "version") {
        carries_a_session_and_logs_no_token(caddy);
    }
}
