//! Stream channels with a real Redis: what was missed comes back, once and in order, whatever happens
//! meanwhile; and what cannot come back is told.

mod refusals;
mod resume;
mod several;
mod slow;
mod trouble;

use crate::rig::{Client, Endpoint, Gateway, Redis, Request, Settings};
use serde_json::{Value, json};

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
        self.redis.add(STREAM, payload)
    }

    /// Adds entries with these numbers as payloads.
    #[track_caller]
    fn add_all(&self, numbers: std::ops::Range<u64>) {
        let mut backend = self.redis.connect();
        for number in numbers {
            let _ = backend.command(&["XADD", STREAM, "*", "data", &number.to_string()]);
        }
    }

    /// Redis is killed.
    fn lose_redis(&mut self) {
        self.redis.kill();
        self.gateway.wait_unready();
    }

    /// … and is back, with what it has kept.
    fn bring_redis_back(&mut self) {
        self.redis.begin();
        self.gateway.wait_ready();
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
    // While it lingers, the newest entries may not have been read: they would come live.
    scene.gateway.wait_metric("sockway_streams{state=\"subscribed\"}", 0.0);
    scene.add_all(3..40);
    let mut guest = scene.open(&since);
    assert_eq!((&guest.ready["recovered"], &guest.ready["replayed"]), (&json!(true), &json!(38)));
    scene.add_all(40..50);
    guest.entries(2..50);
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
}
