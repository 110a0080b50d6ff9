//! `sockway publish` and `sockway listen --publish`, end to end.

use crate::rig::{
    Endpoint, Gateway, Redis, Settings,
    client::Frame,
    process::{Process, sockway},
    token,
};
use serde_json::{Value, json};
use std::{io::Write as _, process::ChildStdin};
use toml::Table;

fn table(lines: &str) -> Table {
    lines.parse().expect("TOML")
}

/// Rooms, whose history is a stream, with a prefix.
fn settings(redis: &Redis) -> Settings {
    let rooms = Endpoint::new("rooms", "/ws/rooms/{room}", &["room:{path.room}"])
        .set("streams", vec!["history:{path.room}"])
        .open();
    Settings::new(redis).set("redis.channel_prefix", "app:").endpoint(rooms)
}

/// A running `sockway publish`, and its stdin.
fn publishing(gateway: &Gateway, arguments: &[&str]) -> (Process, ChildStdin) {
    let mut command = sockway();
    command.arg("publish").arg("--config").arg(gateway.config_file()).args(arguments);
    Process::start_with_input(&mut command)
}

/// … to its end: status, stdout and stderr.
fn publish(gateway: &Gateway, arguments: &[&str], input: &[u8]) -> (i32, Vec<String>, String) {
    let (mut process, mut stdin) = publishing(gateway, arguments);
    // One that has failed already reads no more.
    let _ = stdin.write_all(input);
    drop(stdin);
    (process.exit_code(), process.stdout.all(), process.stderr.text())
}

#[test]
fn a_message_goes_to_a_channel_and_what_is_a_stream_gets_an_entry() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let mut client = gateway.open("/ws/rooms/7");
    let said = publish(&gateway, &["--", "room:7", "-5 > -6"], b"");
    assert_eq!(said, (0, vec![r#"{"channel":"room:7","receivers":1}"#.to_owned()], String::new()));
    assert_eq!(client.text(), "-5 > -6");

    let (code, answers, _) = publish(&gateway, &["history:7", "kept"], b"");
    assert_eq!((code, answers.len()), (0, 1));
    let answer: Value = serde_json::from_str(&answers[0]).expect("JSON");
    assert_eq!(client.text(), "kept");
    let newest = redis.command(&["XREVRANGE", "app:history:7", "+", "-"]);
    let id = answer["id"].as_str().expect("an id");
    assert!(format!("{newest:?}").contains(&format!("{:?}", id.as_bytes())), "{newest:?}");
}

#[test]
fn every_line_of_stdin_is_a_message_byte_for_byte() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let mut client = gateway.open("/ws/rooms/7");
    for arguments in [&["room:7"][..], &["room:7", "-"]] {
        let (code, answers, _) = publish(&gateway, arguments, b"one\n\n\xff\xfe\r\nlast");
        assert_eq!((code, answers.len()), (0, 4));
        assert_eq!((client.text(), client.text()), ("one".to_owned(), String::new()));
        assert_eq!(client.event(), Frame::Binary(b"\xff\xfe".to_vec()));
        assert_eq!(client.text(), "last");
    }
}

#[test]
fn it_ends_at_the_first_that_redis_refuses_and_says_which_and_why() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    redis.command(&["SET", "app:history:7", "no stream"]);
    let (code, answers, error) = publish(&gateway, &["history:7", "x"], b"");
    assert_eq!((code, answers.len()), (1, 0));
    assert!(error.contains("redis_refused: Redis answers: WRONGTYPE"), "{error}");

    redis.command(&["DEL", "app:history:7"]);
    let (mut process, mut stdin) = publishing(&gateway, &["history:7"]);
    writeln!(stdin, "one").expect("it reads");
    process.stdout.wait_for("the first", |line| line.contains("\"id\"").then_some(()));
    redis.command(&["SET", "app:history:7", "no stream"]);
    writeln!(stdin, "two\nthree").expect("it reads");
    assert_eq!(process.exit_code(), 1);
    let error = process.stderr.text();
    assert!(error.contains("line 2: redis_refused"), "{error}");
    assert_eq!(process.stdout.all().len(), 1);
}

#[test]
fn what_redis_was_given_and_does_not_answer_is_told_as_unknown_and_a_closed_connection_is_mended() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let (mut process, mut stdin) = publishing(&gateway, &["room:7"]);
    let answered = |process: &Process, count| {
        crate::rig::wait::until("it is answered", || process.stdout.all().len() == count);
    };
    writeln!(stdin, "one").expect("it reads");
    answered(&process, 1);
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    redis.command(&["PING"]); // They are closed once this is answered.
    writeln!(stdin, "two").expect("it reads");
    answered(&process, 2);
    redis.hang();
    writeln!(stdin, "three").expect("it reads");
    assert_eq!(process.exit_code(), 1);
    let error = process.stderr.text();
    assert!(error.contains("line 3: outcome_unknown: no answer within 900ms"), "{error}");
    redis.go_on();

    redis.kill();
    let (code, answers, error) = publish(&gateway, &["room:7", "x"], b"");
    assert_eq!((code, answers.len()), (1, 0));
    assert!(error.contains("cannot connect: "), "{error}");
}

#[test]
fn names_that_sockway_keeps_are_refused_but_for_the_control_channel() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let (code, _, error) = publish(&gateway, &["sockway:probe", "x"], b"");
    assert_eq!(code, 64, "{error}");
    let revoke = r#"{"disconnect":{"user":"42"}}"#;
    let (code, answers, _) = publish(&gateway, &["sockway:control", revoke], b"");
    assert_eq!((code, answers.len()), (0, 1));
}

/// A gateway whose rooms take what clients publish, as these lines say.
fn rooms(redis: &Redis, format: &str, publish: &str) -> Gateway {
    let rooms = Endpoint::new("rooms", "/ws/rooms/{room}", &["room:{path.room}", "lobby:a"])
        .set("format", format)
        .set("publish", table(publish));
    Gateway::start(&Settings::new(redis).endpoint(rooms))
}

/// A connected `sockway listen`, and its stdin.
fn listening(gateway: &Gateway, arguments: &[&str]) -> (Process, ChildStdin) {
    let mut command = sockway();
    let url = format!("ws://{}/ws/rooms/7", gateway.address);
    command.args(["listen", &url]).args(arguments).env("SOCKWAY_TOKEN", token::of("ann"));
    let (process, stdin) = Process::start_with_input(&mut command);
    process.stderr.wait_for("it is connected", |line| (line == "connected").then_some(()));
    (process, stdin)
}

/// The printed frames of this type.
fn printed(process: &Process, kind: &str) -> Vec<Value> {
    let frames = process.stdout.all().into_iter();
    let frames = frames.map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    frames.filter(|frame| frame["type"] == kind).collect()
}

#[test]
fn listen_publishes_every_line_in_order_at_the_pace_that_the_endpoint_allows() {
    let redis = Redis::start();
    let slow = "channel = \"room:{path.room}\"\nper_second = 1\nburst = 2";
    let gateway = rooms(&redis, "json", slow);
    let mut other = gateway.open_as("bob", "/ws/rooms/7");
    other.json();
    let (process, mut stdin) = listening(&gateway, &["--publish"]);
    let lines = [json!("plain text"), json!({"n": 1}), json!([2]), json!(3), json!("four")];
    stdin.write_all(b"plain text\n{\"n\": 1}\n[2]\n3\n\"four\"\n").expect("it reads");
    for line in &lines {
        assert_eq!(&other.json()["data"]["data"], line);
    }
    crate::rig::wait::until("all are answered", || printed(&process, "published").len() == 5);
    let answers = printed(&process, "published");
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer["ref"], (number + 1).to_string());
    }
    assert!(!printed(&process, "refused").is_empty(), "it was told to wait");
    drop(stdin);
    redis.publish("room:7", "still listening");
    process
        .stdout
        .wait_for("what comes later", |line| line.contains("still listening").then_some(()));
}

#[test]
fn listen_prints_what_is_refused_and_goes_on() {
    let redis = Redis::start();
    let gateway = rooms(&redis, "json", "channel = \"room:{path.room}\"\ndata = \"object\"");
    let (process, mut stdin) = listening(&gateway, &["--publish"]);
    stdin.write_all(b"no object\n{}\n").expect("it reads");
    crate::rig::wait::until("the second is answered", || printed(&process, "published").len() == 1);
    assert_eq!(printed(&process, "refused")[0]["code"], "data_invalid");
    assert_eq!(printed(&process, "published")[0]["ref"], "2");
}

#[test]
fn listen_names_the_channel_where_each_message_must() {
    let redis = Redis::start();
    let gateway = rooms(&redis, "json", "channel = \"lobby:{any}\"");
    let (process, mut stdin) = listening(&gateway, &["--publish", "--channel", "lobby:a"]);
    writeln!(stdin, "hi").expect("it reads");
    process.stdout.wait_for("it comes back", |line| {
        (line.contains("\"channel\":\"lobby:a\"") && line.contains("\"data\":\"hi\"")).then_some(())
    });
}

#[test]
fn listen_sends_lines_as_they_are_to_a_raw_endpoint() {
    let redis = Redis::start();
    let gateway = rooms(&redis, "raw", "channel = \"room:{path.room}\"\nstamp = false");
    let (process, mut stdin) = listening(&gateway, &["--publish=raw"]);
    writeln!(stdin, "{{\"as it\": is").expect("it reads");
    process.stdout.wait_for("its echo", |line| (line == "{\"as it\": is").then_some(()));
}
