//! Presence: who is in a room, as clients of two gateways are shown it.

use crate::rig::{
    Client, Endpoint, Gateway, Redis, Request, Settings,
    events::{Events, request},
    resp::Reply,
    token,
    wait::until,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use toml::Table;

mod account;
mod faults;
mod rules;

/// `/ws/{room}` ← `chat:{path.room}`, where all see one another.
fn rooms(presence: Table) -> Endpoint {
    let mut presence = presence;
    presence.entry("channel").or_insert("chat:{path.room}".into());
    Endpoint::new("rooms", "/ws/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("presence", presence)
}

/// … for so long without a refresh, and after the last session. The defaults (30 s, 15 s) would make each of
/// these tests last for a minute; nothing else depends on them.
fn brief() -> Table {
    toml::toml! {
        ttl = "3s"
        leave_after = "1s"
    }
}

fn gateway(redis: &Redis, endpoint: Endpoint) -> Gateway {
    Gateway::start(&Settings::new(redis).endpoint(endpoint))
}

/// A client that keeps what it is told of the room, and knows what it must never be told.
struct Guest {
    client: Client,
    user: String,
    users: BTreeSet<String>,
    /// `presence`, `join 43`, `leave 43`.
    told: Vec<String>,
}

impl Guest {
    /// Opens a session, and waits for its roster.
    #[track_caller]
    fn of(gateway: &Gateway, user: &str) -> Self {
        Self::over(gateway.open_as(user, "/ws/7"), user)
    }

    /// … as soon as the gateway is connected to Redis again.
    #[track_caller]
    fn once_let_in(gateway: &Gateway, user: &str) -> Self {
        let request = Request::upgrade("/ws/7").bearer(&token::of(user));
        let mut client = None;
        until("let in", || {
            client = Client::try_open(gateway.address, &request).ok();
            client.is_some()
        });
        Self::over(client.expect("let in"), user)
    }

    #[track_caller]
    fn over(mut client: Client, user: &str) -> Self {
        assert_eq!(client.json()["type"], "ready", "first of all");
        let mut guest =
            Self { client, user: user.to_owned(), users: BTreeSet::new(), told: Vec::new() };
        guest.next();
        assert_eq!(guest.told, ["presence"], "before any change");
        assert!(guest.users.contains(user), "oneself included");
        guest
    }

    /// Takes the next frame.
    #[track_caller]
    fn next(&mut self) {
        let frame = self.client.json();
        let kind = frame["type"].as_str().expect("a type").to_owned();
        if matches!(kind.as_str(), "gap" | "heartbeat") {
            return;
        }
        assert_eq!(frame["channel"], "chat:7");
        match kind.as_str() {
            "presence" => {
                let users = frame["users"].as_array().expect("a list").iter();
                self.users = users.map(|it| it.as_str().expect("a string").to_owned()).collect();
                assert_eq!(frame["count"], self.users.len());
                self.told.push(kind);
            }
            "join" | "leave" => {
                let user = frame["user"].as_str().expect("a string").to_owned();
                assert_ne!(user, self.user, "nobody hears of himself");
                self.told.push(format!("{kind} {user}"));
                let is_news =
                    if kind == "join" { self.users.insert(user) } else { self.users.remove(&user) };
                assert!(is_news, "{:?}", self.told);
            }
            _ => panic!("{frame}"),
        }
    }

    #[track_caller]
    fn until_sees(&mut self, users: &[&str]) {
        let expected: BTreeSet<_> = users.iter().map(|&user| user.to_owned()).collect();
        while self.users != expected {
            self.next();
        }
    }
}

fn key(kind: &str) -> String {
    format!("sockway:presence:{{chat:7}}:{kind}:chat:7")
}

fn members(redis: &Redis) -> i64 {
    match redis.command(&["ZCARD", &key("members")]) {
        Reply::Integer(number) => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_gateways_show_the_same_room_and_of_two_tabs_one_may_close() {
    let redis = Redis::start();
    let (one, two) = (gateway(&redis, rooms(brief())), gateway(&redis, rooms(brief())));
    let mut ann = Guest::of(&one, "ann");
    let mut bob = Guest::of(&two, "bob");
    bob.until_sees(&["ann", "bob"]);
    ann.until_sees(&["ann", "bob"]);
    let tab = Guest::of(&one, "bob");
    assert_eq!(tab.users.len(), 2, "a user counts once");
    assert_eq!(tab.client.bye().0, 1000);
    let carol = Guest::of(&two, "carol");
    ann.until_sees(&["ann", "bob", "carol"]);
    assert_eq!(carol.client.bye().0, 1000);
    ann.until_sees(&["ann", "bob"]);
    assert_eq!(ann.told, ["presence", "join bob", "join carol", "leave carol"]);
    one.wait_metric("sockway_presence_members", 1.0);
    two.wait_metric("sockway_presence_members", 1.0);
}

#[test]
fn a_rolling_restart_shows_nobody_leave_who_comes_back() {
    let redis = Redis::start();
    let stay = toml::toml! {
        ttl = "6s"
        leave_after = "6s"
    };
    let (mut old, new) = (gateway(&redis, rooms(stay.clone())), gateway(&redis, rooms(stay)));
    let mut ann = Guest::of(&new, "ann");
    let mut bob = Guest::of(&old, "bob");
    ann.until_sees(&["ann", "bob"]);
    old.terminate();
    bob.client.assert_closed(1012, "restarting");
    let back = Guest::of(&new, "bob");
    assert_eq!(back.users.len(), 2);
    assert_eq!(old.process.exit_code(), 0);
    // What the old one had is swept; then somebody else comes, before whom a leave would have come.
    until("the old instance's member is swept", || members(&redis) == 2);
    let _carol = Guest::of(&new, "carol");
    ann.until_sees(&["ann", "bob", "carol"]);
    assert_eq!(ann.told, ["presence", "join bob", "join carol"]);
}

#[test]
fn a_restart_tells_redis_who_leaves_before_the_process_ends() {
    let redis = Redis::start();
    for shards in [1, 2] {
        let settings = Settings::new(&redis).set("server.shards", shards);
        let stay = toml::toml! {
            leave_after = "2s"
        };
        let mut gateway = Gateway::start(&settings.endpoint(rooms(stay)));
        let guests: Vec<_> = (0..20).map(|n| Guest::of(&gateway, &format!("u{n}"))).collect();
        gateway.terminate();
        for mut guest in guests {
            let (_, close) = guest.client.until_closed();
            assert_eq!(close, (1012, "restarting".to_owned()));
            drop(guest);
        }
        assert_eq!(gateway.process.exit_code(), 0);
        let Reply::List(time) = redis.command(&["TIME"]) else { panic!("a time") };
        let seconds: u64 = time[0].clone().text().parse().expect("a number");
        let soon = ((seconds + 3) * 1_000).to_string();
        let told = redis.command(&["ZCOUNT", &key("members"), "-inf", &soon]);
        assert_eq!(told, Reply::Integer(20), "{shards} shards");
        redis.command(&["FLUSHALL"]);
    }
}

#[test]
fn over_server_sent_events_presence_join_and_leave_are_events() {
    let redis = Redis::start();
    let gateway = gateway(&redis, rooms(brief()).set("sse", true));
    let of_ann = request("/ws/7").bearer(&token::of("ann"));
    let mut events = Events::open(gateway.address, &of_ann);
    events.ready();
    let data = |event: crate::rig::events::Event| -> Value {
        serde_json::from_str(&event.data).expect("JSON")
    };
    let shown = json!({"type": "presence", "channel": "chat:7", "count": 1, "users": ["ann"]});
    assert_eq!(data(events.expect("presence")), shown);
    let bob = Guest::of(&gateway, "bob");
    let shown = json!({"type": "join", "channel": "chat:7", "user": "bob"});
    assert_eq!(data(events.expect("join")), shown);
    assert_eq!(bob.client.bye().0, 1000);
    let shown = json!({"type": "leave", "channel": "chat:7", "user": "bob"});
    assert_eq!(data(events.expect("leave")), shown);
}
