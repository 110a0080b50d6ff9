//! Many clients, some of them bad: one that is stuck, a hundred that read slowly, a thousand that
//! reconnect at once, and more than there are descriptors. The other clients are not affected.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    crowd::{Crowd, Manner, Member, Plan, Refused, wait_all_have},
    http::Response,
    oracle::{Ledger, Source, seeded},
    settings::rooms,
    wait::{until, within},
};
use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const CLOSED_SLOW: &str =
    "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"slow_consumer\"}";

/// A client in a room of its own.
fn own_room(gateway: &Gateway, room: usize) -> Plan {
    in_room(gateway, &room.to_string())
}

fn in_room(gateway: &Gateway, room: &str) -> Plan {
    let ledger = Ledger::of(&[(&format!("room:{room}"), None)]);
    Plan::new(gateway.address, Request::upgrade(&format!("/ws/rooms/{room}")), ledger)
}

fn delivered(members: &[Member]) -> u64 {
    members.iter().map(|member| member.look(|ledger| ledger.delivered)).sum()
}

#[track_caller]
fn assert_all_kept(members: &[Member]) {
    members.iter().for_each(|member| member.look(Ledger::assert_kept));
}

/// A gateway, and the clients of its rooms.
struct Hall {
    redis: Redis,
    gateway: Gateway,
    crowd: Crowd,
    source: Source,
}

impl Hall {
    fn new(change: impl FnOnce(Settings) -> Settings) -> Self {
        let redis = Redis::start();
        let gateway = Gateway::start(&change(Settings::new(&redis)));
        let (crowd, source) = (Crowd::gather(), Source::new(&redis));
        Self { redis, gateway, crowd, source }
    }

    fn publish(&mut self, rounds: usize, pause: Duration) {
        for _ in 0..rounds {
            self.source.round(&["room:hall".to_owned()]);
            thread::sleep(pause);
        }
    }
}

#[test]
fn one_of_200_stops_reading_and_the_others_miss_nothing() {
    // Small, so that it is full before the test has lasted long; patient, since a busy machine may need
    // longer for that than a client may acknowledge nothing.
    let slow = rooms().set("queue_messages", 64).set("queue_bytes", "256KiB");
    let slow = slow.set("write_timeout", "60s");
    let mut hall = Hall::new(|settings| settings.set("server.shards", 1).endpoint(slow));
    let plans = (0..199).map(|_| in_room(&hall.gateway, "hall")).collect();
    let others = hall.crowd.all_in(plans);
    let stuck = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall").narrow()]);
    stuck[0].behave(Manner::Stops);
    let before = hall.gateway.vitals();
    hall.source.ballast = 4 * 1024;
    // No faster than the other clients, which share one thread of the test, can read.
    for last in (0..100).map(|n| 4 * n + 3) {
        hall.publish(4, Duration::ZERO);
        wait_all_have(&others, "room:hall", last);
    }
    hall.gateway.wait_metric(CLOSED_SLOW, 1.0);
    let after = hall.gateway.vitals();
    // The 256 KiB of the queue, plus kernel memory counted late, plus what the allocator keeps.
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    assert!(grown < 8 << 20, "{grown} bytes for one stuck client");
    assert_eq!(delivered(&others), 199 * 400);
    assert_all_kept(&others);
    stuck[0].behave(Manner::Reads);
    let ledger = stuck[0].wait_ended();
    ledger.assert_kept();
    // A client that reads nothing for five more seconds does not get the close frame either.
    let told = Some((4008, "slow_consumer".to_owned()));
    assert!(ledger.close.is_none() || ledger.close == told, "{:?}", ledger.close);
    hall.gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 199.0);
    let metrics = hall.gateway.metrics();
    let flushed = metrics.get("sockway_deliveries_total{endpoint=\"rooms\"}") as u64;
    // What the kernel had accepted for the stuck client counts as delivered, although it never read
    // it.
    assert!(flushed >= delivered(&others) + ledger.delivered, "{flushed}");
    let missed = metrics.sum("sockway_missed_messages_total") as u64;
    assert!(missed >= 1 && flushed + missed <= 200 * 400, "{missed} missed, {flushed} flushed");
}

#[test]
fn a_hundred_of_200_read_a_kilobyte_a_second_and_the_fast_ones_miss_nothing() {
    let mut hall = Hall::new(|settings| settings.endpoint(rooms()));
    let plan = in_room(&hall.gateway, "hall");
    let fast = hall.crowd.all_in(vec![plan.clone().timed(); 100]);
    let slow = hall.crowd.all_in(vec![plan.narrow(); 100]);
    slow.iter().for_each(|one| one.behave(Manner::Slow(1_000)));
    hall.source.ballast = 500;
    hall.publish(300, Duration::from_millis(5));
    wait_all_have(&fast, "room:hall", 299);
    assert_all_kept(&fast);
    assert_eq!(delivered(&fast), 100 * 300);
    assert!(delivered(&slow) < 100 * 300, "the slow ones were slow");
    let worst = fast.iter().flat_map(Member::take_delays).max();
    // The 100 ms of the promise are tested in the soak; here the machine may be busy.
    assert!(worst < Some(Duration::from_secs(5)), "{worst:?}");
    assert_eq!(hall.gateway.metrics().sum("sockway_missed_messages_total"), 0.0);
    assert_eq!(hall.gateway.metrics().get("sockway_sessions{endpoint=\"rooms\"}"), 200.0);
    // When they read again, they get all of it.
    slow.iter().for_each(|one| one.behave(Manner::Reads));
    wait_all_have(&slow, "room:hall", 299);
    assert_all_kept(&slow);
}

#[test]
fn a_redis_with_little_patience_does_not_notice_one_stuck_client() {
    let skipping = rooms().set("on_slow", "skip").set("write_timeout", "60s");
    let mut hall = Hall::new(|settings| settings.endpoint(skipping));
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 256kb 5"];
    hall.redis.command(&limit);
    let quick = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall")]);
    let stuck = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall").narrow()]);
    stuck[0].behave(Manner::Stops);
    hall.source.ballast = 16 * 1024;
    // 16 MB, sixteen times Redis's limit, no faster than the quick one takes them.
    for last in 0..1_000 {
        hall.publish(1, Duration::ZERO);
        if last % 50 == 49 {
            wait_all_have(&quick, "room:hall", last);
        }
    }
    assert_eq!(hall.gateway.metrics().get("sockway_redis_reconnects_total"), 0.0);
    assert_eq!(quick[0].ledger().missing, 0);
    stuck[0].behave(Manner::Reads);
    wait_all_have(&stuck, "room:hall", 999);
    let ledger = stuck[0].ledger();
    ledger.assert_kept();
    assert!(ledger.missing > 0 && ledger.gaps > 0, "{ledger:?}");
    let metrics = hall.gateway.metrics();
    let skipped = "sockway_missed_messages_total{endpoint=\"rooms\",reason=\"skipped\"}";
    assert_eq!(metrics.get(skipped), ledger.missing as f64);
}

#[test]
fn a_thousand_that_come_back_at_once_are_let_in_and_nobody_else_is_dropped() {
    const CROWD: usize = 1_000;
    let settings =
        |settings: Settings| settings.set("server.max_pending_handshakes", 200).endpoint(rooms());
    let mut hall = Hall::new(settings);
    let residents = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall"); 50]);
    let mut waiting: Vec<Plan> = (0..CROWD)
        .map(|room| {
            let from = Ipv4Addr::new(127, 0, 0, 2 + (room % 4) as u8);
            own_room(&hall.gateway, room).from(IpAddr::V4(from))
        })
        .collect();
    let (mut inside, mut refusals, start) = (Vec::new(), 0, Instant::now());
    while !waiting.is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "{} wait still", waiting.len());
        let results = hall.crowd.come(waiting.clone());
        let mut again = Vec::new();
        for (plan, result) in waiting.into_iter().zip(results) {
            match result {
                Ok(member) => inside.push(member),
                Err(Refused::Status { status: 503, retry_after: true }) => again.push(plan),
                Err(other) => panic!("{other:?}"),
            }
        }
        refusals += again.len();
        waiting = again;
        hall.publish(1, Duration::ZERO);
    }
    let last = hall.source.next("room:hall") - 1;
    wait_all_have(&residents, "room:hall", last);
    assert_all_kept(&residents);
    assert_eq!(delivered(&residents), 50 * (last + 1));
    let metrics = hall.gateway.metrics();
    assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), (CROWD + 50) as f64);
    assert_eq!(metrics.sum("sockway_sessions_closed_total"), 0.0);
    assert_eq!(metrics.sum("sockway_handshakes_refused_total"), refusals as f64);
    hall.gateway.wait_metric("sockway_channels{state=\"subscribed\"}", (CROWD + 1) as f64);
}

#[test]
fn three_thousand_at_once_above_the_limit_are_told_so_each_and_cost_nothing() {
    const CROWD: usize = 3_000;
    let settings =
        |settings: Settings| settings.set("server.max_connections", 50).endpoint(rooms());
    let mut hall = Hall::new(settings);
    let residents = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall"); 50]);
    let before = hall.gateway.vitals();
    let from = |n: usize| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n % 4) as u8));
    let plans = (0..CROWD).map(|n| own_room(&hall.gateway, n).from(from(n))).collect();
    for refused in hall.crowd.come(plans) {
        let refused = refused.map(|_| ()).expect_err("it is full");
        assert_eq!(refused, Refused::Status { status: 503, retry_after: true });
    }
    let after = hall.gateway.vitals();
    // Connections that are being refused may stay open a moment longer.
    assert!(after.descriptors <= before.descriptors + 64, "{after:?}");
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    assert!(grown < 4 << 20, "{grown} bytes for answers");
    hall.publish(1, Duration::ZERO);
    wait_all_have(&residents, "room:hall", 0);
    assert_all_kept(&residents);
    let full = "sockway_handshakes_refused_total{reason=\"at_capacity\"}";
    assert_eq!(hall.gateway.metrics().get(full), CROWD as f64);
}

#[test]
fn coming_and_leaving_leaves_nothing_behind() {
    let mut rng = seeded();
    let hall = Hall::new(|settings| settings.endpoint(rooms()));
    let mut turn = || {
        let plans = (0..100).map(|_| own_room(&hall.gateway, rng.usize(..30))).collect();
        let members = hall.crowd.all_in(plans);
        for member in &members {
            member.behave([Manner::Leaves, Manner::Resets][rng.usize(..2)]);
        }
        members.iter().for_each(|member| member.wait_ended().assert_kept());
        hall.gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    };
    // The first rounds warm up the allocator and the Redis client.
    (0..3).for_each(|_| turn());
    hall.gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
    let before = hall.gateway.vitals();
    (0..10).for_each(|_| turn());
    hall.gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
    hall.gateway.wait_metric("sockway_channels{state=\"wanted\"}", 0.0);
    let left: Vec<String> = (0..30).map(|room| format!("room:{room}")).collect();
    crate::rig::oracle::wait_numsub(&hall.redis, &left, 0);
    hall.gateway.metrics().assert_balanced();
    hall.gateway.wait_back_to(before);
}

#[test]
fn with_few_descriptors_some_are_kept_for_the_rest_which_lives() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("server.max_connections", 100_000);
    let gateway = Gateway::start_with_files(320, &settings.endpoint(rooms()));
    let crowd = Crowd::gather();
    let mut inside = Vec::new();
    for result in crowd.come(vec![in_room(&gateway, "hall"); 400]) {
        match result {
            Ok(member) => inside.push(member),
            Err(Refused::Status { status: 503, retry_after: true } | Refused::NoAnswer) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!((100..320).contains(&inside.len()), "{} are in", inside.len());
    // Silent connections take the remaining descriptors.
    let silent: Vec<_> = (0..200)
        .filter_map(|_| {
            let address = gateway.address;
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
        })
        .collect();
    assert_eq!(gateway.admin("/livez").status, 200);
    assert!(gateway.is_ready());
    let mut source = Source::new(&redis);
    source.round(&["room:hall".to_owned()]);
    wait_all_have(&inside, "room:hall", 0);
    assert_all_kept(&inside);
    drop((inside, silent, crowd));
    within(Duration::from_secs(10), "somebody is let in again", || {
        Client::try_open(gateway.address, &Request::upgrade("/ws/rooms/1")).ok()
    });
}

#[test]
fn without_a_descriptor_accepting_pauses_instead_of_spinning_and_then_lets_in_who_waits() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let mut inside = gateway.open("/ws/rooms/1");
    let before = gateway.vitals();
    gateway.limit_files(before.descriptors + 3);
    let start = Instant::now();
    // Three are accepted, the others wait in the kernel's queue.
    let mut waiting: Vec<_> =
        (0..40).map(|_| TcpStream::connect(gateway.address).expect("the kernel accepts")).collect();
    // Not a wait for something: what this second costs is what is measured.
    thread::sleep(Duration::from_secs(1));
    let (passed, spent) = (start.elapsed(), gateway.vitals().cpu - before.cpu);
    assert!(spent < passed / 4, "{spent:?} of {passed:?} spent on nothing");
    gateway.limit_files(1_000);
    let mut last = waiting.pop().expect("forty");
    last.write_all(&Request::upgrade("/ws/rooms/2").encode()).expect("taken");
    let recovered = Instant::now();
    assert_eq!(Response::read(&mut last).expect("an answer").status, 101);
    assert!(recovered.elapsed() < Duration::from_secs(5), "{:?}", recovered.elapsed());
    let failed = gateway.metrics().get("sockway_accept_errors_total");
    let most = start.elapsed().as_secs_f64() * 10.0 + 1.0;
    assert!((5.0..=most).contains(&failed), "{failed} failed accepts");
    redis.publish("room:1", "still here");
    assert_eq!(inside.text(), "still here");
}

#[test]
fn sigterm_tells_five_hundred_and_none_of_them_anything_else() {
    const CROWD: usize = 500;
    let mut hall = Hall::new(|settings| settings.set("shutdown.spread", "2s").endpoint(rooms()));
    let members = hall.crowd.all_in(vec![in_room(&hall.gateway, "hall"); CROWD]);
    let channel = ["room:hall".to_owned()];
    for _ in 0..20 {
        hall.source.round(&channel);
    }
    // A session that is closed at once may miss messages still on their way to the gateway.
    wait_all_have(&members, "room:hall", 19);
    hall.gateway.terminate();
    until("all have ended", || members.iter().all(|one| one.look(|ledger| ledger.ended)));
    for member in &members {
        let ledger = member.ledger();
        ledger.assert_kept();
        assert_eq!(ledger.close, Some((1012, "restarting".to_owned())));
        assert_eq!(ledger.delivered, 20);
    }
    assert_eq!(hall.gateway.process.exit_code(), 0);
}
