//! Streams over Server-Sent Events: positions as ids, and how a browser comes back with them.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    events::{Events, request},
    settings::rooms,
    token,
};
use serde_json::{Value, json};

const STREAM: &str = "chat:7";

/// `/ws/rooms/{room}`, raw, over both.
fn chat() -> Endpoint {
    Endpoint::streams("rooms", "/ws/rooms/{room}", &["chat:{path.room}"]).open().set("sse", true)
}

/// … and `/ws/json/{room}`.
fn start(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let json = Endpoint::streams("json", "/ws/json/{room}", &["chat:{path.room}"]).open();
    let json = json.set("sse", true).set("format", "json");
    let settings = Settings::new(&redis).endpoint(chat()).endpoint(json);
    let gateway = Gateway::start(&change(settings));
    (redis, gateway)
}

/// A browser's `EventSource`, and what `ready` says to it of the stream.
struct Source {
    events: Events,
    ready: Value,
    /// The last id that it has.
    id: String,
}

impl Source {
    #[track_caller]
    fn open(gateway: &Gateway, request: &Request) -> Self {
        let mut events = Events::open(gateway.address, request);
        let ready = events.expect("ready");
        let said: Value = serde_json::from_str(&ready.data).expect("JSON");
        Self { events, ready: said["streams"][STREAM].clone(), id: ready.last_id }
    }

    #[track_caller]
    fn messages(&mut self, payloads: &[&str]) {
        for payload in payloads {
            let event = self.events.expect("message");
            assert_eq!(event.data, *payload);
            self.id = event.last_id;
        }
    }

    /// Checks that it goes on behind the first so many of these entries, and that what is new follows.
    #[track_caller]
    fn goes_on_behind(mut self, redis: &Redis, entries: &[(String, &str)], first: usize) {
        let payloads: Vec<&str> = entries.iter().map(|(_, payload)| *payload).collect();
        let (id, replayed) = (&entries[first - 1].0, entries.len() - first);
        assert_eq!(self.ready, json!({"id": id, "recovered": true, "replayed": replayed}));
        assert_eq!(self.id, *id, "the event's own id");
        self.messages(&payloads[first..]);
        let new = redis.add(STREAM, "new");
        self.messages(&["new"]);
        assert_eq!(self.id, new);
        redis.command(&["XDEL", STREAM, &new]);
    }
}

#[test]
fn the_header_beats_last_event_id_in_the_query_and_that_beats_since() {
    let (redis, gateway) = start(|it| it);
    let entries = ["a", "b", "c", "d", "e"].map(|payload| (redis.add(STREAM, payload), payload));
    let [a, b, c, ..] = entries.each_ref().map(|(id, _)| id);
    let target = |query: &str| request(&format!("/ws/rooms/7?{query}"));
    let since = format!("since={a}");
    let both = format!("{since}&last_event_id={b}");
    for (request, first) in [
        (target(&since), 1),
        (target(&both), 2),
        (target(&both).header("Last-Event-ID", c), 3),
        (target(&since).header("Last-Event-ID", c), 3),
        (target("").header("Last-Event-ID", c), 3),
    ] {
        Source::open(&gateway, &request).goes_on_behind(&redis, &entries, first);
    }
}

/// What a browser repeats by itself nobody could correct: it is told, and goes on with what is new.
#[test]
fn a_last_event_id_that_is_no_position_is_a_reset_and_the_stream_is_live() {
    let (redis, gateway) = start(|it| it);
    let last = redis.add(STREAM, "before");
    let told = json!({"id": last, "recovered": false, "reason": "reset", "missed": null});
    let mut sources = Vec::new();
    for garbage in ["latest", "5", "1-0,2-0", "chat:7@1-0", "18446744073709551616-0", "\u{fc}"] {
        let header = request(&format!("/ws/rooms/7?since={last}")).header("Last-Event-ID", garbage);
        sources.push(Source::open(&gateway, &header));
    }
    sources.push(Source::open(&gateway, &request("/ws/rooms/7?last_event_id=%ff")));
    for source in &sources {
        assert_eq!((&source.ready, &source.id), (&told, &last));
    }
    // Raw: neither the gap_notice nor an event `gap` repeats what `ready` has said.
    redis.add(STREAM, "live");
    sources.iter_mut().for_each(|source| source.messages(&["live"]));
    // The same, where only `since` says it, can be corrected.
    gateway.send(&request("/ws/rooms/7?since=latest")).assert_refused(400, "since_invalid");
}

#[test]
fn where_there_are_no_streams_the_id_of_a_browser_is_ignored_and_a_position_is_not() {
    let (redis, gateway) = start(|it| {
        it.endpoint(rooms().set("name", "plain").set("path", "/ws/plain/{room}").set("sse", true))
    });
    for value in ["5-0", "garbage"] {
        let header = request(&format!("/ws/plain/1?last_event_id={value}"));
        let mut events = Events::open(gateway.address, &header.header("Last-Event-ID", value));
        let ready = events.expect("ready");
        assert!(!ready.data.contains("streams") && ready.last_id.is_empty(), "{ready:?}");
        redis.publish("room:1", "hi");
        assert_eq!(events.message(), "hi");
        drop(events);
    }
    let since = request("/ws/plain/1?since=5-0");
    gateway.send(&since).assert_refused(400, "since_not_supported");
}

#[test]
fn each_entry_and_each_gap_moves_the_id_and_a_message_of_a_channel_does_not() {
    let mixed = Endpoint::streams("mixed", "/ws/mixed/{room}", &["chat:{path.room}"]).open();
    let mixed = mixed.set("sse", true).set("channels", vec!["news"]);
    let (redis, gateway) = start(|it| it.set("redis.max_payload", "1KiB").endpoint(mixed));
    let mut source = Source::open(&gateway, &request("/ws/mixed/7"));
    assert_eq!((source.ready.clone(), source.id.as_str()), (json!({"id": "0-0"}), "0-0"));
    let first = redis.add(STREAM, "first");
    source.messages(&["first"]);
    assert_eq!(source.id, first);
    redis.publish("news", "of a channel");
    source.messages(&["of a channel"]);
    assert_eq!(source.id, first);
    let large = redis.add(STREAM, &"x".repeat(2_000));
    let gap = source.events.expect("gap");
    let said: Value = serde_json::from_str(&gap.data).expect("JSON");
    let told = json!({"type": "gap", "channel": STREAM, "reason": "payload_too_large", "missed": 1, "id": large});
    assert_eq!((said, &gap.last_id), (told, &large));
    gateway.wait_metric("sockway_redis_messages_total", 3.0);
    drop(source);
    // With that id it has had all there is.
    let back = request("/ws/mixed/7").header("Last-Event-ID", &large);
    let mut source = Source::open(&gateway, &back);
    assert_eq!(source.ready, json!({"id": large, "recovered": true, "replayed": 0}));
    redis.add(STREAM, "last");
    source.messages(&["last"]);
}

#[test]
fn a_browser_that_is_cut_in_the_middle_of_a_replay_misses_and_doubles_nothing() {
    const ENTRIES: usize = 300;
    let (redis, gateway) = start(|it| it);
    let begin = redis.add(STREAM, "begin");
    (0..ENTRIES).for_each(|number| drop(redis.add(STREAM, &number.to_string())));
    for (path, format) in [("rooms", ""), ("json", "json")] {
        // It repeats its first URL every time.
        let target = format!("/ws/{path}/7?since={begin}");
        let mut source = Source::open(&gateway, &request(&target));
        for number in 0..ENTRIES {
            if number > 0 && number % 7 == 0 {
                let back = request(&target).header("Last-Event-ID", &source.id);
                drop(source);
                source = Source::open(&gateway, &back);
                assert_eq!(source.ready["recovered"], json!(true), "{}", source.ready);
                assert_eq!(source.ready["replayed"], json!(ENTRIES - number));
            }
            let event = source.events.expect("message");
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            let (data, id) = match format {
                "json" => (data["data"].clone(), data["id"].clone()),
                _ => (data, json!(event.last_id)),
            };
            assert_eq!((data, id), (json!(number), json!(event.last_id)));
            source.id = event.last_id;
        }
    }
}

#[test]
fn a_position_that_does_not_recover_is_told_by_ready_and_the_newest_follow_where_they_are_asked_for()
 {
    let (redis, gateway) = start(|it| it);
    let ids = ["a", "b", "c", "d"].map(|payload| redis.add(STREAM, payload));
    redis.command(&["XTRIM", STREAM, "MAXLEN", "3"]);
    let trimmed = |query: &str| {
        let target = request(&format!("/ws/rooms/7{query}"));
        Source::open(&gateway, &target.header("Last-Event-ID", "1-0"))
    };
    let mut plain = trimmed("");
    let told = json!({"id": ids[3], "recovered": false, "reason": "trimmed", "missed": null});
    assert_eq!(plain.ready, told);
    let mut newest = trimmed("?last=2");
    let told = json!({"id": ids[1], "recovered": false, "reason": "trimmed", "missed": null, "replayed": 2});
    assert_eq!((&newest.ready, &newest.id), (&told, &ids[1]));
    newest.messages(&["c", "d"]);
    redis.add(STREAM, "e");
    newest.messages(&["e"]);
    plain.messages(&["e"]);
}

#[test]
fn a_session_has_one_stream_at_the_most_and_none_that_is_sockway_s_own() {
    let teams = Endpoint::streams("teams", "/ws/teams", &["team:{claim.teams}"]).set("sse", true);
    let own =
        Endpoint::streams("own", "/ws/own/{room}", &["{path.room}:x"]).open().set("sse", true);
    let (redis, gateway) = start(|it| it.endpoint(teams).endpoint(own));
    let of = |teams: Value| {
        let token =
            token::signed(&json!({"sub": "ann", "exp": token::now() + 3600, "teams": teams}));
        request("/ws/teams").bearer(&token)
    };
    gateway.send(&of(json!(["a", "b"]))).assert_refused(403, "claim_unusable");
    let mut events = Events::open(gateway.address, &of(json!(["a"])));
    events.ready();
    redis.add("team:a", "yours");
    assert_eq!(events.message(), "yours");
    gateway.send(&request("/ws/own/sockway")).assert_refused(403, "value_not_allowed");
    Events::open(gateway.address, &request("/ws/own/mine")).ready();
}
