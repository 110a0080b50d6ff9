//! The chat: two people in a room, by a library and by the page.

use crate::rig::{
    Gateway, Redis, Request, Settings,
    chromium::Chromium,
    http::{Response, connect},
    left_out,
    python::{NO_PYTHON, Peer, python},
};
use serde_json::{Value, json};
use std::{io::Write as _, path::Path};

const SYSTEM: &str = r#"{"type":"system","text":"Closing at noon."}"#;

/// The file as it stands, tokens included.
fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::example("chat.toml", &redis));
    (redis, gateway)
}

/// A system message for the lobby.
#[track_caller]
fn announce(gateway: &Gateway) {
    let request = Request::line("POST /rooms/lobby/system HTTP/1.1").bearer("demo-system");
    let request = request.header("Content-Length", &SYSTEM.len().to_string());
    let mut stream = connect(gateway.address);
    stream.write_all(&[&request.encode(), SYSTEM.as_bytes()].concat()).expect("taken");
    let answer = Response::read(&mut stream).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Enters the lobby, and waits for the roster.
fn enter(python: &str, gateway: &Gateway, user: &str) -> (Peer, Value) {
    let token = format!("demo-{user}");
    let mut peer = Peer::open(python, gateway.address, "/ws/rooms/lobby", &token);
    let presence = peer.next("presence");
    (peer, presence)
}

#[test]
fn people_come_say_something_are_told_by_the_system_and_leave() {
    let Some(python) = python() else { return left_out(NO_PYTHON) };
    let (_redis, gateway) = start();
    let (mut ann, _) = enter(&python, &gateway, "ann");
    let (mut bob, here) = enter(&python, &gateway, "bob");
    assert_eq!((&here["count"], &here["users"]), (&json!(2), &json!(["ann", "bob"])));
    assert_eq!(ann.next("join")["user"], "bob");

    ann.send(&json!({"type": "publish", "data": {"text": "hi", "user": "eve"}, "ref": "1"}));
    let seen = [&mut ann, &mut bob].map(|peer| peer.next("message"));
    for message in &seen {
        let said = &message["data"];
        assert_eq!((&said["type"], &said["user"]), (&json!("message"), &json!("ann")), "{said}");
        assert_eq!(said["data"]["text"], "hi");
    }
    assert_eq!(seen[0]["id"], seen[1]["id"], "one order for all");
    announce(&gateway);
    for peer in [&mut ann, &mut bob] {
        let expected: Value = serde_json::from_str(SYSTEM).expect("JSON");
        assert_eq!(peer.next("message")["data"], expected);
    }

    drop(bob);
    assert_eq!(ann.next("leave")["user"], "bob");
    let eve = enter(&python, &gateway, "eve");
    assert_eq!(eve.1["users"], json!(["ann", "eve"]));
}

/// A window in which this user has entered the lobby.
fn window(gateway: &Gateway, user: &str) -> Chromium {
    let mut window = Chromium::start();
    window.visit(&format!("{}&user={user}", page(gateway)));
    connected(&mut window, user);
    window
}

fn page(gateway: &Gateway) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/chat.html");
    format!("file://{}?gateway={}", file.display(), gateway.address)
}

fn connected(window: &mut Chromium, user: &str) {
    window.wait(&format!("document.getElementById('state').textContent === 'connected as {user}'"));
}

const HERE: &str = "document.getElementById('here').textContent";

/// Waits until the page shows this line, and that once.
#[track_caller]
fn shows(window: &mut Chromium, kind: &str, text: &str) {
    let lines = format!(
        "[...document.querySelectorAll('#said .{kind}')].filter((line) => line.textContent === {}).length",
        json!(text)
    );
    window.wait(&format!("{lines} === 1"));
}

fn say(window: &mut Chromium, text: &str) {
    window.value(&format!("document.querySelector('#say input').value = {}", json!(text)));
    window.value("document.getElementById('say').requestSubmit()");
}

#[test]
fn two_windows_of_the_page_talk_and_see_each_other() {
    let (_redis, gateway) = start();
    let mut ann = window(&gateway, "ann");
    let mut bob = window(&gateway, "bob");
    for window in [&mut ann, &mut bob] {
        window.wait(&format!("{HERE} === 'ann, bob'"));
    }
    shows(&mut ann, "note", "bob has joined.");
    say(&mut ann, "hi <b>bob</b>");
    say(&mut bob, "hello");
    announce(&gateway);
    for window in [&mut ann, &mut bob] {
        shows(window, "said", "annhi <b>bob</b>");
        shows(window, "said", "bobhello");
        shows(window, "system", "SystemClosing at noon.");
    }

    bob.visit("about:blank");
    shows(&mut ann, "note", "bob has left.");
    ann.wait(&format!("{HERE} === 'ann'"));
    let mut eve = bob;
    eve.visit(&page(&gateway));
    eve.wait("document.forms.length === 2");
    eve.value("document.querySelector('[name=user]').value = 'eve'");
    eve.value("document.getElementById('enter').requestSubmit()");
    connected(&mut eve, "eve");
    shows(&mut eve, "said", "bobhello"); // what was said before
    for window in [&mut ann, &mut eve] {
        assert_eq!(window.complaints(), [""; 0]);
    }
}

#[test]
fn the_page_comes_back_with_its_place_after_a_restart_of_the_gateway_and_tells_what_is_refused() {
    let redis = Redis::start();
    let settings = Settings::example("chat.toml", &redis);
    let first = Gateway::start(&settings);
    let address = first.address.to_string();
    let mut ann = window(&first, "ann");
    say(&mut ann, "one");
    shows(&mut ann, "said", "annone");
    first.terminate();
    ann.wait("document.getElementById('state').textContent === 'connecting again'");
    drop(first);
    redis.add("chat:lobby", SYSTEM);
    let second = Gateway::start(&settings.set("server.listen", address));
    ann.wait("document.getElementById('state').textContent === 'connected as ann'");
    shows(&mut ann, "system", "SystemClosing at noon.");
    shows(&mut ann, "said", "annone"); // not a second time

    // At once: what is said one by one may be said in time.
    ann.value(
        "for (let number = 0; number < 30; number += 1) {
             document.querySelector('#say input').value = `flood ${number}`;
             document.getElementById('say').requestSubmit();
         }",
    );
    ann.wait(
        "document.querySelector('#said').textContent.includes('Not sent (rate_limited): flood 2')",
    );
    drop(second);
}
