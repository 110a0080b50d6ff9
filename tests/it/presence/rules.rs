//! What a handshake is refused for, what a reload changes, and where there is a number and no list.

use super::*;
use crate::rig::client::TEXT;

#[test]
fn a_user_that_is_too_long_to_be_shown_is_refused() {
    let redis = Redis::start();
    let gateway = gateway(&redis, rooms(brief()));
    let mut longest = gateway.open_as(&"x".repeat(128), "/ws/7");
    assert_eq!(longest.json()["type"], "ready");
    assert_eq!(longest.json()["users"], json!(["x".repeat(128)]));
    let request = |user: &str| Request::upgrade("/ws/7").bearer(&token::of(user));
    gateway.send(&request(&"x".repeat(129))).assert_refused(403, "value_not_allowed");
    // Any other name is escaped in Redis and plain here.
    let mut odd = gateway.open_as("a b:c\u{e4}!*", "/ws/8");
    assert_eq!(odd.json()["type"], "ready");
    assert_eq!(odd.json()["users"], json!(["a b:c\u{e4}!*"]));
}

#[test]
fn a_claim_that_gives_more_than_one_room_is_refused() {
    let redis = Redis::start();
    let mut presence = brief();
    presence.insert("channel".to_owned(), "room:{claim.room}".into());
    let endpoint = Endpoint::new("rooms", "/ws", &["room:{claim.room}"]);
    let endpoint = endpoint.set("format", "json").set("presence", presence);
    let gateway = gateway(&redis, endpoint);
    let with = |room: Value| {
        let claims = json!({"sub": "ann", "exp": token::now() + 3_600, "room": room});
        Request::upgrade("/ws").bearer(&token::signed(&claims))
    };
    gateway.send(&with(json!(["a", "b"]))).assert_refused(403, "claim_unusable");
    gateway.send(&with(json!([]))).assert_refused(403, "claim_missing");
    let mut client = Client::open(gateway.address, &with(json!(["a"])));
    assert_eq!(client.json()["type"], "ready");
    assert_eq!(client.json()["channel"], "room:a");
}

#[test]
fn with_any_each_channel_of_the_session_that_is_named_so_is_a_room() {
    let redis = Redis::start();
    let mut presence = brief();
    presence.insert("channel".to_owned(), "chat:{any}".into());
    let channels = ["chat:{path.room}", "chat:lobby", "news"];
    let endpoint = Endpoint::new("rooms", "/ws/{room}", &channels);
    let endpoint = endpoint.set("format", "json").set("presence", presence);
    let gateway = gateway(&redis, endpoint);
    let mut client = gateway.open_as("ann", "/ws/7");
    assert_eq!(client.json()["type"], "ready");
    let rooms: BTreeSet<_> =
        (0..2).map(|_| client.json()["channel"].as_str().expect("a room").to_owned()).collect();
    assert_eq!(rooms, BTreeSet::from(["chat:7".to_owned(), "chat:lobby".to_owned()]));
}

#[test]
fn a_large_room_has_a_number_and_its_sessions_no_joins() {
    let redis = Redis::start();
    let mut presence = brief();
    presence.insert("roster".to_owned(), 2.into());
    let gateway = gateway(&redis, rooms(presence));
    let mut ann = Guest::of(&gateway, "ann");
    let mut bob = Guest::of(&gateway, "bob");
    ann.until_sees(&["ann", "bob"]);
    let mut carol = gateway.open_as("carol", "/ws/7");
    assert_eq!(carol.json()["type"], "ready");
    let counted = json!({"type": "presence", "channel": "chat:7", "count": 3});
    for client in [&mut ann.client, &mut bob.client, &mut carol] {
        assert_eq!(client.json(), counted);
    }
    carol.bye();
    drop(bob);
    // At 90 % of two there is one.
    ann.until_sees(&["ann"]);
}

#[test]
fn a_change_of_presence_closes_the_sessions_that_it_concerns_and_no_others() {
    let redis = Redis::start();
    let plain = || Endpoint::new("plain", "/plain", &["news"]).open();
    let settings = |presence| Settings::new(&redis).endpoint(rooms(presence)).endpoint(plain());
    let gateway = Gateway::start(&settings(brief()));
    let mut ann = Guest::of(&gateway, "ann");
    let mut other = gateway.open("/plain");
    let changed = toml::toml! {
        ttl = "4s"
        leave_after = "1s"
    };
    assert!(gateway.reload(&settings(changed)));
    ann.client.assert_closed(4010, "reconfigured");
    redis.publish("news", "still here");
    assert_eq!(other.text(), "still here");
}

#[test]
fn presence_never_waits_for_redis_to_answer_the_handshake() {
    let redis = Redis::start();
    let gateway = gateway(&redis, rooms(brief()));
    redis.command(&["ACL", "SETUSER", "default", "-evalsha"]);
    let mut client = gateway.open_as("ann", "/ws/7");
    assert_eq!(client.json()["type"], "ready");
    redis.publish("chat:7", "\"hi\"");
    assert_eq!(client.json()["data"], "hi");
    redis.command(&["ACL", "SETUSER", "default", "+evalsha"]);
    assert_eq!(client.json()["type"], "presence");
}

/// So long a `ttl` that only a session's end can take its user out.
#[test]
fn with_no_time_to_come_back_a_user_has_left_when_the_last_session_ends() {
    let redis = Redis::start();
    let at_once = || {
        toml::toml! {
            ttl = "5m"
            leave_after = "0s"
        }
    };
    let (one, two) = (gateway(&redis, rooms(at_once())), gateway(&redis, rooms(at_once())));
    let mut ann = Guest::of(&one, "ann");
    let (bob, tab) = (Guest::of(&two, "bob"), Guest::of(&two, "bob"));
    assert_eq!(bob.client.bye().0, 1000);
    assert_eq!(tab.client.bye().0, 1000);
    ann.until_sees(&["ann", "bob"]);
    ann.until_sees(&["ann"]);
    assert_eq!(members(&redis), 1);
    let _back = Guest::of(&two, "bob");
    ann.until_sees(&["ann", "bob"]);
    assert_eq!(ann.told, ["presence", "join bob", "leave bob", "join bob"]);
}

#[test]
fn a_stream_is_a_room_as_a_channel_is_and_its_entries_come_all_the_same() {
    for named in ["log:{path.room}", "log:{any}"] {
        let redis = Redis::start();
        let mut presence = brief();
        presence.insert("channel".to_owned(), named.into());
        let endpoint = Endpoint::streams("rooms", "/ws/{room}", &["log:{path.room}"]);
        let gateway = gateway(&redis, endpoint.set("format", "json").set("presence", presence));
        let mut ann = gateway.open_as("ann", "/ws/7");
        assert_eq!(ann.json()["type"], "ready");
        let alone = json!({"type": "presence", "channel": "log:7", "count": 1, "users": ["ann"]});
        assert_eq!(ann.json(), alone);
        let bob = gateway.open_as("bob", "/ws/7");
        assert_eq!(ann.json(), json!({"type": "join", "channel": "log:7", "user": "bob"}));
        redis.add("log:7", "1");
        let entry = ann.json();
        assert_eq!((&entry["channel"], &entry["data"]), (&json!("log:7"), &json!(1)));
        assert_eq!(bob.bye().0, 1000);
        assert_eq!(ann.json(), json!({"type": "leave", "channel": "log:7", "user": "bob"}));
    }
}

#[test]
fn a_channel_that_a_session_adds_is_a_room_of_it_until_it_is_given_back() {
    let redis = Redis::start();
    let mut presence = brief();
    presence.insert("channel".to_owned(), "talk:{any}".into());
    let endpoint = Endpoint::new("rooms", "/ws", &["news"])
        .set("format", "json")
        .set("subscribe", vec!["talk:{any}"])
        .set("presence", presence);
    let gateway = gateway(&redis, endpoint);
    let enter = |user: &str| {
        let mut client = gateway.open_as(user, "/ws");
        assert_eq!(client.json()["type"], "ready");
        say(&mut client, "subscribe");
        assert_eq!(client.json(), json!({"type": "subscribed", "channel": "talk:7"}));
        let shown = client.json();
        assert_eq!((&shown["type"], &shown["channel"]), (&json!("presence"), &json!("talk:7")));
        (client, shown["users"].clone())
    };
    let (mut ann, alone) = enter("ann");
    assert_eq!(alone, json!(["ann"]));
    let (mut bob, both) = enter("bob");
    assert_eq!(both, json!(["ann", "bob"]));
    assert_eq!(ann.json(), json!({"type": "join", "channel": "talk:7", "user": "bob"}));
    say(&mut bob, "unsubscribe");
    assert_eq!(bob.json(), json!({"type": "unsubscribed", "channel": "talk:7"}));
    assert_eq!(ann.json(), json!({"type": "leave", "channel": "talk:7", "user": "bob"}));
}

fn say(client: &mut Client, kind: &str) {
    let frame = json!({"type": kind, "channel": "talk:7"});
    client.send(TEXT, frame.to_string().as_bytes());
}
