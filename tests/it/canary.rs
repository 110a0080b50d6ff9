//! Secrets stay secret: recognisable tokens are put wherever a token may be, then all output is
//! searched for them.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    client::{CLOSE, TEXT},
    http,
    process::{Process, sockway},
    settings::notifications,
    token::{self, SECRET, now, signed},
};
use serde_json::json;
use std::io::Write;

const PASSWORD: &str = "canary-redis-password";
const STATIC_TOKEN: &str = "canary-static-token-long-enough";

/// Made-up tokens, each found by its own word.
struct Canaries(Vec<String>);

impl Canaries {
    /// A token that does not verify.
    fn bad(&mut self, place: &str) -> String {
        self.keep(format!("canary-{place}-{:016x}", fastrand::u64(..)))
    }

    /// A token that is accepted. Its signature must never be shown.
    fn good(&mut self) -> String {
        let token = signed(&json!({"sub": "ann", "exp": now() + 600, "n": fastrand::u32(..)}));
        let signature = token.rsplit('.').next().expect("three parts").to_owned();
        self.keep(signature);
        token
    }

    fn keep(&mut self, canary: String) -> String {
        self.0.push(canary.clone());
        canary
    }
}

fn start(redis: &Redis, directory: &tempfile::TempDir, reject: &str) -> Gateway {
    redis.command(&[
        "ACL",
        "SETUSER",
        "gateway",
        "on",
        &format!(">{PASSWORD}"),
        "~*",
        "&*",
        "+@all",
    ]);
    let file = directory.path().join("password");
    std::fs::write(&file, PASSWORD).expect("written");
    let settings = Settings::new(redis)
        .set("log.level", "trace")
        .set("auth.reject", reject)
        .set("auth.sources", vec!["query:token", "header", "subprotocol", "cookie:session"])
        .set("server.allowed_origins", vec!["https://shop.example"])
        .set("redis.username", "gateway")
        .set("redis.password_file", file.to_str().expect("UTF-8"))
        .static_token(STATIC_TOKEN, "bot")
        .endpoint(notifications().set("format", "json"));
    Gateway::start(&settings)
}

/// Every request that can carry a token, with a token made by `token`.
fn requests(token: &mut dyn FnMut(&str) -> String) -> Vec<Request> {
    let me = || Request::upgrade("/ws/me");
    vec![
        Request::upgrade(&format!("/ws/me?token={}", token("query"))),
        me().bearer(&token("header")),
        me().header("Sec-WebSocket-Protocol", &format!("bearer, {}", token("subprotocol"))),
        me().header("Cookie", &format!("a=b; session={}", token("cookie"))),
        Request::upgrade(&format!("/ws/me?token={}", token("conflict"))).bearer(&token("other")),
        Request::upgrade(&format!("/nowhere?token={}", token("path"))).bearer(&token("lost")),
        Request::get(&format!("/ws/me?token={}", token("plain"))),
        me().bearer(&token("origin")).header("Origin", "https://evil.example"),
        me().without("Sec-WebSocket-Key").bearer(&token("bad")),
    ]
}

/// Requests with a secret in the wrong place.
fn misplaced(canaries: &mut Canaries) -> Vec<Request> {
    let me = || Request::upgrade("/ws/me");
    let mut bad = |place: &str| canaries.bad(place);
    vec![
        Request::upgrade(&format!("/ws/me?access_token={}", bad("unknown-query"))),
        Request::upgrade(&format!("/ws/me?token=%FF{}", bad("percent"))),
        me().header("Authorization", &format!("Basic {}", bad("basic"))),
        me().header("Authorization", &format!("Bearer  {} x", bad("spaces"))),
        me().header("Sec-WebSocket-Protocol", &format!("{}, bearer", bad("order"))),
        me().header("Sec-WebSocket-Protocol", &bad("alone")),
        me().header("Cookie", &format!("other={}", bad("other-cookie"))),
        me().header("X-Api-Key", &bad("x-header")).header("Referer", &bad("referer")),
        Request::upgrade(&format!("/ws/me?token={}{}", bad("long"), "x".repeat(9 * 1024))),
        me().bearer(&format!("{}{}", bad("large"), "x".repeat(9 * 1024))),
        Request::upgrade(&format!("/ws/{}", bad("segment"))),
        me().header("User-Agent", &bad("agent")).header("X-Forwarded-For", &bad("forwarded")),
        me().header("Origin", &format!("https://{}", bad("as-origin"))),
        me().header("Sec-WebSocket-Extensions", &bad("extension")),
    ]
}

#[test]
fn no_token_and_no_secret_is_ever_written() {
    for reject in ["status", "close"] {
        let redis = Redis::start();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut gateway = start(&redis, &directory, reject);
        let mut canaries = Canaries(Vec::new());
        let mut written = run(&redis, &gateway, &mut canaries);
        for target in ["/metrics", "/status", "/channels", "/readyz", "/livez", "/"] {
            written += &gateway.admin(target).text();
        }
        gateway.terminate();
        assert_eq!(gateway.process.exit_code(), 0);
        written += &gateway.process.stderr.text();
        written += &gateway.process.stdout.text();
        assert!(written.contains("listening"), "the log is not here");
        for canary in canaries.0.iter().map(String::as_str).chain([PASSWORD, STATIC_TOKEN, SECRET])
        {
            let found = written.lines().find(|line| line.contains(canary));
            assert_eq!(found, None, "{canary} was written");
        }
    }
}

/// Does everything that involves a token; returns all answers to clients.
fn run(redis: &Redis, gateway: &Gateway, canaries: &mut Canaries) -> String {
    let mut requests_made = requests(&mut |place| canaries.bad(place));
    requests_made.extend(requests(&mut |_| canaries.good()));
    requests_made.extend(requests(&mut |_| STATIC_TOKEN.to_owned()));
    requests_made.extend(misplaced(canaries));
    let mut answers = String::new();
    for request in &requests_made {
        match Client::try_open(gateway.address, request) {
            Ok(client) => answers += &format!("{:?}", client.answer.headers),
            Err(answer) => answers += &format!("{:?}{}", answer.headers, answer.text()),
        }
    }
    // Not HTTP, with a token in it.
    let mut stream = http::connect(gateway.address);
    let broken = format!("GET /ws/me?token={} HTTP/1.1\r\nHost\r\n\r\n", canaries.bad("broken"));
    stream.write_all(broken.as_bytes()).expect("taken");
    if let Ok(answer) = http::Response::read(&mut stream) {
        answers += &answer.text();
    }
    answers + &refresh_and_revoke(redis, gateway, canaries)
}

fn refresh_and_revoke(redis: &Redis, gateway: &Gateway, canaries: &mut Canaries) -> String {
    let mut client = gateway.open_with(&canaries.good(), "/ws/me");
    let mut said = client.text();
    for token in [canaries.good(), canaries.bad("refresh")] {
        let frame = json!({"type": "refresh", "token": token}).to_string();
        client.send(TEXT, frame.as_bytes());
    }
    said += &format!("{:?}", client.until_closed());
    // Before the revocation, which may take effect at any time after it is published.
    last_words(gateway, canaries);
    let mut chatty = gateway.open_with(&canaries.good(), "/ws/me");
    chatty.send(TEXT, canaries.bad("inbound").as_bytes());
    redis.publish("user:ann", canaries.bad("payload"));
    drop(chatty);
    for payload in
        [canaries.bad("control"), format!(r#"{{"disconnect":"{}"}}"#, canaries.bad("who"))]
    {
        redis.publish("sockway:control", payload);
    }
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    said
}

/// A client's close reason is echoed to that client and appears nowhere else.
fn last_words(gateway: &Gateway, canaries: &mut Canaries) {
    let mut client = gateway.open_with(&canaries.good(), "/ws/me");
    let reason = canaries.bad("reason");
    client.send(CLOSE, &[&1000_u16.to_be_bytes()[..], reason.as_bytes()].concat());
    assert_eq!(client.until_closed().1, (1000, reason));
}

#[test]
fn check_prints_the_effective_configuration_with_its_secrets_masked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    let settings = Settings::with_url("redis://gateway:canary-in-url@127.0.0.1:6379/0")
        .static_token(STATIC_TOKEN, "bot")
        .endpoint(notifications());
    std::fs::write(&file, settings.text()).expect("written");
    let mut check = Process::start(sockway().arg("check").arg(&file).arg("--print"));
    check.exit_code(); // a password in the URL may be refused; it must not be shown
    let output = check.stdout.text() + &check.stderr.text();
    for secret in [SECRET, "canary-in-url", STATIC_TOKEN] {
        assert!(!output.contains(secret), "{secret} is in\n{output}");
    }
}

#[test]
fn the_token_of_the_test_is_one_that_would_be_found() {
    assert!(token::of("ann").len() > 60);
    let mut canaries = Canaries(Vec::new());
    let token = canaries.good();
    assert!(token.contains(&canaries.0[0]));
}
