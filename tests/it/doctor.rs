//! `sockway doctor` against real Redis servers in every state, and through a real gateway.

use crate::rig::{
    Gateway, HeldPort, Redis, Settings,
    process::{Process, sockway},
    settings::{notifications, rooms},
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

/// The output of doctor, and its exit status.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) text: String,
}

impl Said {
    /// The findings about a subject, each with its verdict and its advice.
    pub(crate) fn about(&self, subject: &str) -> Vec<String> {
        let lines = self.text.replace("\n                     -> ", " -> ");
        let found =
            lines.lines().filter(|line| line.get(6..).is_some_and(|it| it.starts_with(subject)));
        found.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[track_caller]
    pub(crate) fn assert(&self, verdict: &str, subject: &str, words: &[&str]) {
        let start = format!("{verdict} {subject} ");
        let matches = |line: &String| {
            line.starts_with(&start) && words.iter().all(|word| line.contains(word))
        };
        assert!(
            self.about(subject).iter().any(matches),
            "{verdict} {subject} {words:?}: {self:#?}"
        );
    }

    pub(crate) fn failures(&self) -> usize {
        self.text.lines().filter(|line| line.starts_with("fail")).count()
    }
}

pub(crate) fn doctor(settings: &Settings, arguments: &[&str]) -> Said {
    doctor_of(&settings.text(), arguments, None)
}

/// Runs doctor on a configuration, with this certificate as the only trusted one.
pub(crate) fn doctor_of(configuration: &str, arguments: &[&str], trust: Option<&Path>) -> Said {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    fs::write(&file, configuration).expect("a file");
    let mut command = sockway();
    command.arg("doctor").arg("--config").arg(&file).args(arguments).env_remove("SOCKWAY_TOKEN");
    if let Some(trust) = trust {
        command.env("SSL_CERT_FILE", trust);
    }
    let mut process = Process::start(&mut command);
    let status = process.exit_code();
    let text = process.stdout.text() + &process.stderr.text();
    assert!(!text.contains('\x1b'), "colours for a pipe: {text}");
    Said { status, text }
}

pub(crate) fn settings(redis: &Redis) -> Settings {
    Settings::new(redis).endpoint(rooms()).endpoint(notifications())
}

#[test]
fn everything_that_works_is_told_line_by_line_with_exit_status_0() {
    let redis = Redis::start();
    let settings = settings(&redis).set("server.max_connections", 10);
    let gateway = Gateway::start(&settings);
    let url = format!("ws://{}/ws/rooms/1", gateway.address);
    let said = doctor(&settings, &["--url", &url]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    for (subject, words) in [
        ("configuration", "2 endpoints"),
        ("open files", "max_connections = 10"),
        ("redis address", "accepts connections"),
        ("redis login", "as user default"),
        ("redis version", "."),
        ("output buffer", "pubsub limit 32 MiB"),
        ("subscribe", "room:{path.room} (rooms)"),
        ("subscribe", "user:{user} (notifications)"),
        ("subscribe", "global (notifications)"),
        ("subscribe", "sockway:control (redis.control_channel)"),
        ("canary", "came back on sockway:probe in"),
        ("url name", "127.0.0.1"),
        ("url connection", "accepts connections"),
        ("url handshake", "101 in"),
        ("url session", "open and subscribed"),
    ] {
        said.assert("ok", subject, &[words]);
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_told_with_the_cause() {
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "precious").expect("a file");
    let at = |listen: &str| doctor(&settings(&redis).set("server.listen", listen), &[]);
    for (listen, cause) in [
        ("192.0.2.1:8080".to_owned(), "assign requested address"),
        (format!("unix:{}/absent/ws.sock", directory.path().display()), "No such file"),
        (format!("unix:{}", file.display()), "no socket"),
    ] {
        let said = at(&listen);
        assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
        said.assert("fail", "server.listen", &[&listen, cause]);
    }
    assert_eq!(fs::read(&file).expect("it stays"), b"precious");
    let free = format!("unix:{}/ws.sock", directory.path().display());
    at(&free).assert("ok", "server.listen", &["free"]);
}

#[test]
fn an_address_in_use_is_fine_where_the_gateway_itself_runs() {
    let redis = Redis::start();
    let [public, admin] = [(); 2].map(|()| HeldPort::new().expect("a free port"));
    let settings = || {
        settings(&redis)
            .set("server.listen", public.address().to_string())
            .set("admin.listen", admin.address().to_string())
    };
    let gateway = Gateway::start(&settings());
    let said = doctor(&settings(), &[]);
    assert_eq!(said.status, 0, "{said:#?}");
    for key in ["server.listen", "admin.listen"] {
        said.assert("ok", key, &["in use", "a sockway with these endpoints runs"]);
    }
    drop(gateway);
    let _other = TcpListener::bind(public.address()).expect("it is ours");
    let said = doctor(&settings(), &[]);
    assert_eq!(said.status, 0, "{said:#?}");
    said.assert("warn", "server.listen", &["in use by another program"]);
    said.assert("ok", "admin.listen", &["free"]);
}

#[test]
fn a_redis_that_is_away_or_hangs_is_told_and_nothing_more_is_asked_of_it() {
    let absent = Redis::absent();
    let said = doctor(&settings(&absent), &[]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "redis address", &["refused", "-> start Redis"]);

    let hung = Redis::start();
    hung.hang();
    let said = doctor(&settings(&hung), &[]);
    hung.go_on();
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "redis login", &["no answer within"]);
}

#[test]
fn a_wrong_or_missing_password_is_told_and_none_is_printed() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "requirepass", "unmistakable-right"]);
    let wrong = settings(&redis).set("redis.password", "unmistakable-wrong");
    for settings in [wrong, settings(&redis)] {
        let said = doctor(&settings, &[]);
        assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
        said.assert("fail", "redis login", &["-> correct redis.username and redis.password_file"]);
        assert!(!said.text.contains("unmistakable"), "{said:#?}");
    }
    let right = settings(&redis).set("redis.password", "unmistakable-right");
    let said = doctor(&right, &[]);
    assert_eq!(said.status, 0, "{said:#?}");
    assert!(!said.text.contains("unmistakable"), "{said:#?}");
}

/// An account with the rights that docs/security.md shows, and with these channels.
fn with_account(redis: &Redis, channels: &[&str]) -> Settings {
    let commands =
        ["-@all", "+subscribe", "+unsubscribe", "+ping", "+hello", "+auth", "+quit", "+reset"];
    let more = ["+client|setname", "+client|id", "(+publish +subscribe &sockway:probe*)"];
    let start = ["ACL", "SETUSER", "sockway", "on", ">pass", "resetchannels"];
    redis.command(&[&start[..], channels, &commands, &more].concat());
    settings(redis).set("redis.username", "sockway").set("redis.password", "pass")
}

#[test]
fn the_smallest_account_is_enough_and_what_it_may_not_ask_is_only_a_warning() {
    let redis = Redis::start();
    let settings = with_account(&redis, &["&room:*", "&user:*", "&global", "&sockway:control"]);
    let said = doctor(&settings, &[]);
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("ok", "redis version", &["may not ask"]);
    said.assert("warn", "output buffer", &["NOPERM", "-> see for yourself"]);
    said.assert("ok", "canary", &["came back"]);
}

#[test]
fn each_channel_that_the_account_may_not_have_is_named_with_the_rule_that_is_missing() {
    let redis = Redis::start();
    let said = doctor(&with_account(&redis, &["&room:*", "&global"]), &[]);
    assert_eq!((said.status, said.failures()), (1, 2), "{said:#?}");
    said.assert("ok", "subscribe", &["room:{path.room}"]);
    said.assert("fail", "subscribe", &["user:{user} (notifications)", "NOPERM", "&user:*"]);
    said.assert("fail", "subscribe", &["sockway:control", "NOPERM", "&sockway:control"]);
    said.assert("ok", "subscribe", &["global (notifications)"]);
    said.assert("ok", "canary", &["came back"]);

    let elsewhere = with_account(&redis, &["allchannels"]).set("redis.probe_channel", "elsewhere");
    let said = doctor(&elsewhere, &[]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "canary", &["elsewhere", "NOPERM", "(+publish +subscribe &elsewhere)"]);
    let without = elsewhere.set("redis.probe_channel", "");
    doctor(&without, &[]).assert("ok", "ping", &["answered in"]);
}

#[test]
fn a_small_output_buffer_is_a_warning() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 256kb 5"]);
    let said = doctor(&settings(&redis), &[]);
    assert_eq!(said.status, 0, "{said:#?}");
    said.assert("warn", "output buffer", &["pubsub limit 1 MiB, 256 KiB", "-> a burst"]);
}

/// A server that answers everything with the same bytes.
fn parrot(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut request = [0; 4096];
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_refuses_every_command_or_is_no_redis_is_told_without_what_it_repeats() {
    for (answer, advice) in [
        (
            "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `unmistakable`, \r\n",
            "the protocol of Redis",
        ),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "is it Redis"),
    ] {
        let settings = Settings::with_url(&format!("redis://{}/0", parrot(answer)));
        let settings = settings.endpoint(rooms()).set("redis.password", "unmistakable");
        let said = doctor(&settings, &[]);
        assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
        said.assert("fail", "redis login", &[advice]);
        assert!(!said.text.contains("unmistakable"), "{said:#?}");
    }
}

#[test]
fn too_few_files_for_all_connections_is_a_warning() {
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    fs::write(&file, settings(&redis).set("server.max_connections", 1_000).text()).expect("a file");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 320; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sockway")]);
    let mut process = Process::start(command.args(["doctor", "--config"]).arg(&file));
    let said = Said { status: process.exit_code(), text: process.stdout.text() };
    assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
    said.assert("warn", "open files", &["room for 112", "max_connections = 1000", "LimitNOFILE"]);
}

#[test]
fn a_bad_configuration_is_told_as_by_check_with_exit_status_78() {
    let said = doctor_of("[server]\nlisten = 1\n", &[], None);
    assert_eq!(said.status, 78, "{said:#?}");
    assert!(said.text.contains("server.listen"), "{said:#?}");
    let mut command = sockway();
    let mut process = Process::start(command.args(["doctor", "--config", "/nowhere/sockway.toml"]));
    assert_eq!(process.exit_code(), 78);
}

#[test]
fn what_is_wrong_on_the_way_of_clients_is_told_by_its_step() {
    let redis = Redis::start();
    let settings = settings(&redis);
    let gateway = Gateway::start(&settings);
    let public = gateway.address;
    let nobody = HeldPort::new().expect("a free port");
    let silent = nobody.address();
    let page = parrot("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    for (url, token, subject, words) in [
        ("http://example.com/".to_owned(), "", "url", "not a WebSocket URL"),
        ("ws://no-such-name.invalid/ws".to_owned(), "", "url name", "no-such-name.invalid"),
        (format!("ws://{silent}/ws/me"), "", "url connection", "refused"),
        (format!("ws://{public}/nothing"), "", "url handshake", "404 not_found"),
        (format!("ws://{public}/ws/me"), "unmistakable", "url handshake", "401 token_invalid"),
        (format!("ws://{page}/ws/me"), "", "url handshake", "502"),
        (format!("wss://{public}/ws/me"), "", "url", "-> "),
    ] {
        let arguments = ["--url", &url, "--token", token];
        let said = doctor(&settings, &arguments[..if token.is_empty() { 2 } else { 4 }]);
        assert_eq!((said.status, said.failures()), (1, 1), "{url} {said:#?}");
        assert!(
            said.about(subject).iter().any(|it| it.starts_with("fail") && it.contains(words)),
            "{url} {said:#?}"
        );
        assert!(!said.text.contains("unmistakable"), "{said:#?}");
    }
    let me = format!("ws://{public}/ws/me");
    doctor(&settings, &["--url", &me]).assert("ok", "url session", &["open"]);
}

#[test]
fn a_refusal_by_close_frame_and_a_missing_claim_are_refusals() {
    let redis = Redis::start();
    let claims = crate::rig::Endpoint::new("t", "/ws/t", &["t:{claim.tenant}"]);
    let settings = settings(&redis).endpoint(claims);
    let gateway = Gateway::start(&settings);
    let said = doctor(&settings, &["--url", &format!("ws://{}/ws/t", gateway.address)]);
    said.assert(
        "fail",
        "url handshake",
        &["403 claim_missing", "-> give the token of a real user"],
    );

    let settings = settings.set("auth.reject", "close");
    let gateway = Gateway::start(&settings);
    let url = format!("ws://{}/ws/me", gateway.address);
    let said = doctor(&settings, &["--url", &url, "--token", "wrong"]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "url session", &["3000 token_invalid"]);
}

#[test]
fn a_certificate_that_this_machine_does_not_trust_is_told_as_such() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"])
        .args(["-keyout", &key, "-out", &certificate]);
    assert_eq!(Process::start(&mut openssl).exit_code(), 0);
    let tls = Redis::start_tls(&certificate, &key);

    let plain = Redis::start();
    let url = format!("wss://{}/ws/me", tls.address());
    let said = doctor(&settings(&plain), &["--url", &url]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert(
        "fail",
        "url tls",
        &["ca used as end entity", "-> it is an authority's certificate"],
    );

    let redis = settings(&plain).set("redis.url", tls.url().replace("redis://", "rediss://"));
    let said = doctor(&redis, &[]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "redis login", &["certificate", "-> rediss:// needs a certificate"]);
}
