//! Streams that are added within a session: what was missed comes behind the answer, then what is new.

use super::{Scene, say};
use crate::rig::{Client, Gateway, Redis, Settings, token};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

const STREAM: &str = "log:7";

fn subscribe(client: &mut Client, more: &Value) -> Value {
    let mut frame = json!({"type": "subscribe", "channel": STREAM});
    frame.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
    say(client, &frame);
    let answer = client.json();
    assert_eq!((&answer["type"], &answer["channel"]), (&json!("subscribed"), &json!(STREAM)));
    answer
}

fn entry(client: &mut Client) -> (Value, String) {
    let frame = client.json();
    assert_eq!((&frame["type"], &frame["channel"]), (&json!("message"), &json!(STREAM)), "{frame}");
    (frame["data"].clone(), frame["id"].as_str().expect("an id").to_owned())
}

#[test]
fn what_came_after_the_position_comes_behind_the_answer_and_then_what_is_new() {
    let scene = Scene::new();
    let ids: Vec<_> = (0..5).map(|n| scene.redis.add(STREAM, &n.to_string())).collect();
    let mut client = scene.open();
    let answer = subscribe(&mut client, &json!({"since": ids[1]}));
    assert_eq!((&answer["recovered"], &answer["replayed"]), (&json!(true), &json!(3)));
    assert_eq!(answer["id"], json!(ids[1]));
    for (number, id) in ids.iter().enumerate().skip(2) {
        assert_eq!(entry(&mut client), (json!(number), id.clone()));
    }
    let id = scene.redis.add(STREAM, "5");
    assert_eq!(entry(&mut client), (json!(5), id.clone()));
    // Again: the place of now, and nothing twice.
    let answer = subscribe(&mut client, &json!({"since": ids[0], "ref": "again"}));
    assert_eq!((&answer["id"], &answer["ref"]), (&json!(id), &json!("again")));
    assert_eq!(answer.get("recovered"), None);
    scene.redis.add(STREAM, "6");
    assert_eq!(entry(&mut client).0, json!(6));
}

#[test]
fn without_a_position_it_begins_with_the_newest_that_are_asked_for_or_with_now() {
    let scene = Scene::new();
    (0..5).for_each(|n| drop(scene.redis.add(STREAM, &n.to_string())));
    let mut client = scene.open();
    let answer = subscribe(&mut client, &json!({}));
    assert_eq!((answer.get("recovered"), answer.get("replayed")), (None, None));
    say(&mut client, &json!({"type": "unsubscribe", "channel": STREAM}));
    assert_eq!(client.json()["type"], "unsubscribed");
    let answer = subscribe(&mut client, &json!({"last": 2}));
    assert_eq!(answer["replayed"], json!(2));
    assert_eq!([entry(&mut client).0, entry(&mut client).0], [json!(3), json!(4)]);
}

#[test]
fn a_position_that_does_not_recover_is_told_with_why() {
    let scene = Scene::new();
    let ids: Vec<_> = (0..5).map(|n| scene.redis.add(STREAM, &n.to_string())).collect();
    scene.redis.command(&["XTRIM", STREAM, "MAXLEN", "1"]);
    let mut client = scene.open();
    let answer = subscribe(&mut client, &json!({"since": ids[0]}));
    assert_eq!((&answer["recovered"], &answer["reason"]), (&json!(false), &json!("trimmed")));
    scene.redis.add(STREAM, "5");
    assert_eq!(entry(&mut client).0, json!(5));
}

/// No entry twice, none missing, in order, while they arrive all the while.
#[test]
fn subscribing_again_and_again_during_a_flood_gives_every_entry_once() {
    let scene = Scene::new();
    let first = scene.redis.add(STREAM, "0");
    let mut client = scene.open();
    let mut backend = scene.redis.connect();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let writer = std::thread::spawn(move || {
        for number in 1_u32.. {
            if over.load(Relaxed) {
                return;
            }
            let _ = backend.command(&["XADD", STREAM, "*", "data", &number.to_string()]);
            // Some thousand a second: what a test's client reads.
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    });
    let (mut position, mut expected) = (first, 1);
    for _ in 0..6 {
        let answer = subscribe(&mut client, &json!({"since": position}));
        assert_eq!(answer["recovered"], json!(true), "{answer}");
        for _ in 0..100 {
            let (data, id) = entry(&mut client);
            assert_eq!(data, json!(expected));
            (expected, position) = (expected + 1, id);
        }
        say(&mut client, &json!({"type": "unsubscribe", "channel": STREAM}));
        loop {
            let frame = client.json();
            if frame["type"] == "unsubscribed" {
                break;
            }
            assert_eq!(frame["data"], json!(expected), "{frame}");
            frame["id"].as_str().expect("an id").clone_into(&mut position);
            expected += 1;
        }
    }
    is_over.store(true, Relaxed);
    writer.join().expect("it writes");
}

#[test]
fn where_a_gap_closes_a_position_that_does_not_recover_does() {
    let redis = Redis::start();
    let endpoint = super::endpoint().set("on_gap", "close");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let ids: Vec<_> = (0..5).map(|n| redis.add(STREAM, &n.to_string())).collect();
    redis.command(&["XTRIM", STREAM, "MAXLEN", "1"]);
    let claims = json!({"sub": "42", "rooms": ["a"], "exp": token::now() + 3600});
    let mut client = gateway.open_with(&token::signed(&claims), "/ws");
    assert_eq!(client.json()["type"], "ready");
    say(&mut client, &json!({"type": "subscribe", "channel": STREAM, "since": ids[0]}));
    let (_, (_, reason)) = client.until_closed();
    assert_eq!(reason, "gap");
}
