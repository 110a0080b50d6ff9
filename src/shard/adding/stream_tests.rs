//! Streams that are added within a session: what comes while their replay is read, or while the session ends.

use crate::{
    endpoint::{Endpoint, Origin},
    reason::CloseReason,
    shard::{
        SessionSpec,
        rig::{Client, Frame, close, identity, open, orders, run, settle, spec},
        session::SessionName,
        stream_rig::{StreamRig, endpoint_with},
    },
};
use serde_json::Value;

/// An endpoint whose clients may add the stream `chat`.
fn endpoint(more: &str) -> Endpoint {
    endpoint_with(&format!("channels = [\"orders\"]\nsubscribe_streams = [\"chat\"]\n{more}"))
}

/// A session in `orders`.
async fn connect(rig: &mut StreamRig, endpoint: Endpoint) -> (Client, SessionName) {
    let _first = rig.rig.connect(endpoint.clone()).await;
    let origin = Some(Box::new(Origin { identity: Some(identity()), ..Origin::default() }));
    let spec = SessionSpec { origin, ..spec(endpoint, identity()) };
    let subscription = rig.rig.shard.subscribe(vec![orders()].into()).await.unwrap();
    let pending = open(subscription, spec).await;
    let name = pending.name();
    let mut client = Client::start(pending);
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    (client, name)
}

/// Asks for the newest two entries, and then for what is new.
async fn subscribe(client: &mut Client) {
    client.send(0x81, br#"{"type":"subscribe","channel":"chat","last":2}"#).await;
}

/// The next frame, while all questions of the shard are answered.
async fn next(rig: &mut StreamRig, client: &mut Client) -> Frame {
    tokio::select! {
        biased;
        frame = client.next() => frame,
        () = rig.answer_all() => unreachable!("questions never end"),
    }
}

/// The next frames, each by its type, and the number of the entry or how many there are.
async fn told(rig: &mut StreamRig, client: &mut Client, frames: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..frames {
        let Frame::Text(text) = next(rig, client).await else { panic!("after {all:?}") };
        let frame: Value = serde_json::from_str(&text).unwrap();
        let number = ["data", "missed", "replayed"].iter().find_map(|name| frame.get(name));
        all.push(format!("{} {}", frame["type"].as_str().unwrap(), number.unwrap_or(&Value::Null)));
    }
    all
}

/// The number of the question that is asked last, when the page with the newest entries is there: whether the
/// stream was made anew meanwhile.
const LAST_QUESTION: usize = 1;

#[test]
fn what_comes_while_the_replay_is_read_follows_it_once_and_so_does_a_gap() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let (mut client, _) = connect(&mut rig, endpoint("")).await;
        rig.meanwhile(|question, rig| match question {
            0 => rig.publish([6]),
            LAST_QUESTION => {
                rig.stream().add_all(7..=9);
                rig.stream().trim_to(1);
            }
            _ => {}
        });
        subscribe(&mut client).await;
        let frames = told(&mut rig, &mut client, 6).await;
        assert_eq!(
            frames,
            ["subscribed 2", "message 4", "message 5", "message 6", "gap 2", "message 9"]
        );
        rig.publish([10]);
        assert_eq!(told(&mut rig, &mut client, 1).await, ["message 10"]);
    });
}

#[test]
fn where_more_comes_than_may_be_held_the_replay_is_read_again_and_nothing_is_lost_unsaid() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let (mut client, _) = connect(&mut rig, endpoint("queue_messages = 2")).await;
        rig.meanwhile(|question, rig| {
            if question == LAST_QUESTION {
                rig.publish(6..=8);
            }
        });
        subscribe(&mut client).await;
        let frames = told(&mut rig, &mut client, 3).await;
        assert_eq!(frames, ["subscribed 2", "message 7", "message 8"]);
        rig.publish([9]);
        assert_eq!(told(&mut rig, &mut client, 1).await, ["message 9"]);
        assert_eq!(rig.marks.len(), 2, "it was read twice");
    });
}

#[test]
fn a_session_that_ends_while_the_replay_is_read_does_not_join_and_leaves_nothing() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let (mut client, name) = connect(&mut rig, endpoint("")).await;
        rig.meanwhile(move |question, rig| {
            if question == LAST_QUESTION {
                rig.rig.shard.registry.close(name, CloseReason::Restarting);
            }
        });
        subscribe(&mut client).await;
        assert_eq!(next(&mut rig, &mut client).await, close(CloseReason::Restarting));
        tokio::select! {
            biased;
            () = settle() => {}
            () = rig.answer_all() => unreachable!("questions never end"),
        }
        // The client has not answered the close frame yet.
        assert_eq!(rig.rig.metrics().open(), 1);
        assert_eq!(rig.given_back, 1);
        let streams = &rig.rig.shard.registry.streams;
        assert!(streams.hub.borrow().find("chat").is_none());
        assert!(streams.holding.is_empty());
        drop(client);
        settle().await;
        assert_eq!(rig.rig.shard.registry.added_sessions(), 0);
    });
}
