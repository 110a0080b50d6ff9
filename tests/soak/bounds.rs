//! How much one bad client delays the others, and a flood delays handshakes, in milliseconds.

use crate::{
    in_room,
    rig::{
        Client, Frame, Gateway, Redis, Request, Settings,
        client::{BINARY, PING, encode, head},
        crowd::{Crowd, Manner, Member, Refused, wait_all_have},
        drip::Drippers,
        oracle::Source,
        settings::{Endpoint, notifications, rooms},
        vitals::Vitals,
        wait::until,
    },
    say,
    truth::{
        Seen, assert_balanced, assert_counted, assert_ends_well, assert_subscribed,
        assert_unsubscribed,
    },
};
use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

/// Scheduling pauses of the machine itself, which no bound can exclude.
const JITTER: Duration = Duration::from_millis(5);

/// Takes the measured delays from the ledgers.
fn p99(members: &[Member]) -> Duration {
    let mut delays: Vec<Duration> = members.iter().flat_map(Member::take_delays).collect();
    delays.sort_unstable();
    assert!(!delays.is_empty(), "something was delivered");
    delays[delays.len() * 99 / 100]
}

fn hall() -> Vec<String> {
    vec!["room:hall".to_owned()]
}

/// Two hundred clients of one channel, some of which will be slow.
struct Hall {
    redis: Redis,
    gateway: Gateway,
    source: Source,
    fast: Vec<Member>,
    slow: Vec<Member>,
    _crowd: Crowd,
}

impl Hall {
    /// 200 clients at fifty messages a second are ten thousand deliveries a second, each of which a
    /// client on the same two cores reads, parses and times. 5,000 a second would be a million.
    fn new(slow: usize, ballast: usize, endpoint: Endpoint) -> Self {
        let redis = Redis::start();
        let patient = endpoint.set("on_slow", "skip").set("write_timeout", "60s");
        let gateway = Gateway::start(&Settings::new(&redis).endpoint(patient));
        let crowd = Crowd::gather();
        let fast = crowd.all_in(vec![in_room(&gateway, "hall").timed(); 200 - slow]);
        let slow = crowd.all_in(vec![in_room(&gateway, "hall").narrow(); slow]);
        let mut source = Source::new(&redis);
        source.ballast = ballast;
        Self { redis, gateway, source, fast, slow, _crowd: crowd }
    }

    fn publish(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.source.round(&hall());
            thread::sleep(Duration::from_millis(20));
        }
        wait_all_have(&self.fast, "room:hall", self.source.next("room:hall") - 1);
    }

    /// The slow clients read again; then every message is accounted for.
    fn settle(self, before: Vitals) {
        let published = self.source.next("room:hall");
        self.slow.iter().for_each(|one| one.behave(Manner::Reads));
        wait_all_have(&self.slow, "room:hall", published - 1);
        let (fast, slow) = (Seen::by(&self.fast), Seen::by(&self.slow));
        say(&format!("{} of {} messages were skipped", slow.missing, 200 * published));
        assert_eq!((fast.missing, fast.gaps), (0, 0), "the fast ones miss nothing");
        let seen = [fast, slow].into_iter().sum();
        assert_counted(&self.gateway, "rooms", &seen, slow.missing);
        assert_balanced(&self.gateway, published, 200);
        assert_subscribed(&self.gateway, &self.redis, &hall());
        self.gateway.wait_back_to(before);
        assert_ends_well(self.gateway);
    }
}

#[test]
fn one_of_200_stops_reading() {
    // Small, so that 250 messages fill it, and within the 2 MiB that one client may cost here.
    let mut hall = Hall::new(1, 8 * 1024, rooms().set("queue_bytes", "256KiB"));
    hall.publish(250);
    p99(&hall.fast);
    hall.publish(250);
    let (before, vitals) = (p99(&hall.fast), hall.gateway.vitals());
    hall.slow[0].behave(Manner::Stops);
    hall.publish(250);
    let (during, now) = (p99(&hall.fast), hall.gateway.vitals().memory_bytes);
    let grown = now.saturating_sub(vitals.memory_bytes);
    say(&format!("p99 {before:?} before, {during:?} during; {grown} bytes more"));
    assert!(during <= before * 3 / 2 + JITTER);
    assert!(grown <= 2 << 20);
    let skipped = hall.gateway.metrics().sum("sockway_missed_messages_total");
    assert!(skipped > 0.0, "its queue was full");
    hall.settle(vitals);
}

#[test]
fn a_hundred_of_200_read_a_kilobyte_a_second() {
    let mut hall = Hall::new(100, 500, rooms());
    hall.publish(50);
    let vitals = hall.gateway.vitals();
    hall.slow.iter().for_each(|one| one.behave(Manner::Slow(1_000)));
    p99(&hall.fast);
    hall.publish(450);
    let worst = hall.fast.iter().flat_map(Member::take_delays).max();
    say(&format!("the slowest message of a fast client took {worst:?}"));
    assert!(worst < Some(Duration::from_millis(100)));
    let behind = |one: &Member| one.look(|ledger| ledger.delivered < 400);
    assert!(hall.slow.iter().all(behind), "they were slow");
    hall.settle(vitals);
}

/// Floods with 50,000 pings a second for ten seconds, opening a new connection whenever one is
/// closed. Returns the number of pings and connections.
fn flood_with_pings(address: SocketAddr) -> (usize, usize) {
    let pings: Vec<u8> = (0..500).flat_map(|_| encode(PING, b"flood")).collect();
    let (start, mut sent, mut connections) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(10) {
        let client = Client::open(address, &Request::upgrade("/ws/rooms/flood"));
        let mut writer = client.writer();
        connections += 1;
        while start.elapsed() < Duration::from_secs(10) && writer.write_all(&pings).is_ok() {
            sent += 500;
            thread::sleep(Duration::from_millis(10));
        }
    }
    (sent, connections)
}

#[test]
fn a_flood_of_pings_costs_only_its_sender() {
    let mut hall = Hall::new(0, 100, rooms());
    hall.publish(100);
    p99(&hall.fast);
    hall.publish(250);
    let (before, address) = (p99(&hall.fast), hall.gateway.address);
    let flood = thread::spawn(move || flood_with_pings(address));
    hall.publish(400);
    let during = p99(&hall.fast);
    let (pings, connections) = flood.join().expect("the flood ends by itself");
    say(&format!(
        "p99 {before:?} before, {during:?} during {pings} pings on {connections} sockets"
    ));
    assert!(during <= before * 2 + JITTER);
    let closed = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"rate_limited\"}";
    hall.gateway.wait_metric(closed, connections as f64);
    let seen = Seen::by(&hall.fast);
    assert_eq!((seen.missing, seen.gaps), (0, 0));
}

#[test]
fn a_gigabyte_that_is_only_announced_is_refused_at_once() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let mut client = gateway.open("/ws/rooms/1");
    let before = gateway.vitals().memory_bytes;
    let start = Instant::now();
    client.send_bytes(&[head(BINARY, 0x80, 1 << 30), vec![0; 4]].concat());
    assert_eq!(client.event(), Frame::Close(1009, "message_too_big".to_owned()));
    let passed = start.elapsed();
    let grown = gateway.vitals().memory_bytes.saturating_sub(before);
    say(&format!("closed after {passed:?}, {grown} bytes more"));
    assert!(passed <= Duration::from_millis(100));
    assert!(grown <= 1 << 20);
}

/// Sets its flag when dropped, also by a panic: otherwise the scope would wait for its threads
/// forever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Messages of a round, which are for nobody.
const ROUND: usize = 5_000;

/// The most rounds in flight.
const UNDER_WAY: f64 = 10.0;

/// Publishes as fast as the gateway can receive, and returns the number of messages. Redis confirms
/// a subscription only after everything it has queued before. A publisher that is faster than the
/// gateway makes that backlog, and so the duration of a handshake, grow without bound, whatever the
/// gateway does; on two cores shared with Redis and the publisher, any publisher is faster.
///
/// Messages for nobody are not counted, so each round ends with a mark for somebody. Returns the rounds.
fn flood(redis: &Redis, marks: impl Fn() -> f64, stop: &AtomicBool) -> u64 {
    let (mut source, mut rounds) = (Source::new(redis), 0);
    let mut round = vec!["room:flood".to_owned(); ROUND];
    round.push("room:marks".to_owned());
    while !stop.load(SeqCst) {
        if rounds as f64 - marks() < UNDER_WAY {
            assert!(source.round(&round).iter().all(|&reached| reached == 1));
            rounds += 1;
        }
    }
    rounds
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
    // Redis must not disconnect the gateway: its default limit of 32 MB is less than what is in
    // flight.
    redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 512mb 0 0"]);
    let settings = Settings::new(&redis).set("redis.linger", "60s");
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    gateway.open("/ws/rooms/flood").bye();
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    let mut watcher = gateway.open("/ws/rooms/marks");
    let marks = || gateway.metrics().get("sockway_redis_messages_total");
    let stop = AtomicBool::new(false);
    let (mut times, rate, rounds) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&redis, marks, &stop));
        let stop = Stop(&stop);
        until("the flood has come", || marks() > 2.0 * UNDER_WAY);
        let (start, before) = (Instant::now(), marks());
        let times: Vec<Duration> = (0..200)
            .map(|turn| {
                let began = Instant::now();
                gateway.open(&format!("/ws/rooms/{turn}")).bye();
                began.elapsed()
            })
            .collect();
        let rate = (marks() - before) * ROUND as f64 / start.elapsed().as_secs_f64();
        drop(stop);
        (times, rate, flood.join().expect("it does not panic"))
    });
    times.sort();
    let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
    say(&format!("{rate:.0} messages/s taken; handshake p50 {p50:?}, p99 {p99:?}"));
    assert!(p99 <= Duration::from_secs(1));
    (0..rounds).for_each(|_| drop(watcher.text()));
    watcher.bye();
    let seen = Seen { came: 202, ended: 202, delivered: rounds, ..Seen::default() };
    assert_counted(&gateway, "rooms", &seen, 0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("sockway_redis_reconnects_total"), 0.0, "a false death");
    assert_eq!(metrics.sum("sockway_gaps_total"), 0.0);
    assert_ends_well(gateway);
}

/// Connections that send nothing, as many as the kernel allows.
fn silent_ones(gateway: &Gateway) -> Vec<TcpStream> {
    (0..200).filter_map(|_| TcpStream::connect(gateway.address).ok()).collect()
}

fn assert_idle(when: &str, gateway: &Gateway) {
    let before = gateway.vitals().cpu;
    thread::sleep(Duration::from_secs(10));
    let spent = gateway.vitals().cpu - before;
    say(&format!("{when}: {spent:?} of processor time in ten seconds"));
    assert!(spent <= Duration::from_millis(500));
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
    let gateway = Gateway::start_with_files(256, &Settings::new(&redis).endpoint(rooms()));
    let vitals = gateway.vitals();
    let crowd = Crowd::gather();
    let mut inside = Vec::new();
    for result in crowd.come(vec![in_room(&gateway, "hall"); 400]) {
        match result {
            Ok(member) => inside.push(member),
            Err(Refused::Status { status: 503, retry_after: true } | Refused::NoAnswer) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    say(&format!("{} of 400 are in", inside.len()));
    let start = Instant::now();
    let mut silent = silent_ones(&gateway);
    assert_idle("with a few kept for the rest", &gateway);
    assert_eq!(gateway.admin("/metrics").status, 200);
    // Now no descriptor is left: each failed accept is followed by a pause.
    gateway.limit_files(gateway.vitals().descriptors);
    silent.extend(silent_ones(&gateway));
    assert_idle("with none at all", &gateway);
    gateway.limit_files(256);
    let failed = gateway.metrics().get("sockway_accept_errors_total");
    let most = start.elapsed().as_secs_f64() * 10.0;
    say(&format!(
        "{failed} failed accepts; a pause of 100 ms behind each makes {most:.0} at the most"
    ));
    assert!(failed >= 10.0 && failed <= most);
    Source::new(&redis).round(&hall());
    wait_all_have(&inside, "room:hall", 0);
    let mut seen = Seen::by(&inside);
    assert_counted(&gateway, "rooms", &seen, 0);
    assert_balanced(&gateway, 1, seen.came);
    assert_subscribed(&gateway, &redis, &hall());
    drop((silent, crowd));
    crate::time_until("somebody is let in", Duration::from_secs(1), || {
        Client::try_open(gateway.address, &Request::upgrade("/ws/rooms/1")).is_ok()
    });
    seen.came += 1;
    assert_counted(&gateway, "rooms", &seen.all_left(), 0);
    assert_unsubscribed(&redis, &[hall(), vec!["room:1".to_owned()]].concat());
    gateway.wait_back_to(vitals);
    assert_ends_well(gateway);
}
