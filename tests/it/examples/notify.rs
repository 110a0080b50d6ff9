//! The notify service: one user, several users, all; by PUBLISH and by HTTP.

use crate::rig::{
    Gateway, Redis, Request, Settings, left_out,
    python::{NO_PYTHON, Peer, python},
    token,
};
use serde_json::json;
use std::{io::Write as _, net::TcpStream};

/// Of the backend that notifies.
const TOKEN: &str = "of a backend";

fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::example("notifications.toml", &redis)
        .tests_secret()
        .tests_publish_token(TOKEN, &["user:*:notifications", "notifications:global"]);
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

/// A POST of a backend, which must succeed; its answer.
#[track_caller]
fn post(gateway: &Gateway, target: &str, body: &str) -> serde_json::Value {
    let request = Request::line(&format!("POST {target} HTTP/1.1")).bearer(TOKEN);
    let request = request.header("Content-Length", &body.len().to_string());
    let mut stream: TcpStream = crate::rig::http::connect(gateway.address);
    stream.write_all(&[&request.encode(), body.as_bytes()].concat()).expect("taken");
    let answer = crate::rig::http::Response::read(&mut stream).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The next two messages, in any order: between channels none is promised.
fn two(peer: &mut Peer) -> [String; 2] {
    let mut got = [peer.text(), peer.text()];
    got.sort();
    got
}

#[test]
fn publish_notifies_one_user_several_users_or_all() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (redis, gateway) = start();
    let [mut ann, mut bob, mut eve] = ["ann", "bob", "eve"]
        .map(|user| Peer::open(&python, gateway.address, "/ws/notifications", &token::of(user)));
    let one = r#"{"type":"order_shipped"}"#;
    redis.publish("user:ann:notifications", one);
    assert_eq!(ann.text(), one);
    for user in ["ann", "bob"] {
        redis.publish(&format!("user:{user}:notifications"), "to two");
    }
    redis.publish("notifications:global", "to all");
    for peer in [&mut ann, &mut bob] {
        assert_eq!(two(peer), ["to all", "to two"]);
    }
    assert_eq!(eve.text(), "to all", "and nothing before it");
    gateway.send(&Request::upgrade("/ws/notifications")).assert_refused(401, "token_missing");
}

#[test]
fn http_notifies_one_user_several_users_or_all() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (_redis, gateway) = start();
    let [mut ann, mut bob, mut eve] = ["ann", "bob", "eve"]
        .map(|user| Peer::open(&python, gateway.address, "/ws/notifications", &token::of(user)));
    let one = r#"{"type":"order_shipped"}"#;
    let answer = post(&gateway, "/notify/ann", one);
    assert_eq!(answer, json!({"channel": "user:ann:notifications", "receivers": 1}));
    assert_eq!(ann.text(), one);

    let channels = ["ann", "bob"].map(|user| format!("user:{user}:notifications"));
    let several = json!({"channels": channels, "data": {"type": "match"}}).to_string();
    assert_eq!(post(&gateway, "/publish", &several)["failed"], 0);
    post(&gateway, "/notify", r#"{"type":"maintenance"}"#);
    for peer in [&mut ann, &mut bob] {
        assert_eq!(two(peer), [r#"{"type":"maintenance"}"#, r#"{"type":"match"}"#]);
    }
    assert_eq!(eve.text(), r#"{"type":"maintenance"}"#, "and nothing before it");

    let nobody = post(&gateway, "/notify/dan", one);
    assert_eq!(nobody["receivers"], 0, "the backend learns that he is not connected");
}

#[test]
fn a_client_s_token_notifies_nobody() {
    let (_redis, gateway) = start();
    let request = Request::line("POST /notify/bob HTTP/1.1").bearer(&token::of("ann"));
    gateway.send(&request.header("Content-Length", "0")).assert_refused(401, "token_invalid");
}
