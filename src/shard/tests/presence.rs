//! What a session is told of its room, with upstream in the test's hands.

use crate::{
    bus::{Change, PresenceEvent, PresenceRequest, PresenceRules, Roster},
    endpoint::{AnyChannel, Endpoint, Format, OnSlow, Presence, PresenceChannel},
    identity::Identity,
    shard::rig::{Client, Frame, Rig, endpoint, identity, orders, run, settle, text},
};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

fn shown() -> Endpoint {
    let rules = PresenceRules {
        ttl: Duration::from_secs(30),
        leave_after: Duration::from_secs(15),
        roster: 1_000,
    };
    let any = AnyChannel::parse("ord{any}").expect("it has one");
    let presence = Some(Presence { channel: PresenceChannel::Any(any), rules: Arc::new(rules) });
    Endpoint { format: Format::Json, presence, ..endpoint() }
}

fn of(user: &str) -> Identity {
    Identity { user: user.into(), ..identity() }
}

fn roster(users: &[&str], user: Option<&str>) -> PresenceEvent {
    let users: Vec<Arc<str>> = users.iter().map(|&user| user.into()).collect();
    let roster = Roster { room: orders(), count: users.len(), users: Some(users) };
    let users = user.map(|user| [user.into()].into());
    PresenceEvent::Roster { roster: Arc::new(roster), users }
}

fn change(user: &str, is_join: bool) -> PresenceEvent {
    PresenceEvent::Change(Arc::new(Change { room: orders(), user: user.into(), is_join }))
}

async fn request(rig: &mut Rig) -> String {
    match rig.upstream.presence.requests.recv().await.unwrap() {
        PresenceRequest::Enter { room, user, .. } => format!("{user} enters {room}"),
        PresenceRequest::Leave { room, user } => format!("{user} leaves {room}"),
        PresenceRequest::Again { room, .. } => format!("{room} again"),
        PresenceRequest::Settle(_) => "settle".to_owned(),
    }
}

async fn open(rig: &mut Rig, endpoint: Endpoint, user: &str) -> Client {
    let mut client = rig.connect_as(endpoint, of(user)).await;
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}

#[test]
fn a_session_hears_of_nobody_before_its_roster_and_never_of_its_own_user() {
    run(async {
        let mut rig = Rig::new();
        let mut ann = open(&mut rig, shown(), "ann").await;
        assert_eq!(request(&mut rig).await, "ann enters orders");
        let ring = |rig: &Rig, event| rig.upstream.presence.rings[0].send(event);
        ring(&rig, change("early", true));
        ring(&rig, roster(&["ann"], None));
        settle().await;
        let mut bob = open(&mut rig, shown(), "bob").await;
        assert_eq!(request(&mut rig).await, "bob enters orders");
        let mut carol = open(&mut rig, shown(), "carol").await;
        assert_eq!(request(&mut rig).await, "carol enters orders");
        ring(&rig, roster(&["ann", "bob"], Some("bob")));
        ring(&rig, change("bob", true));
        ring(&rig, change("ann", false));
        ring(&rig, roster(&["bob", "carol"], Some("carol")));
        let list = |users: &str, count| {
            text(&format!(
                r#"{{"type":"presence","channel":"orders","count":{count},"users":[{users}]}}"#
            ))
        };
        assert_eq!(ann.next().await, list(r#""ann""#, 1));
        let joined = r#"{"type":"join","channel":"orders","user":"bob"}"#;
        assert_eq!(ann.next().await, text(joined));
        assert_eq!(bob.next().await, list(r#""ann","bob""#, 2));
        let left = r#"{"type":"leave","channel":"orders","user":"ann"}"#;
        assert_eq!(bob.next().await, text(left));
        assert_eq!(carol.next().await, list(r#""bob","carol""#, 2));
        drop(ann);
        assert_eq!(request(&mut rig).await, "ann leaves orders");
    });
}

#[test]
fn a_roster_that_was_made_before_a_session_came_is_not_for_it() {
    run(async {
        let mut rig = Rig::new();
        let mut ann = open(&mut rig, shown(), "ann").await;
        let mut bob = open(&mut rig, shown(), "bob").await;
        let ring = |event| rig.upstream.presence.rings[0].send(event);
        ring(roster(&["ann"], None));
        ring(change("carol", true));
        ring(roster(&["ann", "bob", "carol"], Some("bob")));
        let list = |users: &str, count| {
            text(&format!(
                r#"{{"type":"presence","channel":"orders","count":{count},"users":[{users}]}}"#
            ))
        };
        assert_eq!(bob.next().await, list(r#""ann","bob","carol""#, 3));
        assert_eq!(ann.next().await, list(r#""ann""#, 1));
        // A count is for everybody: nobody can be missing in it.
        let mut dan = open(&mut rig, shown(), "dan").await;
        let counted = Roster { room: orders(), count: 7, users: None };
        let counted = PresenceEvent::Roster { roster: Arc::new(counted), users: None };
        rig.upstream.presence.rings[0].send(counted);
        let count = r#"{"type":"presence","channel":"orders","count":7}"#;
        assert_eq!(dan.next().await, text(count));
    });
}

#[test]
fn who_is_there_is_never_dropped_for_a_slow_client_until_it_is_closed() {
    run(async {
        let mut rig = Rig::new();
        let most = NonZeroUsize::new(100).unwrap();
        let slow = Endpoint { on_slow: OnSlow::Latest, queue_messages: most, ..shown() };
        let mut client = open(&mut rig, slow, "ann").await;
        let long: Vec<String> = (0..2_000).map(|n| format!("{n:0>200}")).collect();
        let long: Vec<_> = long.iter().map(String::as_str).chain(["ann"]).collect();
        for n in 0..20 {
            rig.upstream.presence.rings[0].send(roster(&long, None));
            rig.publish("orders", &format!("\"{n}\""));
        }
        settle().await;
        let mut rosters = 0;
        while rosters < 20 {
            let Frame::Text(frame) = client.next().await else { panic!("it is not closed") };
            rosters += usize::from(frame.starts_with(r#"{"type":"presence""#));
        }
        for _ in 0..300 {
            rig.upstream.presence.rings[0].send(roster(&long, None));
        }
        settle().await;
        let mut more = 0;
        while matches!(client.next().await, Frame::Text(_)) {
            more += 1;
        }
        assert!(more < 150, "as many as messages may wait, and what the socket took: {more}");
    });
}

#[test]
fn a_shard_that_missed_events_asks_for_each_room_again() {
    run(async {
        let mut rig = Rig::new();
        let mut ann = open(&mut rig, shown(), "ann").await;
        request(&mut rig).await;
        for n in 0..20_000 {
            rig.upstream.presence.rings[0].send(change(&n.to_string(), true));
        }
        assert_eq!(request(&mut rig).await, "orders again");
        // What comes before the roster would be of no use.
        rig.upstream.presence.rings[0].send(roster(&["ann"], None));
        assert!(matches!(ann.next().await, Frame::Text(it) if it.contains("presence")));
    });
}

#[test]
fn a_session_without_presence_says_nothing_of_its_user() {
    run(async {
        let mut rig = Rig::new();
        let _client = rig.connect(endpoint()).await;
        settle().await;
        assert!(rig.upstream.presence.requests.try_recv().is_err());
        assert!(rig.shard.registry.presence.rooms.borrow().is_empty());
    });
}
