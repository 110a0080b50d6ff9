//! How soon an outage of Redis is detected, and how soon the gateway recovers, with the default
//! probes and the default back-off.

use crate::{
    in_room,
    rig::{
        Gateway, Redis, Settings,
        crowd::{Crowd, Member, wait_all_have},
        oracle::Source,
        proxy::{Proxy, Weather},
        settings::rooms,
        vitals::Vitals,
    },
    say, time_until,
    truth::{Seen, assert_counted, assert_ends_well, assert_subscribed},
};
use std::{thread, time::Duration};

const NOTICED: Duration = Duration::from_secs(10);
const ROOMS: usize = 100;

struct Scene {
    redis: Redis,
    gateway: Gateway,
    members: Vec<Member>,
    source: Source,
    /// Before the fault.
    vitals: Vitals,
    _crowd: Crowd,
}

fn channels() -> Vec<String> {
    (0..ROOMS).map(|room| format!("room:{room}")).collect()
}

impl Scene {
    /// No proxy between the gateway and Redis. It would accept connections while Redis is away, and
    /// a Redis that accepts and disconnects is dialled less often than one that is absent.
    fn direct() -> Self {
        let redis = Redis::start();
        let url = redis.url();
        Self::at(redis, &url)
    }

    fn behind_a_proxy() -> (Self, Proxy) {
        let redis = Redis::start();
        let proxy = Proxy::to(&redis.address());
        (Self::at(redis, &proxy.url()), proxy)
    }

    fn at(redis: Redis, url: &str) -> Self {
        // With one shard, the Redis side runs on the shard's thread.
        let mut settings = Settings::with_url(url).set("server.shards", 1).endpoint(rooms());
        for key in ["probe_interval", "probe_timeout", "reconnect_min", "reconnect_max"] {
            settings = settings.without(&format!("redis.{key}"));
        }
        let gateway = Gateway::start(&settings);
        let crowd = Crowd::gather();
        let plans = (0..ROOMS).map(|room| in_room(&gateway, &room.to_string()));
        let members = crowd.all_in(plans.collect());
        let (source, vitals) = (Source::new(&redis), gateway.vitals());
        let mut scene = Self { redis, gateway, members, source, vitals, _crowd: crowd };
        scene.reach_all();
        scene.vitals = scene.gateway.vitals();
        scene
    }

    fn noticed(&self) {
        time_until("readyz says so", NOTICED, || !self.gateway.is_ready());
    }

    /// Publishes until every session delivers again. Earlier messages are holes, of which the
    /// clients must be told.
    fn delivering(&mut self, limit: Duration) {
        let before: Vec<u64> =
            self.members.iter().map(|one| one.look(|ledger| ledger.delivered)).collect();
        let Self { source, members, .. } = self;
        time_until("all deliver again", limit, || {
            let _ = source.try_round(&channels());
            let mut all = members.iter().zip(&before);
            all.all(|(one, &before)| one.look(|ledger| ledger.delivered > before))
        });
    }

    /// Publishes one message for each session, which must get it.
    fn reach_all(&mut self) {
        assert_eq!(self.source.round(&channels()), [1; ROOMS]);
        for (member, channel) in self.members.iter().zip(channels()) {
            let last = self.source.next(&channel) - 1;
            wait_all_have(std::slice::from_ref(member), &channel, last);
        }
    }

    /// After one outage everything is as before, and every session was told of it once.
    fn settle(mut self) {
        self.gateway.wait_ready();
        assert_subscribed(&self.gateway, &self.redis, &channels());
        self.reach_all();
        let seen = Seen::by(&self.members);
        say(&format!("{seen:?}"));
        assert_eq!((seen.ended, seen.gaps), (0, ROOMS as u64), "every session is told, and stays");
        assert_counted(&self.gateway, "rooms", &seen, 0);
        let metrics = self.gateway.metrics();
        metrics.assert_balanced();
        assert_eq!(metrics.get("sockway_redis_reconnects_total"), 1.0);
        assert_eq!(metrics.get("sockway_gaps_total{reason=\"redis_reconnected\"}"), ROOMS as f64);
        assert_eq!(metrics.sum("sockway_gaps_total"), ROOMS as f64);
        self.gateway.wait_back_to(self.vitals);
        assert_ends_well(self.gateway);
    }
}

#[test]
fn killed_and_back_after_one_second_and_after_thirty() {
    for (away, limit) in [(1, 1_000), (30, 2_500)] {
        say(&format!("Redis is away for {away} s"));
        let mut scene = Scene::direct();
        scene.redis.kill();
        scene.noticed();
        thread::sleep(Duration::from_secs(away));
        scene.redis.begin();
        scene.delivering(Duration::from_millis(limit));
        scene.settle();
    }
}

#[test]
fn hung_for_twenty_seconds() {
    let mut scene = Scene::direct();
    scene.redis.hang();
    scene.noticed();
    thread::sleep(Duration::from_secs(13));
    scene.redis.go_on();
    scene.delivering(Duration::from_secs(1));
    scene.settle();
}

#[test]
fn a_black_hole_on_the_way() {
    let (mut scene, proxy) = Scene::behind_a_proxy();
    proxy.set(Weather::BlackHole);
    scene.noticed();
    thread::sleep(Duration::from_secs(5));
    proxy.set(Weather::Pass);
    // Connection attempts made during the black hole have to time out first.
    scene.delivering(Duration::from_secs(10));
    scene.settle();
}

#[test]
fn absent_at_start_and_then_there() {
    let mut redis = Redis::absent();
    let gateway = Gateway::start_unready(&Settings::with_url(&redis.url()).endpoint(rooms()));
    thread::sleep(Duration::from_secs(3));
    redis.begin();
    time_until("ready", Duration::from_secs(2), || gateway.is_ready());
    assert_ends_well(gateway);
}
