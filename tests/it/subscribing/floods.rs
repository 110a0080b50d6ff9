//! A client with a good token that subscribes and unsubscribes as fast as it can.

use super::{Scene, answer, say, subscribe};
use crate::rig::{
    client::{TEXT, encode},
    wait::until,
};
use serde_json::json;

#[test]
fn subscribes_and_unsubscribes_of_one_name_are_all_answered_and_leave_what_came_last() {
    let scene = Scene::new();
    let mut client = scene.open();
    for number in 0..450 {
        let kind = if number % 2 == 0 { "subscribe" } else { "unsubscribe" };
        let reference = number.to_string();
        say(&mut client, &json!({"type": kind, "channel": "chat:7", "ref": reference}));
    }
    say(&mut client, &json!({"type": "unsubscribe", "channel": "chat:7", "ref": "last"}));
    let (mut answers, mut limited) = (std::collections::BTreeSet::new(), 0);
    loop {
        let frame = client.json();
        let reference = frame["ref"].as_str().expect("each has a ref").to_owned();
        limited += u32::from(frame["code"] == "rate_limited");
        if frame["code"] == "rate_limited" {
            assert!(frame["retry_after_ms"].as_u64().is_some_and(|it| it > 0), "{frame}");
        }
        assert!(answers.insert(reference.clone()), "{frame} was answered before");
        if reference == "last" {
            break;
        }
    }
    assert_eq!(answers.len(), 451);
    assert!(limited > 100, "{limited}");
    scene.redis.wait_numsub("chat:7", 0);
    until("it may subscribe again", || {
        subscribe(&mut client, "chat:7");
        client.json() == answer("subscribed", "chat:7")
    });
}

/// More frames than mean nothing may, and more than a session may have by default.
#[test]
fn as_many_subscribes_as_the_limit_allows_are_answered_however_many_come_at_once() {
    const COUNT: usize = 1_500;
    let scene = Scene::with_most(COUNT);
    let mut client = scene.open();
    for kind in ["subscribe", "unsubscribe"] {
        let frame = |n| json!({"type": kind, "channel": format!("chat:{n}")}).to_string();
        let frames = (0..COUNT).flat_map(|n| encode(TEXT, frame(n).as_bytes()));
        client.send_bytes(&frames.collect::<Vec<_>>());
        for _ in 0..COUNT {
            let answer = client.json();
            assert_eq!(answer["type"], format!("{kind}d"), "{answer}");
        }
    }
}
