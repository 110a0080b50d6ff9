//! Entries that are lost: what is told, and with which number.

use super::{
    wire::{Wire, settings_over},
    *,
};
use std::{
    fs,
    io::{BufReader, Write as _},
    os::unix::net::UnixStream,
};

/// Adds the entries `numbers`, whose ids and payloads are their numbers, in one step each.
fn add_all(server: &Server, numbers: std::ops::RangeInclusive<u64>, most: &str) {
    let script = "for i = ARGV[1], ARGV[2] do \
                  redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[3], i .. '-0', 'data', i) end";
    let (first, last) = (numbers.start().to_string(), numbers.end().to_string());
    server.call(&["EVAL", script, "1", "s", &first, &last, most]);
}

#[tokio::test]
async fn a_kill_with_appendfsync_everysec_loses_nothing_and_tells_nothing() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    add_all(&server, 1..=50, "1000");
    for n in 1..=50 {
        assert_eq!(rig.stream_event().await, format!("s {n}-0={n}"));
    }
    add_all(&server, 51..=60, "1000");
    // Behind a slow fsync the server writes later.
    let persistence = || server.call(&["INFO", "persistence"]).remove(0);
    eventually("written", || persistence().contains("aof_buffer_length:0\r\n")).await;
    server.kill();
    server.restart();
    add(&server, "s", "61-0", "61");
    for n in 51..=61 {
        assert_eq!(rig.stream_event().await, format!("s {n}-0={n}"));
    }
}

#[tokio::test]
async fn a_power_cut_with_appendfsync_everysec_is_told_and_nothing_comes_twice() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    for n in 1..=20 {
        add(&server, "s", &format!("{n}-0"), &n.to_string());
        assert_eq!(rig.stream_event().await, format!("s {n}-0={n}"));
    }
    server.kill();
    // The newest entry's command did not reach the disk.
    let log = fs::read_dir(server.directory().join("appendonlydir")).unwrap();
    let mut files = log.map(|file| file.unwrap().path());
    let last = files.find(|path| path.to_str().unwrap().ends_with(".incr.aof")).unwrap();
    let text = fs::read(&last).unwrap();
    let cut = text.windows(4).rposition(|window| window == b"20-0").unwrap();
    fs::write(&last, &text[..cut]).unwrap();
    server.restart();
    let told = ["turn s", "gap s stream_reset None 19-0"];
    assert_eq!(rig.stream_events(2).await, told);
    add(&server, "s", "30-0", "30");
    assert_eq!(rig.stream_event().await, "s 30-0=30");
}

#[tokio::test]
async fn a_trim_to_1_while_100_are_away_is_told_with_the_exact_number() {
    let server = Server::start(&[]);
    let wire = Wire::to(&server);
    let mut rig = Rig::start(settings_over(&server, &wire));
    rig.follow("s").await;
    add_all(&server, 1..=10, "1000");
    assert_eq!(rig.stream_events(10).await[9], "s 10-0=10");
    wire.cut();
    add_all(&server, 11..=110, "1000");
    server.call(&["XTRIM", "s", "MAXLEN", "=", "1"]);
    wire.mend();
    let place = "109-9007199254740991";
    let told = [format!("gap s stream_trimmed Some(99) {place}"), "s 110-0=110".to_owned()];
    assert_eq!(rig.stream_events(2).await, told);
    // Where only what was read is trimmed, nothing is told.
    wire.cut();
    server.call(&["XTRIM", "s", "MAXLEN", "=", "0"]);
    add_all(&server, 111..=112, "1000");
    wire.mend();
    assert_eq!(rig.stream_events(2).await, ["s 111-0=111", "s 112-0=112"]);
}

#[tokio::test]
async fn a_stream_of_one_entry_at_a_thousand_a_second_tells_what_it_lost_and_not_one_more() {
    const ENTRIES: u64 = 2_000;
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    let socket = server.socket();
    let writer = std::thread::spawn(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        let start = std::time::Instant::now();
        for n in 1..=ENTRIES {
            let (id, value) = (format!("{n}-0"), n.to_string());
            let words = ["XADD", "s", "MAXLEN", "=", "1", &id, "data", &value];
            stream.write_all(&super::super::command(&words)).unwrap();
            super::super::read_reply(&mut replies, &mut Vec::new());
            let due = start + Duration::from_millis(n);
            std::thread::sleep(due.saturating_duration_since(std::time::Instant::now()));
        }
    });
    let (mut seen, mut missed, mut got) = (0, 0, 0);
    while seen < ENTRIES {
        let told = rig.stream_event().await;
        if let Some(gap) = told.strip_prefix("gap s stream_trimmed Some(") {
            assert_eq!(missed, 0, "two gaps in a row");
            missed = gap.split(')').next().unwrap().parse().unwrap();
        } else if !told.starts_with("place s ") {
            let number: u64 = told.split('=').nth(1).unwrap().parse().unwrap();
            assert_eq!(number, seen + missed + 1, "{told}");
            (seen, missed, got) = (number, 0, got + 1);
        }
    }
    writer.join().unwrap();
    // Many more where nothing else runs.
    assert!(got > ENTRIES / 50, "{got} of {ENTRIES} were read in time");
    eprintln!("{got} of {ENTRIES} were read in time");
}
