//! Every file of `config/examples`, run for real: only ports, Redis and secrets are replaced.

mod chat;
mod event_bus;
mod inbox;
mod notify;

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    process::{self, Process},
    resp::Reply,
    settings::rooms,
    token,
};
use serde_json::{Value, json};

fn start(file: &str) -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::example(file, &redis).tests_secret());
    (redis, gateway)
}

#[test]
fn every_example_has_a_test_here() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the examples are there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    files.sort();
    let tested = [
        "chat.html",
        "chat.toml",
        "events.toml",
        "inbox.toml",
        "inbox_worker.py",
        "notifications.toml",
        "orders.toml",
        "rooms-history.toml",
        "rooms.toml",
        "tram.toml",
    ];
    assert_eq!(files, tested);
}

#[test]
fn a_tram_is_one_subscription_however_many_watch_and_none_when_the_last_has_left() {
    let redis = Redis::start();
    // Unchanged: no key is needed where no token is needed.
    let settings = Settings::example("tram.toml", &redis).set("redis.linger", "300ms");
    let gateway = Gateway::start(&settings);
    let mut watchers: Vec<_> = (0..50).map(|_| gateway.open("/tram-state-ws/2046")).collect();
    let mut other = gateway.open("/tram-state-ws/7");
    assert_eq!(redis.numsub("tram_2046"), 1);
    assert_eq!(redis.publish("tram_2046", "moving"), 1);
    for watcher in &mut watchers {
        assert_eq!(watcher.text(), "moving");
    }
    let last = watchers.pop().expect("fifty");
    watchers.into_iter().for_each(|watcher| drop(watcher.bye()));
    gateway.wait_metric("sockway_sessions{endpoint=\"tram\"}", 2.0);
    assert_eq!(redis.numsub("tram_2046"), 1, "one still watches");
    last.bye();
    redis.wait_numsub("tram_2046", 0);
    redis.publish("tram_7", "unmoved");
    assert_eq!(other.text(), "unmoved");
}

#[test]
fn a_watcher_who_comes_back_within_linger_causes_no_new_subscription() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("redis.linger", "60s").endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let mut monitor = redis.connect().monitor();
    for _ in 0..5 {
        gateway.open("/ws/rooms/1").bye();
    }
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    assert_eq!(redis.numsub("room:1"), 1, "it lingers");
    redis.command(&["ECHO", "nothing more"]);
    let seen = monitor.up_to("nothing more");
    let about: Vec<_> = seen.iter().filter(|line| line.contains("room:1\"")).collect();
    // One SUBSCRIBE; the other commands are the test's own NUMSUB.
    let subscribes = about.iter().filter(|line| line.contains("SUBSCRIBE")).count();
    assert_eq!(subscribes, 1, "{about:?}");
}

#[test]
fn a_room_is_read_by_whoever_has_a_token_and_nobody_reads_another() {
    let (redis, gateway) = start("rooms.toml");
    let mut lobby = gateway.open_as("ann", "/ws/rooms/lobby");
    let mut cellar = gateway.open_as("bob", "/ws/rooms/cellar");
    redis.publish("room:lobby", "to the lobby");
    redis.publish("room:cellar", "to the cellar");
    assert_eq!(lobby.text(), "to the lobby");
    assert_eq!(cellar.text(), "to the cellar");
    gateway.send(&Request::upgrade("/ws/rooms/lobby")).assert_refused(401, "token_missing");
}

/// Streams that are read: 0 once `redis.linger` is over, and the next session begins with a stream as it is.
const LET_GO: &str = "sockway_streams{state=\"subscribed\"}";

/// Adds an entry to a stream, and gives its id.
fn add(redis: &Redis, stream: &str, fields: &[&str]) -> String {
    let words = [&["XADD", stream, "MAXLEN", "~", "10000", "*"], fields].concat();
    let Reply::Bytes(id) = redis.command(&words) else { panic!("no id: {words:?}") };
    String::from_utf8(id).expect("an id is text")
}

/// The token of someone who works in this shop.
fn of_shop(shop: &str) -> String {
    token::signed(&json!({"sub": "ann", "exp": token::now() + 3600, "shop": shop}))
}

/// The next messages: the id and the data of each.
fn messages(client: &mut Client, count: usize) -> Vec<(String, Value)> {
    let next = |_| {
        let message = client.json();
        assert_eq!(message["type"], "message", "{message}");
        (message["id"].as_str().expect("an id").to_owned(), message["data"].clone())
    };
    (0..count).map(next).collect()
}

#[test]
fn a_dashboard_of_orders_has_events_by_name_and_the_newest_fifty_after_a_reload() {
    let (redis, gateway) = start("orders.toml");
    let ann = of_shop("berlin");
    let mut client = gateway.open_with(&ann, "/ws/orders");
    assert_eq!(client.json()["streams"]["orders:berlin"]["id"], "0-0");
    add(&redis, "orders:paris", &["event", "order_shipped", "order", "1"]);
    let shipped = add(&redis, "orders:berlin", &["event", "order_shipped", "order", "17"]);
    let data = json!({"event": "order_shipped", "order": "17"});
    assert_eq!(messages(&mut client, 1), [(shipped, data)], "and none of another shop");

    let ids: Vec<_> = (0..60)
        .map(|order| {
            add(&redis, "orders:berlin", &["event", "order_created", "order", &order.to_string()])
        })
        .collect();
    drop(client);
    // What a held stream was not yet asked for would come live, behind the replay.
    gateway.wait_metric(LET_GO, 0.0);
    let mut reloaded = gateway.open_with(&ann, "/ws/orders");
    let ready = reloaded.json();
    assert_eq!(ready["streams"]["orders:berlin"]["replayed"], 50, "{ready}");
    let newest: Vec<_> = messages(&mut reloaded, 50).into_iter().map(|(id, _)| id).collect();
    assert_eq!(newest, ids[10..]);
    let next = add(&redis, "orders:berlin", &["event", "order_paid", "order", "60"]);
    assert_eq!(messages(&mut reloaded, 1)[0].0, next, "live behind them");
}

#[test]
fn a_dashboard_by_server_sent_events_comes_back_to_what_it_missed() {
    let (redis, gateway) = start("orders.toml");
    let seen = add(&redis, "orders:berlin", &["event", "order_created", "order", "1"]);
    let missed = add(&redis, "orders:berlin", &["event", "order_paid", "order", "1"]);
    let url = format!("http://{}/ws/orders", gateway.address);
    let listening = Process::start(
        process::sockway()
            .args(["listen", &url, "--sse", "--since", &seen])
            .env("SOCKWAY_TOKEN", of_shop("berlin")),
    );
    let ready = listening.stdout.wait_for("ready", |line| Some(line.clone()));
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!(ready["streams"]["orders:berlin"]["recovered"], true, "{ready}");
    let is_missed = |line: &String| line.contains(&missed).then_some(());
    listening.stdout.wait_for("what it missed", is_missed);
    let live = add(&redis, "orders:berlin", &["event", "order_shipped", "order", "1"]);
    listening.stdout.wait_for("what is new", |line| line.contains(&live).then_some(()));
    assert_eq!(listening.stdout.all().len(), 3, "{}", listening.stdout.text());
}

#[test]
fn a_room_with_history_gives_who_was_away_exactly_what_it_missed() {
    let (redis, gateway) = start("rooms-history.toml");
    let say = |room: &str, text: &str| {
        let data = json!({"from": "bob", "text": text}).to_string();
        add(&redis, &format!("chat:{room}"), &["data", &data])
    };
    let texts = |client: &mut Client, count| -> Vec<String> {
        let all = messages(client, count).into_iter();
        all.map(|(_, data)| data["text"].as_str().expect("a text").to_owned()).collect()
    };
    for text in ["one", "two", "three"] {
        say("lobby", text);
    }
    let mut ann = gateway.open_as("ann", "/ws/rooms/lobby?last=2");
    assert_eq!(ann.json()["streams"]["chat:lobby"]["replayed"], 2);
    assert_eq!(texts(&mut ann, 2), ["two", "three"], "the newest");
    let last = say("lobby", "four");
    assert_eq!(texts(&mut ann, 1), ["four"]);
    drop(ann);

    gateway.wait_metric(LET_GO, 0.0);
    say("cellar", "not to the lobby");
    for text in ["five", "six"] {
        say("lobby", text);
    }
    let mut ann = gateway.open_as("ann", &format!("/ws/rooms/lobby?since={last}"));
    let ready = ann.json();
    let expected = json!({"id": last, "recovered": true, "replayed": 2});
    assert_eq!(ready["streams"]["chat:lobby"], expected);
    say("lobby", "seven");
    assert_eq!(texts(&mut ann, 3), ["five", "six", "seven"], "then live");
    drop(ann);

    redis.command(&["XTRIM", "chat:lobby", "MAXLEN", "1"]);
    let mut ann = gateway.open_as("ann", &format!("/ws/rooms/lobby?since={last}&last=20"));
    let ready = ann.json();
    let said = &ready["streams"]["chat:lobby"];
    assert_eq!((&said["recovered"], &said["reason"]), (&json!(false), &json!("trimmed")));
    assert_eq!(texts(&mut ann, 1), ["seven"], "what there is");
}
