//! How soon an outage of Redis is noticed, and how soon it is over: the bounds of RELIABILITY's
//! rows, with the default probes and the default back-off.

use crate::{
    in_room,
    rig::{
        Gateway, Redis, Settings,
        crowd::{Crowd, Member},
        oracle::Source,
        proxy::{Proxy, Weather},
        settings::rooms,
    },
    say, time_until,
};
use std::{thread, time::Duration};

const NOTICED: Duration = Duration::from_secs(10);

struct Scene {
    redis: Redis,
    proxy: Proxy,
    gateway: Gateway,
    members: Vec<Member>,
    _crowd: Crowd,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::start();
        let proxy = Proxy::to(&redis.address());
        let mut settings = Settings::with_url(&proxy.url()).endpoint(rooms());
        for key in ["probe_interval", "probe_timeout", "reconnect_min", "reconnect_max"] {
            settings = settings.without(&format!("redis.{key}"));
        }
        let gateway = Gateway::start(&settings);
        let crowd = Crowd::gather();
        let members = crowd.all_in((0..100).map(|n| in_room(&gateway, &n.to_string())).collect());
        Self { redis, proxy, gateway, members, _crowd: crowd }
    }

    fn noticed(&self) {
        time_until("readyz says so", NOTICED, || !self.gateway.is_ready());
    }

    /// Publishes until every session delivers again; each must have been told of its gap.
    fn delivering(&self, limit: Duration) {
        let mut source = Source::new(&self.redis);
        let channels: Vec<String> = (0..100).map(|n| format!("room:{n}")).collect();
        let before: Vec<u64> =
            self.members.iter().map(|one| one.look(|ledger| ledger.delivered)).collect();
        time_until("all deliver again", limit, || {
            let _ = source.try_round(&channels);
            let mut all = self.members.iter().zip(&before);
            all.all(|(one, &before)| one.look(|ledger| ledger.delivered > before))
        });
        for member in &self.members {
            // Another source numbers from 0 again: only the telling is of interest here.
            member.look(|ledger| assert!(ledger.gaps > 0 && ledger.close.is_none()));
        }
    }
}

#[test]
fn killed_and_back_after_one_second_and_after_thirty() {
    for (away, limit) in [(1, 1_000), (30, 2_500)] {
        say(&format!("Redis is away for {away} s"));
        let mut scene = Scene::new();
        scene.redis.kill();
        thread::sleep(Duration::from_secs(away));
        scene.redis.begin();
        scene.delivering(Duration::from_millis(limit));
    }
}

#[test]
fn hung_for_twenty_seconds() {
    let scene = Scene::new();
    scene.redis.hang();
    scene.noticed();
    thread::sleep(Duration::from_secs(10));
    scene.redis.go_on();
    scene.delivering(Duration::from_secs(1));
}

#[test]
fn a_black_hole_on_the_way() {
    let scene = Scene::new();
    scene.proxy.set(Weather::BlackHole);
    scene.noticed();
    thread::sleep(Duration::from_secs(5));
    scene.proxy.set(Weather::Pass);
    // The dials that fell into the hole have to time out first.
    scene.delivering(Duration::from_secs(10));
}

#[test]
fn absent_at_start_and_then_there() {
    let mut redis = Redis::absent();
    let gateway = Gateway::start_unready(&Settings::with_url(&redis.url()).endpoint(rooms()));
    thread::sleep(Duration::from_secs(3));
    redis.begin();
    time_until("ready", Duration::from_secs(2), || gateway.is_ready());
}

#[test]
fn a_password_that_is_missing_costs_at_most_ten_dials_in_ten_seconds() {
    let redis = Redis::start();
    redis.command(&["ACL", "SETUSER", "default", "resetpass", ">needed"]);
    let proxy = Proxy::to(&redis.address());
    let settings = Settings::with_url(&proxy.url())
        .without("redis.reconnect_min")
        .without("redis.reconnect_max");
    let _gateway = Gateway::start_unready(&settings.endpoint(rooms()));
    thread::sleep(Duration::from_secs(10));
    say(&format!("{} dials", proxy.dials()));
    assert!(proxy.dials() <= 10);
}
