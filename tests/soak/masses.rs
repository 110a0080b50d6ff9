//! Thousands of clients at once: a crowd that reconnects within a second, one that connects and
//! disconnects for a minute, and one that is drained.

use crate::{
    in_room,
    rig::{
        Gateway, Redis, Settings,
        crowd::{Crowd, Manner, Member, Plan, Refused, wait_all_have},
        oracle::{Source, seeded},
        settings::rooms,
        vitals::Vitals,
        wait::until,
    },
    say, time_until,
    truth::{
        Seen, assert_balanced, assert_counted, assert_ends_well, assert_subscribed,
        assert_unsubscribed,
    },
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

fn from(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n % 4) as u8))
}

fn hall() -> Vec<String> {
    vec!["room:hall".to_owned()]
}

fn have_ended(members: &[Member]) -> bool {
    members.iter().all(|one| one.look(|ledger| ledger.ended))
}

/// Its resources when idle: the allocator returns memory to the system only some time after it is
/// freed.
fn at_rest(gateway: &Gateway) -> Vitals {
    let (mut least, mut since) = (gateway.vitals(), Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(20));
        let now = gateway.vitals();
        if now.memory_bytes < least.memory_bytes {
            (least, since) = (now, Instant::now());
        }
    }
    least
}

/// Lets all of them retry, without a pause, until they are in, and counts the refusals, each of which
/// must be answered; one message is published for the residents before each try.
fn all_come(crowd: &Crowd, mut waiting: Vec<Plan>, source: &mut Source) -> (Vec<Member>, u64) {
    let (mut inside, mut refusals, start) = (Vec::new(), 0, Instant::now());
    while !waiting.is_empty() {
        source.round(&hall());
        let results = crowd.come(waiting.clone());
        let mut again = Vec::new();
        for (plan, result) in waiting.into_iter().zip(results) {
            match result {
                Ok(member) => {
                    inside.push(member);
                    continue;
                }
                Err(Refused::Status { status: 503, retry_after: true }) => refusals += 1,
                Err(other) => panic!("{other:?}"),
            }
            again.push(plan);
        }
        waiting = again;
        assert!(start.elapsed() < Duration::from_secs(60), "{} wait still", waiting.len());
    }
    say(&format!("{} in after {:?}; {refusals} refusals", inside.len(), start.elapsed()));
    (inside, refusals)
}

#[test]
fn ten_thousand_come_back_within_a_second() {
    const CROWD: usize = 10_000;
    const RESIDENTS: usize = 200;
    let redis = Redis::start();
    // A quarter of the default, so that admission has something to do.
    let settings = Settings::new(&redis).set("server.max_pending_handshakes", 256);
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    let crowd = Crowd::gather();
    let residents = crowd.all_in(vec![in_room(&gateway, "hall"); RESIDENTS]);
    let plan = |n: usize| in_room(&gateway, &n.to_string()).from(from(n));
    let plans: Vec<Plan> = (0..CROWD).map(plan).collect();
    let rooms: Vec<String> = (0..CROWD).map(|n| format!("room:{n}")).collect();
    let (mut source, cold) = (Source::new(&redis), gateway.vitals());
    let (once, refused_once) = all_come(&crowd, plans.clone(), &mut source);
    once.iter().for_each(|one| one.behave(Manner::Leaves));
    until("they have gone", || have_ended(&once));
    assert_unsubscribed(&redis, &rooms);
    // Tables keep their largest capacity; any growth beyond that would be a leak.
    let before = at_rest(&gateway);
    let [cold, warm] = [cold, before].map(|vitals| vitals.memory_bytes >> 10);
    say(&format!("{cold} KiB with {RESIDENTS} residents, {warm} when a crowd had come and gone"));

    let (first, refused) = all_come(&crowd, plans.clone(), &mut source);
    first.iter().for_each(|one| one.behave(Manner::Resets));
    let (second, refused_again) = all_come(&crowd, plans, &mut source);
    until("the first crowd has gone", || have_ended(&first));
    assert_subscribed(&gateway, &redis, &[hall(), rooms.clone()].concat());
    assert!(source.round(&rooms).iter().all(|&reached| reached == 1));
    until("all of them deliver", || {
        second.iter().all(|one| one.look(|ledger| ledger.delivered == 1))
    });
    let published = source.next("room:hall");
    wait_all_have(&residents, "room:hall", published - 1);
    let here = Seen::by(&residents);
    assert_eq!((here.ended, here.missing, here.gaps), (0, 0, 0), "residents notice nothing");
    let crowds = [&once, &first, &second].map(Seen::by);
    let mut seen: Seen = crowds.into_iter().chain([here]).sum();
    assert_counted(&gateway, "rooms", &seen, 0);
    let metrics = gateway.metrics();
    let received = published + CROWD as u64;
    assert_eq!(metrics.get("sockway_redis_messages_total"), received as f64);
    let refusals = [refused_once, refused, refused_again];
    let counted = metrics.sum("sockway_handshakes_refused_total");
    assert_eq!(counted, refusals.iter().sum::<u64>() as f64);

    second.iter().for_each(|one| one.behave(Manner::Leaves));
    until("the second crowd has gone", || have_ended(&second));
    seen.ended = 3 * CROWD as u64;
    assert_counted(&gateway, "rooms", &seen, 0);
    assert_unsubscribed(&redis, &rooms);
    gateway.wait_back_to(before);
    assert_ends_well(gateway);
}

/// A hundred connect at once; each gets the message that is published when it is in, and
/// disconnects.
fn one_turn(
    gateway: &Gateway,
    crowd: &Crowd,
    source: &mut Source,
    rng: &mut fastrand::Rng,
) -> (Seen, u64) {
    let rooms: Vec<String> = (0..100).map(|_| rng.usize(..300).to_string()).collect();
    let members = crowd.all_in(rooms.iter().map(|room| in_room(gateway, room)).collect());
    let channels: BTreeSet<String> = rooms.iter().map(|room| format!("room:{room}")).collect();
    let channels: Vec<String> = channels.into_iter().collect();
    assert!(source.round(&channels).iter().all(|&reached| reached == 1), "101 means subscribed");
    until("everybody has got one", || {
        members.iter().all(|one| one.look(|ledger| ledger.delivered == 1))
    });
    for member in &members {
        member.behave([Manner::Leaves, Manner::Resets][rng.usize(..2)]);
    }
    until("all have left", || have_ended(&members));
    (Seen::by(&members), channels.len() as u64)
}

#[test]
fn a_thousand_a_second_come_and_leave_for_a_minute() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (mut rng, redis) = (seeded(), Redis::start());
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let (crowd, mut source) = (Crowd::gather(), Source::new(&redis));
    let (mut seen, mut received, mut before) = (Seen::default(), 0, None);
    let start = Instant::now();
    while start.elapsed() < MINUTE {
        let (some, published) = one_turn(&gateway, &crowd, &mut source, &mut rng);
        seen += some;
        received += published;
        // The first ten seconds warm up caches and tables.
        if before.is_none() && start.elapsed() > MINUTE / 6 {
            gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
            before = Some(gateway.vitals());
        }
    }
    let rate = seen.came as f64 / start.elapsed().as_secs_f64();
    say(&format!("{} came, got a message and left; {rate:.0} a second", seen.came));
    assert!(rate >= 1_000.0);
    gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
    gateway.wait_metric("sockway_channels{state=\"wanted\"}", 0.0);
    let channels: Vec<String> = (0..300).map(|n| format!("room:{n}")).collect();
    assert_unsubscribed(&redis, &channels);
    assert_counted(&gateway, "rooms", &seen, 0);
    assert_eq!(seen.delivered, seen.came);
    assert_eq!(gateway.metrics().get("sockway_redis_messages_total"), received as f64);
    gateway.wait_back_to(before.expect("warmed up"));
    assert_ends_well(gateway);
}

#[test]
fn five_thousand_are_told_to_leave_one_after_another() {
    const CROWD: usize = 5_000;
    const MESSAGES: u64 = 10;
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("shutdown.spread", "5s")
        .set("shutdown.timeout", "20s")
        .endpoint(rooms());
    let mut gateway = Gateway::start(&settings);
    let crowd = Crowd::gather();
    let members: Vec<_> =
        (0..5).flat_map(|_| crowd.all_in(vec![in_room(&gateway, "hall"); CROWD / 5])).collect();
    let mut source = Source::new(&redis);
    (0..MESSAGES).for_each(|_| drop(source.round(&hall())));
    time_until("all have everything", Duration::from_secs(20), || {
        members.iter().all(|one| one.look(|ledger| ledger.delivered == MESSAGES))
    });
    assert_counted(&gateway, "rooms", &Seen::by(&members), 0);
    assert_balanced(&gateway, MESSAGES, CROWD as u64);
    assert_subscribed(&gateway, &redis, &hall());
    gateway.terminate();
    let start = Instant::now();
    let (mut told, mut seconds) = (0, Vec::new());
    while told < CROWD {
        thread::sleep(Duration::from_secs(1));
        let now = members.iter().filter(|one| one.look(|ledger| ledger.close.is_some())).count();
        seconds.push(now - told);
        told = now;
        assert!(start.elapsed() < Duration::from_secs(20), "{told} told");
    }
    say(&format!("told by the second: {seconds:?}"));
    assert!(seconds.iter().all(|&some| some <= 2 * CROWD / 5), "not twice a second's mean");
    for member in &members {
        member.look(|ledger| {
            ledger.assert_kept();
            assert_eq!((ledger.delivered, ledger.gaps), (MESSAGES, 0));
            assert_eq!(ledger.close, Some((1012, "restarting".to_owned())));
        });
    }
    assert_eq!(gateway.process.exit_code(), 0);
    // The metrics ended with the process; its log has a record of each session.
    let log = gateway.process.stderr.all();
    let closed =
        |line: &&String| line.contains("\"session closed\"") && line.contains("\"restarting\"");
    assert_eq!(log.iter().filter(closed).count(), CROWD);
    assert!(!log.iter().any(|line| line.contains("panic")));
}
