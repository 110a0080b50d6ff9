//! What the others notice of one bad client, and what a flood does to handshakes, in milliseconds.

use crate::{
    assert_all_kept, in_room,
    rig::{
        Client, Gateway, Redis, Request, Settings,
        crowd::{Crowd, Manner, Member},
        drip::Drippers,
        oracle::Source,
        settings::{notifications, rooms},
    },
    say,
};
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A pause of the machine's own that no bound can exclude.
const JITTER: Duration = Duration::from_millis(5);

/// Takes the measured delays out of the ledgers.
fn p99(members: &[Member]) -> Duration {
    let mut delays: Vec<Duration> = members.iter().flat_map(Member::take_delays).collect();
    delays.sort_unstable();
    assert!(!delays.is_empty(), "something was delivered");
    delays[delays.len() * 99 / 100]
}

fn publish(source: &mut Source, rounds: usize) {
    for _ in 0..rounds {
        source.round(&["room:hall".to_owned()]);
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(1));
}

#[test]
fn one_of_200_stops_reading() {
    let redis = Redis::start();
    let slow = rooms().set("queue_bytes", "256KiB").set("on_slow", "skip");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(slow.set("write_timeout", "60s")));
    let crowd = Crowd::gather();
    let others = crowd.all_in(vec![in_room(&gateway, "hall").timed(); 199]);
    let one = crowd.all_in(vec![in_room(&gateway, "hall").narrow()]);
    let mut source = Source::new(&redis);
    source.ballast = 1024;
    publish(&mut source, 250);
    p99(&others);
    publish(&mut source, 250);
    let (before, memory) = (p99(&others), gateway.vitals().memory_bytes);
    one[0].behave(Manner::Stops);
    publish(&mut source, 250);
    let (during, grown) = (p99(&others), gateway.vitals().memory_bytes.saturating_sub(memory));
    say(&format!("p99 {before:?} before, {during:?} during; {grown} bytes more"));
    assert!(during <= before * 3 / 2 + JITTER);
    assert!(grown <= 2 << 20);
    assert_all_kept(&others);
    assert!(others.iter().all(|other| other.look(|ledger| ledger.missing == 0)));
}

#[test]
fn a_hundred_of_200_read_a_kilobyte_a_second() {
    let redis = Redis::start();
    let skipping = rooms().set("on_slow", "skip").set("write_timeout", "60s");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(skipping));
    let crowd = Crowd::gather();
    let fast = crowd.all_in(vec![in_room(&gateway, "hall").timed(); 100]);
    let slow = crowd.all_in(vec![in_room(&gateway, "hall").narrow(); 100]);
    slow.iter().for_each(|one| one.behave(Manner::Slow(1_000)));
    let mut source = Source::new(&redis);
    source.ballast = 500;
    publish(&mut source, 500);
    let worst = fast.iter().flat_map(Member::take_delays).max();
    say(&format!("the slowest message of a fast client took {worst:?}"));
    assert_all_kept(&fast);
    assert!(fast.iter().all(|one| one.look(|ledger| ledger.missing == 0)));
    assert!(worst < Some(Duration::from_millis(100)));
}

#[test]
fn a_revoked_user_is_gone_from_every_instance_within_a_second() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(notifications());
    let gateways = [Gateway::start(&settings), Gateway::start(&settings)];
    redis.wait_numsub("sockway:control", 2);
    let tabs = |gateway: &Gateway| {
        let tabs: Vec<_> = (0..500).map(|_| gateway.open_as("ann", "/ws/me")).collect();
        tabs
    };
    let tabs: Vec<_> = gateways.iter().flat_map(tabs).collect();
    let start = Instant::now();
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    for mut tab in tabs {
        tab.assert_closed(3000, "revoked");
    }
    say(&format!("1000 sessions on two instances were told after {:?}", start.elapsed()));
    assert!(start.elapsed() <= Duration::from_secs(1));
}

#[test]
fn handshakes_in_a_flood_for_nobody_here() {
    let redis = Redis::start();
    // Redis itself must not hang up on us: 32 MB of its default are a second of this flood.
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 512mb 0 0"]);
    let settings = Settings::new(&redis).set("redis.linger", "60s");
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    gateway.open("/ws/rooms/flood").bye();
    let before = gateway.metrics().get("sockway_redis_messages_total");
    let flood = vec!["room:flood".to_owned(); 500];
    let chatter = Source::new(&redis).keep_on(flood, Duration::from_micros(100));
    thread::sleep(Duration::from_secs(1));
    let start = Instant::now();
    let mut times: Vec<Duration> = (0..200)
        .map(|turn| {
            let began = Instant::now();
            Client::open(gateway.address, &Request::upgrade(&format!("/ws/rooms/{turn}"))).bye();
            began.elapsed()
        })
        .collect();
    let lasted = start.elapsed() + Duration::from_secs(1);
    let metrics = gateway.metrics();
    chatter.stop();
    times.sort();
    let rate = (metrics.get("sockway_redis_messages_total") - before) / lasted.as_secs_f64();
    say(&format!("{rate:.0} messages/s taken; handshake p99 {:?}", times[times.len() * 99 / 100]));
    assert!(times[times.len() * 99 / 100] <= Duration::from_secs(1));
    assert_eq!(metrics.get("sockway_redis_reconnects_total"), 0.0, "a false death");
}

#[test]
fn handshakes_while_two_thousand_drip() {
    const COUNT: usize = 2_000;
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("server.max_pending_handshakes", 2 * COUNT as i64);
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    let before = gateway.vitals().memory_bytes;
    let mut drippers = Drippers::come(gateway.address, COUNT);
    let mut times = Vec::new();
    for _ in 0..6 {
        drippers.drip();
        for turn in 0..50 {
            let began = Instant::now();
            let request = Request::upgrade(&format!("/ws/rooms/{turn}"));
            Client::open(gateway.address, &request).bye();
            times.push(began.elapsed());
            thread::sleep(Duration::from_millis(15));
        }
    }
    assert!(drippers.wait_still(), "cut off before its time");
    let each = gateway.vitals().memory_bytes.saturating_sub(before) / COUNT as u64;
    let cut = drippers.until_all_are("408");
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    say(&format!("handshake p99 {p99:?}; {each} bytes for each that drips, cut off after {cut:?}"));
    assert!(p99 <= Duration::from_millis(50));
    assert!(each <= 16 << 10);
    assert!(cut <= Duration::from_secs(11));
}

#[test]
fn without_descriptors_the_processor_is_idle_and_it_recovers_within_a_second() {
    let redis = Redis::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    std::fs::write(&file, Settings::new(&redis).endpoint(rooms()).text()).expect("written");
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256").arg(env!("CARGO_BIN_EXE_sockway"));
    let gateway = Gateway::from_command(command.arg("serve").arg("--config").arg(&file), directory);
    gateway.wait_ready();
    let crowd = Crowd::gather();
    let inside: Vec<_> = crowd.come(vec![in_room(&gateway, "hall"); 400]);
    let silent: Vec<_> =
        (0..200).filter_map(|_| std::net::TcpStream::connect(gateway.address).ok()).collect();
    let before = gateway.vitals().cpu;
    thread::sleep(Duration::from_secs(10));
    let spent = gateway.vitals().cpu - before;
    say(&format!("{spent:?} of processor time in ten seconds"));
    assert!(spent <= Duration::from_millis(500));
    assert_eq!(gateway.admin("/livez").status, 200);
    drop((inside, silent, crowd));
    crate::time_until("somebody is let in", Duration::from_secs(1), || {
        Client::try_open(gateway.address, &Request::upgrade("/ws/rooms/1")).is_ok()
    });
}
