//! A client that does not read affects only itself: its neighbour misses nothing, and its own
//! losses are reported and counted to the last message.

use crate::rig::{
    Client, Endpoint, Frame, Gateway, Redis, Request, Settings,
    settings::rooms,
    wait::{LIMIT, until},
};
use serde_json::Value;
use std::{collections::BTreeMap, thread};

const GAP: &str = r#"{"type":"gap"}"#;
/// More bytes than the kernel buffers between the two ends.
const MESSAGES: usize = 1_000;
const MESSAGE_BYTES: usize = 16 * 1024;

/// A message with its number in it.
fn numbered(number: usize) -> String {
    format!("{number:0>MESSAGE_BYTES$}")
}

fn number(text: &str) -> usize {
    assert_eq!(text.len(), MESSAGE_BYTES);
    text.parse().expect("a numbered message")
}

/// One shard, so that both clients are behind the same ring; `slow` is the endpoint under test,
/// `quick` has the same channel and room for everything.
struct Scene {
    redis: Redis,
    gateway: Gateway,
    slow: Client,
    quick: Client,
}

impl Scene {
    fn new(slow: Endpoint) -> Self {
        let redis = Redis::start();
        let quick = Endpoint::new("quick", "/ws/quick", &["news"])
            .open()
            // Room for all that a test publishes at once: it is read only afterwards.
            .set("queue_bytes", "256MiB");
        let settings = Settings::new(&redis).set("server.shards", 1);
        let gateway = Gateway::start(&settings.endpoint(slow).endpoint(quick));
        let slow = Client::open_narrow(gateway.address, &Request::upgrade("/ws/slow"));
        let quick = gateway.open("/ws/quick");
        Self { redis, gateway, slow, quick }
    }

    /// Publishes everything, and lets the neighbour read it all: then it is all in the queues.
    #[track_caller]
    fn flood(&mut self) {
        self.redis.publish_all("news", (0..MESSAGES).map(numbered));
        self.neighbour_misses_nothing();
    }

    #[track_caller]
    fn neighbour_misses_nothing(&mut self) {
        for expected in 0..MESSAGES {
            assert_eq!(number(&self.quick.text()), expected);
        }
    }

    fn missed(&self, reason: &str) -> f64 {
        let labels = format!("{{endpoint=\"slow\",reason=\"{reason}\"}}");
        self.gateway.metrics().get(&format!("sockway_missed_messages_total{labels}"))
    }

    fn wait_delivered(&self, expected: usize) {
        let series = "sockway_deliveries_total{endpoint=\"slow\"}";
        self.gateway.wait_metric(series, expected as f64);
    }
}

fn slow(on_slow: &str) -> Endpoint {
    Endpoint::new("slow", "/ws/slow", &["news"])
        .open()
        // Small, so that what a test publishes does not fit.
        .set("queue_messages", 16)
        .set("write_timeout", "60s")
        .set("on_slow", on_slow)
}

#[test]
fn a_slow_reader_is_closed_with_4008_and_its_neighbour_misses_nothing() {
    let mut scene = Scene::new(slow("close"));
    scene.redis.publish_all("news", (0..MESSAGES).map(numbered));
    until("it is too slow", || scene.missed("slow_consumer") >= 1.0);
    // From here on it reads, so that it gets its close frame; its neighbour has time.
    let (texts, close) = scene.slow.until_closed();
    assert_eq!(close, (4008, "slow_consumer".to_owned()));
    scene.neighbour_misses_nothing();
    let got: Vec<_> = texts.iter().map(|text| number(text)).collect();
    assert_eq!(got, (0..got.len()).collect::<Vec<_>>(), "what came before the close is whole");
    assert!(got.len() < MESSAGES);
    scene.wait_delivered(got.len());
    assert!(scene.missed("slow_consumer") >= 1.0);
    let series = "sockway_sessions_closed_total{endpoint=\"slow\",reason=\"slow_consumer\"}";
    scene.gateway.wait_metric(series, 1.0);
}

#[test]
fn a_slow_reader_that_skips_is_told_where_and_every_message_is_accounted_for() {
    let mut scene = Scene::new(slow("skip"));
    scene.flood();
    let mut got = Vec::new();
    let mut told = true;
    while got.last() != Some(&(MESSAGES - 1)) {
        let text = scene.slow.text();
        if text == GAP {
            told = true;
            continue;
        }
        let next = number(&text);
        let expected = got.last().map_or(0, |last| last + 1);
        assert!(next == expected || (next > expected && told), "{next} after {:?}", got.last());
        told = false;
        got.push(next);
    }
    assert!(got.len() < MESSAGES, "nothing was skipped");
    scene.wait_delivered(got.len());
    assert_eq!(scene.missed("skipped"), (MESSAGES - got.len()) as f64);
    assert!(scene.gateway.metrics().get("sockway_gaps_total{reason=\"slow_consumer\"}") >= 1.0);
}

#[test]
fn a_slow_json_reader_that_skips_is_told_how_many_it_missed() {
    let mut scene = Scene::new(slow("skip").set("format", "json"));
    assert_eq!(scene.slow.json()["type"], "ready");
    scene.flood();
    let (mut got, mut missed) = (0, 0);
    loop {
        let frame: Value = serde_json::from_str(&scene.slow.text()).expect("JSON");
        if frame["type"] == "gap" {
            assert_eq!(
                (&frame["channel"], &frame["reason"]),
                (&"news".into(), &"slow_consumer".into())
            );
            missed += frame["missed"].as_u64().expect("a slow session's loss is known");
            continue;
        }
        got += 1;
        // Numbers with leading zeros are no JSON, so the data is a string.
        if number(frame["data"].as_str().expect("text")) == MESSAGES - 1 {
            break;
        }
    }
    assert_eq!(got + missed, MESSAGES as u64);
    assert_eq!(scene.missed("skipped"), missed as f64);
}

#[test]
fn a_slow_reader_that_wants_the_latest_gets_each_channels_newest() {
    let redis = Redis::start();
    let endpoint = Endpoint::new("slow", "/ws/slow", &["a", "b"]).open();
    // Small, so that what the test publishes does not fit.
    let endpoint = endpoint.set("on_slow", "latest").set("queue_messages", 16);
    let endpoint = endpoint.set("write_timeout", "60s");
    let quick = Endpoint::new("quick", "/ws/quick", &["a", "b"]).open();
    // Room for all of it: it is read only afterwards.
    let quick = quick.set("queue_bytes", "256MiB");
    let settings = Settings::new(&redis).set("server.shards", 1);
    let gateway = Gateway::start(&settings.endpoint(endpoint).endpoint(quick));
    let mut slow = Client::open_narrow(gateway.address, &Request::upgrade("/ws/slow"));
    let mut quick = gateway.open("/ws/quick");

    let of = |channel: &str, number: usize| format!("{channel}{number:0>MESSAGE_BYTES$}");
    redis.publish_all("b", [of("b", 0)]);
    redis.publish_all("a", (0..MESSAGES).map(|number| of("a", number)));
    redis.publish_all("b", [of("b", 1)]);
    (0..MESSAGES + 2).for_each(|_| drop(quick.text()));

    let mut newest = BTreeMap::new();
    let mut got = 0;
    while newest.get("a") != Some(&(MESSAGES - 1)) || newest.get("b") != Some(&1) {
        let text = slow.text();
        if text == GAP {
            continue;
        }
        let (channel, number) = (text[..1].to_owned(), number(&text[1..]));
        let before = newest.insert(channel, number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
        got += 1;
    }
    assert!(got < MESSAGES, "nothing was replaced");
    gateway.wait_metric("sockway_deliveries_total{endpoint=\"slow\"}", got as f64);
    let replaced = "sockway_missed_messages_total{endpoint=\"slow\",reason=\"replaced\"}";
    assert_eq!(gateway.metrics().get(replaced), (MESSAGES + 2 - got) as f64);
}

#[test]
fn a_client_that_takes_nothing_for_write_timeout_is_closed() {
    let mut scene = Scene::new(slow("skip").set("write_timeout", "300ms"));
    scene.flood();
    let series = "sockway_sessions_closed_total{endpoint=\"slow\",reason=\"write_timeout\"}";
    scene.gateway.wait_metric(series, 1.0);
    // In the middle of a frame no close frame can be sent; between two it must be this one.
    loop {
        match scene.slow.event() {
            Frame::Text(_) => {}
            Frame::End => break,
            Frame::Close(code, reason) => {
                assert_eq!((code, reason.as_str()), (3008, "write_timeout"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_message_larger_than_the_queue_still_fits_an_empty_queue() {
    // Smaller than each message.
    let mut scene = Scene::new(slow("close").set("queue_bytes", "1KiB"));
    for number in 0..3 {
        scene.redis.publish("news", numbered(number));
        assert_eq!(scene.slow.text(), numbered(number), "within {LIMIT:?}");
    }
}

#[test]
fn a_burst_of_less_than_a_queue_closes_no_client_that_reads() {
    for (messages, bytes) in [(60, 64 * 1024), (2, 600 * 1024), (250, 10 * 1024)] {
        let redis = Redis::start();
        let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
        let clients: Vec<_> = (0..3).map(|_| gateway.open("/ws/rooms/1")).collect();
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                thread::spawn(move || (0..messages).all(|_| client.text().len() == bytes))
            })
            .collect();
        redis.publish_all("room:1", (0..messages).map(|_| "x".repeat(bytes)));
        for reader in readers {
            assert!(reader.join().expect("nobody is closed"), "{messages} of {bytes}");
        }
    }
}
