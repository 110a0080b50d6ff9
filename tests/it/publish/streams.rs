//! Publishing to a stream: a durable inbox.

use super::{Scene, say, told};
use crate::rig::{
    client::{TEXT, encode},
    resp::Reply,
};
use serde_json::json;

#[test]
fn what_is_said_is_kept_and_its_sender_is_told_its_id() {
    let scene = Scene::new("stream = \"inbox\"\nkeep_entries = 0\nstamp = false");
    let mut ann = scene.join("ann", "7");
    say(&mut ann, &json!({"type": "publish", "data": {"order": 1}, "ref": "a"}));
    let answer = told(&mut ann);
    let id = answer["id"].as_str().unwrap();
    assert_eq!(answer, json!({"type": "published", "ref": "a", "id": id}));
    let found = scene.redis.command(&["XRANGE", "inbox", id, id]);
    assert!(matches!(&found, Reply::List(entries) if entries.len() == 1), "{found:?}");
    assert_eq!(scene.redis.command(&["XLEN", "inbox"]), Reply::Integer(1));
    assert_eq!(scene.redis.command(&["PTTL", "inbox"]), Reply::Integer(-1));
}

#[test]
fn a_stream_that_a_client_names_expires_and_one_that_is_not_there_is_not_made() {
    let expires = "stream = \"inbox:{path.room}\"\nkeep_entries = 10\nexpire_after = \"90s\"";
    let scene = Scene::new(expires);
    let mut ann = scene.join("ann", "7");
    say(&mut ann, &json!({"type": "publish", "data": 1, "ref": "a"}));
    assert_eq!(told(&mut ann)["type"], "published");
    crate::rig::wait::until("it expires", || {
        matches!(scene.redis.command(&["PTTL", "inbox:7"]), Reply::Integer(80_000..=90_000))
    });
    let scene = Scene::new("stream = \"inbox\"\nkeep_entries = 0\ncreate = false");
    let mut ann = scene.join("ann", "7");
    say(&mut ann, &json!({"type": "publish", "data": 1, "ref": "a"}));
    let refused = json!({"type": "refused", "ref": "a", "code": "channel_not_found"});
    assert_eq!(told(&mut ann), refused);
    assert_eq!(scene.redis.command(&["EXISTS", "inbox"]), Reply::Integer(0));
}

/// More answers than may wait for a client that reads none, and more frames than mean nothing may.
#[test]
fn bursts_are_published_and_answered_in_the_order_in_which_they_were_sent() {
    let table =
        "stream = \"inbox\"\nkeep_entries = 0\nstamp = false\nper_second = 100000\nburst = 1000";
    let scene = Scene::new(table);
    let mut ann = scene.join("ann", "7");
    let frame = |n: u32| json!({"type": "publish", "data": n, "ref": n.to_string()}).to_string();
    for burst in 0..3 {
        let burst = 900 * burst..900 * (burst + 1);
        let frames = burst.clone().flat_map(|n| encode(TEXT, frame(n).as_bytes()));
        ann.send_bytes(&frames.collect::<Vec<_>>());
        for n in burst {
            let (answer, reference) = (told(&mut ann), json!(n.to_string()));
            assert_eq!((&answer["type"], &answer["ref"]), (&json!("published"), &reference));
        }
    }
    let Reply::List(entries) = scene.redis.command(&["XRANGE", "inbox", "-", "+"]) else {
        panic!("no entries")
    };
    let entry = |n: u32| vec![Reply::Bytes(b"data".to_vec()), Reply::Bytes(n.to_string().into())];
    assert_eq!(entries.len(), 2_700);
    for (n, found) in (0..).zip(entries) {
        assert!(
            matches!(&found, Reply::List(it) if it[1] == Reply::List(entry(n))),
            "{n}: {found:?}"
        );
    }
}

/// Redis trims by whole nodes of 100 entries: with `keep_entries` 10 it keeps a hundred or so.
#[test]
fn a_stream_keeps_about_as_many_entries_as_it_is_to_keep() {
    let table = "stream = \"inbox\"\nkeep_entries = 10\nper_second = 100000\nburst = 1000";
    let scene = Scene::new(table);
    let mut ann = scene.join("ann", "7");
    let frame = encode(TEXT, br#"{"type":"publish","data":1,"ref":"a"}"#);
    ann.send_bytes(&frame.repeat(900));
    for _ in 0..900 {
        assert_eq!(told(&mut ann)["type"], "published");
    }
    let Reply::Integer(kept) = scene.redis.command(&["XLEN", "inbox"]) else { panic!("no length") };
    assert!((10..=210).contains(&kept), "{kept}");
}
