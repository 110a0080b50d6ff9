//! Tokens verified by an issuer's keys: fetched, rotated, kept while the issuer is down, checked
//! strictly.

use crate::rig::{
    Client, Gateway, Issuer, Key, Redis, Request, Settings, http,
    process::{Process, sockway},
    settings::{notifications, rooms},
    wait::{until, within},
};
use serde_json::json;
use std::{
    io::Write as _,
    time::{Duration, Instant},
};

pub(crate) fn settings(redis: &Redis, url: &str) -> Settings {
    Settings::new(redis)
        .without("auth.jwt.secret")
        .set("auth.jwt.algorithms", vec!["EdDSA"])
        .set("auth.jwt.jwks_url", url)
        .endpoint(notifications().set("format", "json"))
        .endpoint(rooms())
}

fn start(issuer: &Issuer) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis, &issuer.url()));
    (redis, gateway)
}

/// … without waiting for the issuer.
fn start_unready(issuer: &Issuer) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start_unready(&settings(&redis, &issuer.url()));
    (redis, gateway)
}

pub(crate) fn with(token: &str) -> Request {
    Request::upgrade("/ws/me").bearer(token)
}

/// The codes of the reasons why the gateway is not ready.
pub(crate) fn reasons(gateway: &Gateway) -> Vec<String> {
    let reasons = gateway.admin("/readyz").json()["reasons"].clone();
    let reasons = reasons.as_array().expect("a list").iter();
    reasons.map(|reason| reason["code"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_rotated_key_is_known_with_its_first_token_and_the_old_one_still_is() {
    let (old, new) = (Key::new("2026-01"), Key::new("2026-02"));
    let issuer = Issuer::of(&[&old]);
    let (redis, gateway) = start(&issuer);
    let mut session = gateway.open_with(&old.token("ann"), "/ws/me");
    assert_eq!(session.json()["type"], "ready");

    issuer.publish(&[&old, &new]);
    assert_eq!(issuer.asked(), 1);
    gateway.open_with(&new.token("bob"), "/ws/me");
    assert_eq!(issuer.asked(), 2);
    gateway.open_with(&old.token("bob"), "/ws/me");

    redis.publish("user:ann", "\"still here\"");
    assert_eq!(session.json()["data"], "still here");
    gateway.wait_metric("sockway_jwks_fetches_total{result=\"fetched\"}", 2.0);
    let stranger = Key::new("2026-02");
    gateway.send(&with(&stranger.token("bob"))).assert_refused(401, "token_invalid");
}

#[test]
fn a_refresh_by_a_rotated_key_waits_for_it_and_the_session_stays() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::of(&[&old]);
    let (redis, gateway) = start(&issuer);
    let mut client = gateway.open_with(&old.token("ann"), "/ws/me");
    assert_eq!(client.json()["type"], "ready");
    issuer.publish(&[&new]);
    let refresh = |token: String| json!({"type": "refresh", "token": token}).to_string();
    client.send(crate::rig::client::TEXT, refresh(new.token("ann")).as_bytes());
    until("the new key is asked for", || issuer.asked() == 2);
    gateway.wait_metric("sockway_jwks_fetches_total{result=\"fetched\"}", 2.0);
    redis.publish("user:ann", "\"hello\"");
    assert_eq!(client.json()["data"], "hello");
    // An invented `kid`: no such key exists, and no further fetch is due.
    client.send(crate::rig::client::TEXT, refresh(Key::new("none").token("ann")).as_bytes());
    client.assert_closed(3000, "token_invalid");
}

#[test]
fn made_up_key_names_cause_one_fetch_and_are_401() {
    let key = Key::new("a");
    let issuer = Issuer::of(&[&key]);
    let (_redis, gateway) = start(&issuer);
    for number in 0..200 {
        let header = json!({ "kid": format!("made-up-{number}") });
        let claims = json!({ "sub": "eve", "exp": 9_999_999_999_i64 });
        let made_up = key.signed(header, &claims);
        gateway.send(&with(&made_up)).assert_refused(401, "token_invalid");
    }
    assert_eq!(issuer.asked(), 2);
    gateway.open_with(&key.token("ann"), "/ws/me");
}

#[test]
fn without_keys_nobody_can_say_who_is_right_and_readyz_says_so() {
    let key = Key::new("a");
    let issuer = Issuer::down();
    let (_redis, gateway) = start_unready(&issuer);
    until("only the keys are missing", || reasons(&gateway) == ["keys_unavailable"]);
    gateway.send(&with(&key.token("ann"))).assert_refused(503, "keys_unavailable");
    gateway.send(&with("garbage")).assert_refused(401, "token_invalid");
    gateway.open("/ws/rooms/1");
    let failed = "sockway_jwks_fetches_total{result=\"failed\"}";
    assert!(gateway.metrics().get(failed) >= 1.0);

    issuer.publish(&[&key]);
    gateway.wait_ready();
    gateway.open_with(&key.token("ann"), "/ws/me");
}

#[test]
fn keys_that_were_fetched_once_serve_while_the_issuer_is_down() {
    let key = Key::new("a");
    let issuer = Issuer::of(&[&key]);
    let (_redis, gateway) = start(&issuer);
    issuer.hang_up();
    // An unknown `kid` triggers a fetch, which shows it.
    let unknown = Key::new("b").token("ann");
    gateway.send(&with(&unknown)).assert_refused(503, "keys_unavailable");
    gateway.wait_metric("sockway_jwks_fetches_total{result=\"failed\"}", 1.0);
    gateway.open_with(&key.token("ann"), "/ws/me");
    assert!(gateway.is_ready());
}

#[test]
fn whatever_the_issuer_answers_only_keys_are_taken_and_it_is_asked_again() {
    let key = Key::new("a");
    let elsewhere = Issuer::of(&[&key]);
    let issuer = Issuer::down();
    let (_redis, gateway) = start_unready(&issuer);
    let redirect = format!("302 Found\r\nLocation: {}", elsewhere.url());
    let huge = json!({ "keys": [key.jwk()], "padding": "x".repeat(70_000) }).to_string();
    let log = |words: &str| {
        gateway.process.stderr.wait_for(words, |line| line.contains(words).then_some(()));
    };
    issuer.say(&redirect, "");
    log("redirect (302 Found), which is not followed");
    issuer.say("200 OK", &huge);
    log("the answer is larger than 64 KiB");
    issuer.say("200 OK", r#"{"keys":[{"kty":"oct","kid":"leaked","k":"c2VjcmV0"}]}"#);
    log("the key set has no key that can be used");
    gateway.send(&with(&key.token("ann"))).assert_refused(503, "keys_unavailable");
    assert_eq!(elsewhere.asked(), 0);
}

#[test]
fn a_slow_issuer_holds_up_who_needs_it_for_two_seconds_and_nobody_else() {
    let (known, unknown) = (Key::new("a"), Key::new("b"));
    let issuer = Issuer::of(&[&known]);
    let (_redis, gateway) = start(&issuer);
    issuer.say_nothing();
    let start = Instant::now();
    let waiting = {
        let (address, request) = (gateway.address, with(&unknown.token("ann")));
        std::thread::spawn(move || request.send(address))
    };
    until("the issuer is asked", || issuer.asked() >= 2);
    let mut others = 0;
    while !waiting.is_finished() {
        gateway.open_with(&known.token("bob"), "/ws/me");
        gateway.open("/ws/rooms/1");
        others += 1;
    }
    assert!(others > 2, "the others had to wait for it: {others}");
    waiting.join().expect("an answer").assert_refused(503, "keys_unavailable");
    assert!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
}

/// Anybody can make up a token whose key is not known.
#[test]
fn who_waits_for_keys_takes_no_place_from_others_from_many_addresses_or_from_one() {
    let (known, made_up) = (Key::new("a"), Key::new("b").token("eve"));
    let issuer = Issuer::of(&[&known]);
    let redis = Redis::start();
    let few = settings(&redis, &issuer.url()).set("server.max_pending_handshakes", 32);
    let gateway = Gateway::start(&few);
    issuer.say_nothing();
    let mut strangers = Vec::new();
    for n in 0..60 {
        // Every other one comes from the same address.
        let last = if n % 2 == 0 { 1 } else { n };
        let request = with(&made_up).header("X-Forwarded-For", &format!("192.0.2.{last}"));
        let mut stranger = http::connect(gateway.address);
        stranger.write_all(&request.encode()).expect("taken");
        strangers.push(stranger);
        if n % 4 == 0 {
            gateway.open_with(&known.token("bob"), "/ws/me");
            gateway.open("/ws/rooms/1");
        }
    }
    until("somebody waited for the issuer", || issuer.asked() >= 2);
    for stranger in strangers {
        http::exchange(stranger, b"").assert_refused(503, "keys_unavailable");
    }
}

#[test]
fn no_url_is_taken_from_a_token() {
    let (key, stranger) = (Key::new("a"), Key::new("stranger"));
    let elsewhere = Issuer::of(&[&stranger]);
    let issuer = Issuer::of(&[&key]);
    let (_redis, gateway) = start(&issuer);
    for (kid, status) in [("stranger", 401), ("a", 401)] {
        let url = elsewhere.url();
        let header = json!({ "kid": kid, "jku": url, "x5u": url, "jwk": stranger.jwk() });
        let claims = json!({ "sub": "ann", "exp": 9_999_999_999_i64, "iss": url });
        let token = stranger.signed(header, &claims);
        gateway.send(&with(&token)).assert_refused(status, "token_invalid");
    }
    assert_eq!(elsewhere.asked(), 0);
}

#[test]
fn check_fetches_nothing_and_token_refuses() {
    let issuer = Issuer::down();
    let redis = Redis::absent();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("s.toml");
    std::fs::write(&file, settings(&redis, &issuer.url()).text()).expect("written");
    let mut check = Process::start(sockway().arg("check").arg(&file));
    assert_eq!(check.exit_code(), 0, "{}", check.stderr.text());
    let token = ["token", "--user", "ann", "--config"];
    let mut token = Process::start(sockway().args(token).arg(&file));
    assert_eq!(token.exit_code(), 78);
    assert!(token.stderr.text().contains("only a shared secret can sign"));
    assert_eq!(issuer.asked(), 0);
}

#[test]
fn a_handshake_ends_by_its_own_deadline_though_the_issuer_says_nothing() {
    let key = Key::new("a");
    let issuer = Issuer::down();
    issuer.say_nothing();
    let redis = Redis::start();
    let settings = settings(&redis, &issuer.url()).set("server.handshake_timeout", "300ms");
    let gateway = Gateway::start_unready(&settings);
    let slowest = within(Duration::from_secs(20), "a fetch is under way", || {
        let at = Instant::now();
        gateway.send(&with(&key.token("ann"))).assert_refused(503, "keys_unavailable");
        (at.elapsed() > Duration::from_millis(200)).then(|| at.elapsed())
    });
    assert!(slowest < Duration::from_millis(1500), "took {slowest:?}");
    let _client: Client = gateway.open("/ws/rooms/1");
}
