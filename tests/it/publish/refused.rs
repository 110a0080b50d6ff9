//! What is not published, each with its word, and what ends a session.

use super::{CHAT, Scene, rooms, say, say_text, told};
use crate::rig::{Client, Endpoint, Gateway, Redis, Request, Settings, token};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn publish(reference: &str) -> Value {
    json!({"type": "publish", "data": 1, "ref": reference})
}

fn refused(reference: &str, code: &str) -> Value {
    json!({"type": "refused", "ref": reference, "code": code})
}

#[test]
fn a_frame_that_is_not_understood_is_told_and_the_session_goes_on() {
    let scene = Scene::new("channel = \"chat:{path.room}\"\nstamp = false");
    let mut ann = scene.join("ann", "7");
    for (frame, reference) in [
        ("hello", None),
        ("[]", None),
        (r#"{"type":"publish","data":1,"ref":7}"#, None),
        (r#"{"type":"publish","data":"\ud800"}"#, None),
        (r#"{"type":"publish","data":1,"data":2}"#, None),
        (r#"{"type":"shout","ref":"r"}"#, Some("r")),
        (r#"{"type":"publish","ref":"r"}"#, Some("r")),
        (r#"{"type":"publish","channel":"chat:7","data":1,"ref":"r"}"#, Some("r")),
    ] {
        say_text(&mut ann, frame);
        let mut expected = json!({"type": "refused", "code": "frame_invalid"});
        if let Some(reference) = reference {
            expected["ref"] = reference.into();
        }
        assert_eq!(told(&mut ann), expected, "{frame}");
    }
    say(&mut ann, &json!({"type": "publish", "data": "still here"}));
    assert_eq!(told(&mut ann)["data"], "still here");
    assert_eq!(scene.counted("frame_invalid"), 8.0);
}

#[test]
fn where_messages_that_mean_nothing_close_a_frame_that_is_not_understood_does() {
    let scene = Scene::of(rooms(CHAT).set("inbound", "close"));
    let mut ann = scene.join("ann", "7");
    say_text(&mut ann, "hello");
    ann.assert_closed(1003, "unexpected_message");
}

#[test]
fn data_of_another_kind_is_refused() {
    for (kind, good, bad) in
        [("object", json!({}), json!([])), ("text", json!("hi"), json!({"text": "hi"}))]
    {
        let scene = Scene::new(&format!("{CHAT}\nstamp = false\ndata = \"{kind}\""));
        let mut ann = scene.join("ann", "7");
        say(&mut ann, &json!({"type": "publish", "data": bad, "ref": "r"}));
        assert_eq!(told(&mut ann), refused("r", "data_invalid"), "{kind}");
        say(&mut ann, &json!({"type": "publish", "data": good}));
        assert_eq!(told(&mut ann)["data"], good, "{kind}");
    }
}

#[test]
fn nobody_publishes_where_there_is_no_table_or_without_the_claim_that_it_asks_for() {
    let redis = Redis::start();
    let quiet = Endpoint::new("quiet", "/ws/quiet/{room}", &["chat:{path.room}"]);
    let rooms = rooms(&format!("{CHAT}\nstamp = false\nrequire_claim = \"may\""));
    let settings = Settings::new(&redis).endpoint(rooms).endpoint(quiet.set("format", "json"));
    let scene = Scene { gateway: Gateway::start(&settings), redis };
    let mut ann = scene.gateway.open_as("ann", "/ws/quiet/7");
    assert_eq!(ann.json()["type"], "ready");
    say(&mut ann, &publish("a"));
    assert_eq!(told(&mut ann), refused("a", "not_permitted"));
    for (may, is_permitted) in [
        (json!(true), true),
        (json!(["other", "rooms"]), true),
        (json!(false), false),
        (json!("true"), false),
        (json!(["other"]), false),
        (Value::Null, false),
    ] {
        let exp = token::now() + 600;
        let token = token::signed(&json!({"sub": may.to_string(), "exp": exp, "may": may}));
        let mut client = scene.join_with(&token, "7");
        say(&mut client, &publish("b"));
        let first = told(&mut client);
        match is_permitted {
            true => assert_ne!(first["type"], "refused", "{may}"),
            false => assert_eq!(first, refused("b", "not_permitted"), "{may}"),
        }
    }
}

#[test]
fn a_user_has_one_bucket_over_all_of_its_sessions_and_is_told_when_it_may_again() {
    let scene = Scene::new(&format!("{CHAT}\nper_second = 1\nburst = 4"));
    // On both shards.
    let mut clients: Vec<_> = (0..8).map(|room| scene.join("ann", &room.to_string())).collect();
    let (mut published, mut waits) = (0, Vec::new());
    let began = Instant::now();
    for client in &mut clients {
        say(client, &publish("r"));
        let answer = loop {
            let frame = told(client);
            if frame["ref"] == "r" {
                break frame;
            }
        };
        match answer["retry_after_ms"].as_u64() {
            None => published += 1,
            Some(wait) => waits.push(wait),
        }
    }
    let most = 4 + began.elapsed().as_secs() + 1;
    assert!((4..=most).contains(&published), "{published}: the burst, and one each second");
    assert!(waits.iter().all(|wait| (1..=1001).contains(wait)), "{waits:?}");
    assert_eq!(scene.counted("rate_limited"), waits.len() as f64);
    let mut bob = scene.join("bob", "9");
    say(&mut bob, &publish("b"));
    let both = [told(&mut bob)["type"].clone(), told(&mut bob)["type"].clone()];
    assert!(both.contains(&json!("published")), "{both:?}: another user has its own");
}

#[test]
fn a_client_that_goes_on_and_on_though_it_is_refused_is_closed() {
    let scene = Scene::new(&format!("{CHAT}\nburst = 2"));
    let mut ann = scene.join("ann", "7");
    for _ in 0..41 {
        say_text(&mut ann, "nonsense");
    }
    ann.until_closed();
    let mut bob = scene.join("bob", "7");
    for _ in 0..40 {
        say_text(&mut bob, "nonsense");
        assert_eq!(told(&mut bob)["code"], "frame_invalid");
    }
    say_text(&mut bob, "nonsense");
    let (_, (code, reason)) = bob.until_closed();
    assert_eq!((code, &*reason), (1008, "rate_limited"));
}

#[test]
fn a_claim_that_gives_more_than_one_place_to_publish_to_is_refused_in_the_handshake() {
    let endpoint = Endpoint::new("rooms", "/ws", &["news"])
        .set("format", "json")
        .set("publish", super::table("channel = \"room:{claim.room}\""));
    let scene = Scene::of(endpoint);
    let with = |room: Value| {
        let claims = json!({"sub": "ann", "exp": token::now() + 3_600, "room": room});
        Request::upgrade("/ws").bearer(&token::signed(&claims))
    };
    scene.gateway.send(&with(json!(["a", "b"]))).assert_refused(403, "claim_unusable");
    scene.gateway.send(&with(json!([]))).assert_refused(403, "claim_missing");
    let mut ann = Client::open(scene.gateway.address, &with(json!(["a"])));
    assert_eq!(ann.json()["type"], "ready");
    say(&mut ann, &publish("r"));
    assert_eq!(told(&mut ann), json!({"type": "published", "ref": "r", "receivers": 0}));
}

#[test]
fn the_next_handshake_of_a_user_who_was_closed_for_a_flood_waits_a_second() {
    let scene = Scene::new(&format!("{CHAT}\nburst = 1"));
    let mut ann = scene.join("ann", "7");
    let before = Instant::now();
    for _ in 0..21 {
        say_text(&mut ann, "nonsense");
    }
    ann.until_closed();
    let mut again = scene.join("ann", "7");
    assert!(before.elapsed() >= Duration::from_secs(1), "{:?}", before.elapsed());
    say(&mut again, &json!({"type": "publish", "data": "sorry"}));
    assert_eq!(told(&mut again)["data"]["data"], "sorry");
}

/// It is the only one that publishes, and never too fast: Redis alone refuses it.
#[test]
fn a_client_that_goes_on_and_on_with_what_redis_refuses_is_closed() {
    let table = "stream = \"inbox\"\nkeep_entries = 0\nper_second = 100000\nburst = 2";
    let scene = Scene::new(table);
    scene.redis.command(&["SET", "inbox", "x"]);
    let mut ann = scene.join("ann", "7");
    for _ in 0..40 {
        say(&mut ann, &publish("r"));
        assert_eq!(told(&mut ann), refused("r", "redis_refused"));
    }
    say(&mut ann, &publish("r"));
    let (_, (code, reason)) = ann.until_closed();
    assert_eq!((code, &*reason), (1008, "rate_limited"));
}
