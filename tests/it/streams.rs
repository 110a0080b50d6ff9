//! Stream channels with a real Redis: what was missed comes back, once and in order, whatever happens
//! meanwhile; and what cannot come back is told.

use crate::rig::{
    Client, Endpoint, Frame, Gateway, Redis, Request, Settings,
    wait::{LIMIT, until},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const STREAM: &str = "chat:7";

fn rooms() -> Endpoint {
    Endpoint::streams("rooms", "/ws/rooms/{room}", &["chat:{path.room}"]).open()
}

fn raw() -> Endpoint {
    Endpoint::streams("raw", "/ws/raw/{room}", &["chat:{path.room}"]).open().set("format", "raw")
}

struct Scene {
    redis: Redis,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Self {
        Self::over(Redis::start(), rooms())
    }

    fn over(redis: Redis, rooms: Endpoint) -> Self {
        let settings = Settings::new(&redis).endpoint(rooms.set("format", "json"));
        Self { gateway: Gateway::start(&settings.endpoint(raw())), redis }
    }

    /// Adds an entry and returns its id.
    #[track_caller]
    fn add(&self, payload: &str) -> String {
        add(&self.redis, payload)
    }

    /// Adds entries with these numbers as payloads.
    #[track_caller]
    fn add_all(&self, numbers: std::ops::Range<u64>) {
        let mut backend = self.redis.connect();
        for number in numbers {
            let _ = backend.command(&["XADD", STREAM, "*", "data", &number.to_string()]);
        }
    }

    #[track_caller]
    fn open(&self, query: &str) -> Guest {
        Guest::open(&self.gateway, query)
    }

    fn refused(&self, query: &str, status: u16, code: &str) {
        let request = Request::upgrade(&format!("/ws/rooms/7{query}"));
        self.gateway.send(&request).assert_refused(status, code);
    }
}

#[track_caller]
fn add(redis: &Redis, payload: &str) -> String {
    redis.command(&["XADD", STREAM, "*", "data", payload]).text()
}

/// A client that keeps the id that came last, and checks that entries come in order.
struct Guest {
    client: Client,
    /// What `ready` said of the stream.
    ready: Value,
    position: String,
}

impl Guest {
    #[track_caller]
    fn open(gateway: &Gateway, query: &str) -> Self {
        Self::over(gateway.open(&format!("/ws/rooms/7{query}")))
    }

    #[track_caller]
    fn over(mut client: Client) -> Self {
        let ready = client.json();
        assert_eq!(ready["type"], "ready");
        let ready = ready["streams"][STREAM].clone();
        let position = ready["id"].as_str().unwrap_or_default().to_owned();
        Self { client, ready, position }
    }

    /// The next frame, which must not be a close.
    #[track_caller]
    fn next(&mut self) -> Value {
        let frame = self.client.json();
        frame["id"].as_str().expect("a frame of a stream has an id").clone_into(&mut self.position);
        frame
    }

    /// The payload of the next frame, which must be an entry.
    #[track_caller]
    fn entry(&mut self) -> Value {
        let frame = self.next();
        assert_eq!(
            (&frame["type"], &frame["channel"]),
            (&json!("message"), &json!(STREAM)),
            "{frame}"
        );
        frame["data"].clone()
    }

    #[track_caller]
    fn entries(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            assert_eq!(self.entry(), json!(number));
        }
    }

    /// Where it would come back to.
    fn since(&self) -> String {
        format!("?since={}", self.position)
    }
}

#[test]
fn an_entry_comes_with_its_id_and_ready_says_where_that_begins() {
    let scene = Scene::new();
    let mut first = scene.open("");
    assert_eq!(first.ready, json!({"id": "0-0"}));
    let id = scene.add("\"hello\"");
    assert_eq!((first.entry(), &first.position), (json!("hello"), &id));
    let second = scene.open("");
    assert_eq!(second.ready, json!({ "id": id }));
    let mut raw = scene.gateway.open("/ws/raw/7");
    scene.add("{\"b\":2}");
    assert_eq!(raw.text(), "{\"b\":2}");
}

#[test]
fn what_was_missed_comes_back_in_order_and_then_comes_what_is_new() {
    let scene = Scene::new();
    let mut guest = scene.open("");
    scene.add_all(0..3);
    guest.entries(0..2);
    let since = guest.since();
    drop(guest);
    scene.add_all(3..40);
    let mut guest = scene.open(&since);
    assert_eq!((&guest.ready["recovered"], &guest.ready["replayed"]), (&json!(true), &json!(38)));
    scene.add_all(40..50);
    guest.entries(2..50);
}

#[test]
fn a_client_that_is_cut_fifty_times_in_the_middle_of_its_replay_gets_everything_once() {
    const ENTRIES: u64 = 1_000;
    let scene = Scene::new();
    scene.add("\"first\"");
    let mut guest = scene.open("");
    scene.add_all(0..ENTRIES);
    let mut next = 0;
    for _ in 0..50 {
        let more = fastrand::u64(0..2 * (ENTRIES - next).min(30));
        let more = more.min(ENTRIES - next);
        guest.entries(next..next + more);
        next += more;
        let since = guest.since();
        guest.client.reset();
        guest = scene.open(&since);
        assert_eq!(guest.ready["recovered"], json!(true), "{}", guest.ready);
    }
    guest.entries(next..ENTRIES);
    scene.add("\"last\"");
    assert_eq!(guest.entry(), json!("last"));
}

#[test]
fn entries_that_come_while_clients_return_come_once_and_at_any_instance() {
    let scene = Scene::new();
    let settings = Settings::new(&scene.redis).endpoint(rooms().set("format", "json"));
    let gateways = [&scene.gateway, &Gateway::start(&settings)];
    scene.add("\"first\"");
    let mut guest = scene.open("");
    let backend = std::thread::scope(|scope| {
        let adding = scope.spawn(|| scene.add_all(0..3_000));
        let mut next = 0;
        for turn in 0.. {
            let more = fastrand::u64(0..200).min(3_000 - next);
            guest.entries(next..next + more);
            next += more;
            if next == 3_000 {
                break;
            }
            let since = guest.since();
            guest.client.reset();
            guest = Guest::open(gateways[turn % 2], &since);
            assert_eq!(guest.ready["recovered"], json!(true), "{}", guest.ready);
        }
        adding.join()
    });
    backend.expect("the backend added everything");
}

#[test]
fn of_a_hundred_thousand_entries_no_more_are_read_than_may_be_replayed() {
    let scene = Scene::new();
    let add = "for n = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'data', n) end";
    let _ = scene.redis.command(&["EVAL", add, "1", STREAM]);
    let start = Instant::now();
    let guest = scene.open("?since=0-0");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let told = (&guest.ready["recovered"], &guest.ready["reason"], &guest.ready["missed"]);
    assert_eq!(told, (&json!(false), &json!("too_many"), &json!(100_000)));
    let mut guest = scene.open("?last=5");
    assert_eq!(guest.ready["replayed"], json!(5));
    guest.entries(99_996..100_001);
}

#[test]
fn what_is_trimmed_while_a_client_is_away_is_told() {
    let scene = Scene::new();
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..5);
    let since = guest.since();
    // The next entry is gone, too.
    let _ = scene.redis.command(&["XTRIM", STREAM, "MAXLEN", "4"]);
    assert_eq!(scene.open(&since).ready["reason"], json!("trimmed"));
    guest.entries(5..7);
    let mut back = scene.open(&guest.since());
    assert_eq!(back.ready["recovered"], json!(true));
    back.entries(7..10);
}

#[test]
fn a_stream_that_is_deleted_comes_whole_when_it_is_made_anew() {
    for delete in [&["DEL", STREAM][..], &["FLUSHALL"]] {
        let scene = Scene::new();
        scene.add_all(0..5);
        let mut guest = scene.open("?last=5");
        guest.entries(0..5);
        let since = guest.since();
        let _ = scene.redis.command(delete);
        until("the gateway has seen it", || {
            let ready = scene.open("").ready;
            ready["id"] == json!("0-0")
        });
        assert_eq!(scene.open(&since).ready["reason"], json!("reset"));
        scene.add_all(5..8);
        guest.entries(5..8);
    }
}

#[test]
fn a_redis_that_keeps_everything_is_killed_and_nothing_is_lost_or_told() {
    let redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut scene = Scene::over(redis, rooms());
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..3);
    scene.redis.kill();
    scene.gateway.wait_unready();
    scene.refused("?since=1-0", 503, "redis_unavailable");
    scene.redis.begin();
    scene.gateway.wait_ready();
    scene.add_all(10..15);
    guest.entries(3..15);
}

#[test]
fn a_redis_that_forgets_everything_is_told_and_nothing_comes_twice() {
    let mut scene = Scene::new();
    scene.add_all(0..10);
    let mut guest = scene.open("?last=10");
    guest.entries(0..10);
    let since = guest.since();
    scene.redis.kill();
    scene.gateway.wait_unready();
    scene.redis.begin();
    scene.gateway.wait_ready();
    let gap = guest.next();
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("stream_reset")));
    assert_eq!(gap["missed"], Value::Null);
    assert_eq!(scene.open(&since).ready["reason"], json!("reset"));
    scene.add_all(10..12);
    guest.entries(10..12);
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_a_replay_that_is_larger_than_its_queue() {
    const ENTRIES: usize = 300;
    let payload = |number: usize| format!("{number:0>16384}");
    let rooms = rooms().set("queue_messages", 20).set("replay_bytes", "16MiB");
    let scene = Scene::over(Redis::start(), rooms);
    for number in 0..ENTRIES {
        scene.add(&format!("\"{}\"", payload(number)));
    }
    let target = "/ws/rooms/7?since=0-0";
    let narrow = Client::open_narrow(scene.gateway.address, &Request::upgrade(target));
    let mut quick = scene.open("");
    let mut slow = Guest::over(narrow);
    assert_eq!(slow.ready["replayed"], json!(ENTRIES));
    scene.add("\"live\"");
    assert_eq!(quick.entry(), json!("live"));
    for number in 0..ENTRIES {
        assert_eq!(slow.entry(), json!(payload(number)));
    }
    assert_eq!(slow.entry(), json!("live"));
}

#[test]
fn a_slow_reader_is_closed_with_4008_and_comes_back_for_the_rest() {
    const ENTRIES: u64 = 20_000;
    let scene = Scene::over(Redis::start(), rooms().set("queue_messages", 50));
    scene.add("\"first\"");
    let target = Request::upgrade("/ws/rooms/7");
    let mut guest = Guest::over(Client::open_narrow(scene.gateway.address, &target));
    let padding = "x".repeat(500);
    let mut backend = scene.redis.connect();
    for number in 0..ENTRIES {
        let entry = json!({"n": number, "x": padding}).to_string();
        let _ = backend.command(&["XADD", STREAM, "MAXLEN", "30000", "*", "data", &entry]);
    }
    let series = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";
    until("it is too slow", || scene.gateway.metrics().get(series) == 1.0);
    let mut next = 0;
    loop {
        match guest.client.event() {
            Frame::Text(text) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(frame["data"]["n"], json!(next));
                next += 1;
                frame["id"].as_str().expect("an id").clone_into(&mut guest.position);
            }
            Frame::Close(code, _) => break assert_eq!(code, 4008),
            other => panic!("{other:?}"),
        }
    }
    assert!(next < ENTRIES, "it was not slow");
    let told = scene.open(&guest.since()).ready;
    // More than 1,000 are missing.
    assert_eq!(told["reason"], json!("too_many"), "{told}");
}

#[test]
fn a_key_that_is_no_stream_refuses_new_sessions_and_closes_those_that_have_it() {
    let scene = Scene::new();
    let mut guest = scene.open("");
    let _ = scene.redis.command(&["SET", STREAM, "a string"]);
    let closed = guest.client.event();
    assert_eq!(closed, Frame::Close(4012, "channel_refused".to_owned()));
    scene.refused("", 503, "channel_refused");
}

#[test]
fn what_is_wrong_with_a_position_is_said_by_its_code() {
    let scene = Scene::new();
    for query in ["?since=5", "?since=", "?since=1-0&since=1-0", "?last=x", "?last="] {
        scene.refused(query, 400, "since_invalid");
    }
    assert_eq!(scene.open("?last_event_id=x").ready["reason"], json!("reset"));
    let request = Request::upgrade("/ws/rooms/7").header("Last-Event-ID", "9-9");
    let guest = Guest::over(Client::open(scene.gateway.address, &request));
    assert_eq!(guest.ready["reason"], json!("reset"), "a position of the future");
}

#[test]
fn streams_are_among_the_busiest_channels_and_replays_are_counted() {
    let scene = Scene::new();
    scene.add_all(0..3);
    let mut guests = [scene.open("?last=2"), scene.open("?since=0-0")];
    guests[0].entries(1..3);
    guests[1].entries(0..3);
    let channels = scene.gateway.admin("/channels").json();
    assert_eq!(channels["channels"], json!([{"channel": STREAM, "sessions": 2}]));
    scene.gateway.wait_metric("sockway_replayed_messages_total{endpoint=\"rooms\"}", 5.0);
    let series = "sockway_replays_total{endpoint=\"rooms\",result=\"recovered\"}";
    scene.gateway.wait_metric(series, 1.0);
    assert!(LIMIT > Duration::ZERO);
}
