//! Two gateways at one Redis, a publisher that never stops, and a fault in the middle: whatever it
//! is, clients get only their own messages, no duplicate, in the order of Redis, and are told of
//! every hole; afterwards Redis has the subscriptions that sessions want, the counters balance, and
//! the processes use no more resources than before.

use crate::rig::{
    Gateway, Redis, Request, Settings,
    crowd::{Crowd, Manner, Member, Plan},
    oracle::{Ledger, Source, seeded, wait_numsub},
    proxy::{Proxy, Weather},
    settings::rooms,
    wait::{LIMIT, until, within},
};
use rustix::process::Signal;
use std::{net::SocketAddr, time::Duration};

const ROOMS: usize = 12;

/// A gateway with a proxy to Redis of its own, and one client in each room.
struct Side {
    proxy: Proxy,
    gateway: Gateway,
    members: Vec<Member>,
}

struct Scene {
    redis: Redis,
    sides: [Side; 2],
    rng: fastrand::Rng,
    /// Bytes of padding in each message.
    ballast: usize,
    /// Between two rounds of messages.
    pause: Duration,
    _crowd: Crowd,
}

fn channels() -> Vec<String> {
    (0..ROOMS).map(|room| format!("room:{room}")).collect()
}

fn plan(address: SocketAddr, room: usize) -> Plan {
    let ledger = Ledger::of(&[(&format!("room:{room}"), Some(0))]);
    Plan::new(address, Request::upgrade(&format!("/ws/rooms/{room}")), ledger)
}

impl Scene {
    fn new() -> Self {
        Self::with(|settings| settings)
    }

    /// Whose gateways notice silence soon. Only where silence is the fault: on a busy machine it may be they
    /// that stand still for so long, which would be one gap more.
    fn probing() -> Self {
        Self::with(|settings| {
            settings.set("redis.probe_interval", "1s").set("redis.probe_timeout", "900ms")
        })
    }

    fn with(change: impl Fn(Settings) -> Settings) -> Self {
        let redis = Redis::start();
        let crowd = Crowd::gather();
        // With one shard, the Redis side runs on the shard's thread.
        let sides = [2, 1].map(|shards| {
            let proxy = Proxy::to(&redis.address());
            let settings = Settings::with_url(&proxy.url()).set("server.shards", shards);
            let endpoint = rooms().set("format", "json");
            let gateway = Gateway::start(&change(settings).endpoint(endpoint));
            let plans = (0..ROOMS).map(|room| plan(gateway.address, room)).collect();
            let members = crowd.all_in(plans);
            Side { proxy, gateway, members }
        });
        let pause = Duration::from_millis(2);
        Self { redis, sides, rng: seeded(), ballast: 0, pause, _crowd: crowd }
    }

    /// Causes the fault while messages flow, and then checks every promise.
    fn weather(mut self, fault: impl FnOnce(&mut Self)) -> Self {
        let before = [0, 1].map(|side| self.sides[side].gateway.vitals());
        let mut source = Source::new(&self.redis);
        source.ballast = self.ballast;
        let chatter = source.keep_on(channels(), self.pause);
        self.wait_flowing();
        fault(&mut self);
        self.sides.iter().for_each(|side| side.gateway.wait_ready());
        wait_numsub(&self.redis, &channels(), 2);
        self.wait_flowing();
        let mut source = chatter.stop();
        // A gateway that cannot keep up may have lost them once more until now.
        wait_numsub(&self.redis, &channels(), 2);
        // The subscriptions are back, so this round reaches every client.
        assert_eq!(source.round(&channels()), [2; ROOMS]);
        for (side, before) in self.sides.iter().zip(before) {
            side.wait_all_have(&source);
            side.assert_true_numbers();
            // Messages flow on: the allocator of a process that does nothing gives nothing back.
            side.gateway.wait_back_while(before, || drop(source.round(&channels())));
        }
        self
    }

    /// Every client gets a new message.
    #[track_caller]
    fn wait_flowing(&self) {
        for member in self.sides.iter().flat_map(|side| &side.members) {
            let before = member.look(|ledger| ledger.delivered);
            until("messages flow", || member.look(|ledger| ledger.delivered > before));
        }
    }

    /// How many gaps the clients of one side were told of.
    fn gaps(&self, side: usize) -> u64 {
        self.sides[side].gaps()
    }
}

impl Side {
    fn gaps(&self) -> u64 {
        self.members.iter().map(|member| member.look(|ledger| ledger.gaps)).sum()
    }

    #[track_caller]
    fn wait_all_have(&self, source: &Source) {
        for (member, channel) in self.members.iter().zip(channels()) {
            let last = source.next(&channel) - 1;
            until(&format!("{channel} has got {last}"), || {
                member.look(|ledger| ledger.last(&channel) == Some(last))
            });
        }
    }

    /// The metrics equal what the clients saw.
    #[track_caller]
    fn assert_true_numbers(&self) {
        let ledgers: Vec<Ledger> = self.members.iter().map(Member::ledger).collect();
        ledgers.iter().for_each(Ledger::assert_kept);
        let delivered: u64 = ledgers.iter().map(|ledger| ledger.delivered).sum();
        // A client may have a message before its delivery is counted.
        let deliveries = "sockway_deliveries_total{endpoint=\"rooms\"}";
        self.gateway.wait_metric(deliveries, delivered as f64);
        let metrics = self.gateway.metrics();
        metrics.assert_balanced();
        assert_eq!(metrics.sum("sockway_missed_messages_total"), 0.0);
        assert_eq!(metrics.sum("sockway_gaps_total"), self.gaps() as f64);
        assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), ROOMS as f64);
        assert_eq!(
            metrics
                .get("sockway_sessions_opened_total{endpoint=\"rooms\",transport=\"websocket\"}"),
            ROOMS as f64
        );
        for state in ["wanted", "subscribed"] {
            let series = format!("sockway_channels{{state=\"{state}\"}}");
            assert_eq!(metrics.get(&series), ROOMS as f64);
        }
    }
}

#[test]
fn nothing_happens_and_nothing_is_lost() {
    let scene = Scene::new().weather(|scene| scene.wait_flowing());
    assert_eq!((scene.gaps(0), scene.gaps(1)), (0, 0));
    let all = scene.sides.iter().flat_map(|side| &side.members);
    assert_eq!(all.map(|member| member.look(|ledger| ledger.missing)).sum::<u64>(), 0);
}

#[test]
fn redis_killed_twice_while_messages_flow() {
    let scene = Scene::new().weather(|scene| {
        for _ in 0..2 {
            scene.redis.kill();
            scene.sides.iter().for_each(|side| side.gateway.wait_unready());
            scene.redis.begin();
            scene.sides.iter().for_each(|side| side.gateway.wait_ready());
        }
    });
    assert_eq!([scene.gaps(0), scene.gaps(1)], [2 * ROOMS as u64; 2], "every session, each time");
}

#[test]
fn redis_hung_while_messages_flow() {
    let scene = Scene::probing().weather(|scene| {
        scene.redis.hang();
        scene.sides.iter().for_each(|side| side.gateway.wait_unready());
        scene.redis.go_on();
    });
    assert!(scene.gaps(0) <= ROOMS as u64);
}

#[test]
fn one_gateway_in_a_black_hole_while_the_other_misses_nothing() {
    let scene = Scene::probing().weather(|scene| {
        let side = &scene.sides[0];
        side.proxy.set(Weather::BlackHole);
        side.gateway.wait_unready();
        side.gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
        side.proxy.set(Weather::Pass);
    });
    assert_eq!([scene.gaps(0), scene.gaps(1)], [ROOMS as u64, 0]);
}

#[test]
fn links_cut_at_random_places_while_messages_flow() {
    Scene::new().weather(|scene| {
        for _ in 0..10 {
            let side = &scene.sides[scene.rng.usize(..2)];
            side.proxy.cut_after(scene.rng.i64(0..20_000));
            until("the cut has happened", || side.proxy.has_cut());
        }
    });
}

#[test]
fn a_link_that_redis_half_closes_is_told_as_a_gap() {
    let scene = Scene::new().weather(|scene| {
        let side = &scene.sides[0];
        side.proxy.half_close();
        side.gateway.wait_metric("sockway_redis_reconnects_total", 1.0);
    });
    assert_eq!([scene.gaps(0), scene.gaps(1)], [ROOMS as u64, 0]);
}

#[test]
fn pubsub_connections_killed_again_and_again_are_each_made_once_again() {
    const KILLS: u64 = 10;
    let scene = Scene::new().weather(|scene| {
        for kill in 1..=KILLS {
            scene.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            for side in &scene.sides {
                side.gateway.wait_metric("sockway_redis_reconnects_total", kill as f64);
            }
            wait_numsub(&scene.redis, &channels(), 2);
        }
    });
    for side in &scene.sides {
        let reconnects = side.gateway.metrics().get("sockway_redis_reconnects_total");
        assert_eq!(reconnects, KILLS as f64, "reconnects = kills");
        assert_eq!(side.gaps(), KILLS * ROOMS as u64);
    }
}

#[test]
fn a_gateway_that_stood_still_tells_what_redis_threw_away() {
    let mut scene = Scene::new();
    scene.ballast = 2_000;
    // So much that a gateway which stands still is soon too far behind, and no more than a busy one can take.
    scene.pause = Duration::from_millis(5);
    scene.redis.command(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0"]);
    let scene = scene.weather(|scene| {
        let gateway = &scene.sides[0].gateway;
        within(3 * LIMIT, "it is this one that Redis has cut off", || {
            gateway.process.signal(Signal::STOP);
            scene.redis.wait_numsub("room:0", 1);
            gateway.process.signal(Signal::CONT);
            scene.redis.wait_numsub("room:0", 2);
            (gateway.metrics().get("sockway_redis_reconnects_total") >= 1.0).then_some(())
        });
    });
    // On a busy machine the other gateway may fall behind as well: what holds is one gap a room and loss.
    for side in &scene.sides {
        let losses = side.gateway.metrics().get("sockway_redis_reconnects_total");
        assert_eq!(side.gaps() as f64, losses * ROOMS as f64);
    }
    assert!(scene.gaps(0) > 0);
}

#[test]
fn clients_that_come_and_go_while_links_break_leave_nothing_behind() {
    let mut scene = Scene::new();
    let crowd = Crowd::gather();
    let address = scene.sides[0].gateway.address;
    let mut inside = 0;
    for turn in 0..10 {
        let plans = (0..20).map(|_| {
            let room = format!("{}", 100 + scene.rng.usize(..10));
            let ledger = Ledger::of(&[(&format!("room:{room}"), None)]);
            Plan::new(address, Request::upgrade(&format!("/ws/rooms/{room}")), ledger)
        });
        let results = crowd.come(plans.collect());
        if turn % 3 == 1 {
            scene.sides[0].proxy.cut();
        }
        inside += results.iter().filter(|result| result.is_ok()).count();
        for member in results.into_iter().flatten() {
            let manners = [Manner::Leaves, Manner::Resets];
            member.behave(manners[scene.rng.usize(..2)]);
            member.wait_ended().assert_kept();
        }
        scene.sides[0].gateway.wait_ready();
    }
    assert!(inside > 100, "only {inside} of 200 came in");
    let others: Vec<String> = (100..110).map(|room| format!("room:{room}")).collect();
    wait_numsub(&scene.redis, &others, 0);
    wait_numsub(&scene.redis, &channels(), 2);
    let metrics = scene.sides[0].gateway.metrics();
    metrics.assert_balanced();
    assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), ROOMS as f64);
}

#[test]
fn a_revocation_reaches_the_sessions_of_every_gateway() {
    let redis = Redis::start();
    let gateways = [(); 2].map(|()| {
        let endpoint = crate::rig::settings::notifications();
        Gateway::start(&Settings::new(&redis).endpoint(endpoint))
    });
    let mut clients = [0, 1].map(|at| {
        ["ann", "bob"].map(|user| {
            let gateway: &Gateway = &gateways[at];
            gateway.open_as(user, "/ws/me")
        })
    });
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    assert_eq!(redis.publish("user:bob", "still here"), 2);
    for [ann, bob] in &mut clients {
        ann.assert_closed(3000, "revoked");
        assert_eq!(bob.text(), "still here");
    }
}
