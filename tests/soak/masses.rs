//! Thousands at once: a crowd that comes back within a second, one that comes and goes for a
//! minute, and one that is told to leave.

use crate::{
    assert_all_kept, in_room,
    rig::{
        Gateway, Redis, Settings,
        crowd::{Crowd, Manner, Plan, Refused},
        oracle::{Ledger, Source, seeded, wait_numsub},
        settings::rooms,
    },
    say, time_until,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

fn from(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n % 4) as u8))
}

#[test]
fn ten_thousand_come_back_within_a_second() {
    const CROWD: usize = 9_000; // and both ends within 20,000 descriptors
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let crowd = Crowd::gather();
    let residents = crowd.all_in(vec![in_room(&gateway, "hall"); 200]);
    let mut waiting: Vec<Plan> =
        (0..CROWD).map(|n| in_room(&gateway, &n.to_string()).from(from(n))).collect();
    let (mut inside, mut refused, mut unanswered) = (Vec::new(), 0, 0);
    let (start, mut source) = (Instant::now(), Source::new(&redis));
    while !waiting.is_empty() {
        let results = crowd.come(waiting.clone());
        let mut again = Vec::new();
        for (plan, result) in waiting.into_iter().zip(results) {
            match result {
                Ok(member) => {
                    inside.push(member);
                    continue;
                }
                Err(Refused::Status { status: 503, retry_after: true }) => refused += 1,
                // Beyond the reserve for answers a socket is just closed.
                Err(Refused::NoAnswer) => unanswered += 1,
                Err(other) => panic!("{other:?}"),
            }
            again.push(plan);
        }
        waiting = again;
        source.round(&["room:hall".to_owned()]);
    }
    say(&format!("all in after {:?}; {refused} × 503, {unanswered} unanswered", start.elapsed()));
    assert!(start.elapsed() < Duration::from_secs(60));
    let last = source.next("room:hall") - 1;
    time_until("residents have everything", Duration::from_secs(5), || {
        residents.iter().all(|one| one.look(|ledger| ledger.last("room:hall") == Some(last)))
    });
    assert_all_kept(&residents);
    assert_eq!(gateway.metrics().sum("sockway_sessions_closed_total"), 0.0);
}

#[test]
fn a_thousand_a_second_come_and_leave_for_a_minute() {
    const AT_ONCE: usize = 100;
    let mut rng = seeded();
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let crowd = Crowd::gather();
    let mut turn = || {
        let plans = (0..AT_ONCE).map(|_| in_room(&gateway, &rng.usize(..300).to_string()));
        let members = crowd.all_in(plans.collect());
        for member in &members {
            member.behave([Manner::Leaves, Manner::Resets][rng.usize(..2)]);
        }
        let ended = || members.iter().all(|one| one.look(|ledger| ledger.ended));
        let start = Instant::now();
        while !ended() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_all_kept(&members);
    };
    let (mut turns, mut before) = (0, None);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        turn();
        turns += 1;
        // Ten seconds warm up what stays.
        if before.is_none() && start.elapsed() > Duration::from_secs(10) {
            gateway.wait_metric("sockway_channels{state=\"held\"}", 0.0);
            before = Some(gateway.vitals());
        }
    }
    say(&format!("{} came and left in {:?}", turns * AT_ONCE, start.elapsed()));
    gateway.wait_metric("sockway_channels{state=\"held\"}", 0.0);
    let channels: Vec<String> = (0..300).map(|n| format!("room:{n}")).collect();
    wait_numsub(&redis, &channels, 0);
    gateway.metrics().assert_balanced();
    gateway.wait_back_to(before.expect("warmed up"));
}

#[test]
fn five_thousand_are_told_to_leave_one_after_another() {
    const CROWD: usize = 5_000;
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
    (0..10).for_each(|_| drop(source.round(&["room:hall".to_owned()])));
    time_until("all have everything", Duration::from_secs(20), || {
        members.iter().all(|one| one.look(|ledger| ledger.delivered == 10))
    });
    gateway.terminate();
    let start = Instant::now();
    let (mut told, mut seconds) = (0, Vec::new());
    while told < CROWD {
        std::thread::sleep(Duration::from_secs(1));
        let now = members.iter().filter(|one| one.look(|ledger| ledger.close.is_some())).count();
        seconds.push(now - told);
        told = now;
        assert!(start.elapsed() < Duration::from_secs(20), "{told} told");
    }
    say(&format!("told by the second: {seconds:?}"));
    assert!(seconds.iter().all(|&some| some <= 2 * CROWD / 5), "not twice a second's mean");
    for member in &members {
        let ledger: Ledger = member.ledger();
        ledger.assert_kept();
        assert_eq!(ledger.delivered, 10);
        assert_eq!(ledger.close, Some((1012, "restarting".to_owned())));
    }
    assert_eq!(gateway.process.exit_code(), 0);
}
