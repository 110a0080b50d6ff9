//! The link to Redis under stress: five thousand channels interrupted half way, refusals of every
//! kind, a high latency, and a flood. No channel is lost, Redis is not hammered, and a live link is
//! never declared dead.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    crowd::{Crowd, Plan},
    oracle::{Ledger, Source, wait_numsub},
    proxy::{Proxy, Weather},
    settings::rooms,
    wait::{LIMIT, until, within},
};
use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

#[test]
fn links_cut_while_5000_channels_are_resubscribed_bring_every_one_back() {
    const CHANNELS: usize = 5_000;
    const EACH: usize = 32;
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let endpoint = Endpoint::new("many", "/ws/many", &["many:{query.names}"]).open();
    let gateway = Gateway::start(&Settings::with_url(&proxy.url()).endpoint(endpoint));
    let crowd = Crowd::gather();
    let names: Vec<String> = (0..CHANNELS).map(|n| n.to_string()).collect();
    let channels: Vec<String> = names.iter().map(|name| format!("many:{name}")).collect();
    let plans = names.chunks(EACH).map(|some| {
        let own: Vec<String> = some.iter().map(|name| format!("many:{name}")).collect();
        let own: Vec<_> = own.iter().map(|name| (name.as_str(), Some(0))).collect();
        let target = format!("/ws/many?names={}", some.join(","));
        Plan::new(gateway.address, Request::upgrade(&target), Ledger::of(&own))
    });
    let members = crowd.all_in(plans.collect());
    // Some 220 KB of acknowledgements come back: the cuts fall all over them.
    for bytes in (0..20).map(|n| n * n * 500 + n) {
        proxy.cut_after(bytes);
        proxy.cut();
        within(LIMIT, "the second cut has happened", || proxy.has_cut().then_some(()));
        wait_numsub(&redis, &channels, 1);
    }
    gateway.wait_metric("sockway_channels{state=\"subscribed\"}", CHANNELS as f64);
    gateway.wait_ready();
    let mut source = Source::new(&redis);
    assert_eq!(source.round(&channels), [1; CHANNELS]);
    for member in &members {
        until("each channel delivers", || {
            member.look(|ledger| ledger.delivered) >= EACH as u64
                || member.look(|ledger| ledger.delivered == (CHANNELS % EACH) as u64)
        });
        member.look(Ledger::assert_kept);
    }
    gateway.wait_metric("sockway_deliveries_total{endpoint=\"many\"}", CHANNELS as f64);
    gateway.metrics().assert_balanced();
}

#[test]
fn a_redis_that_is_full_is_told_as_the_reason_and_used_when_there_is_room() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    let gateway = Gateway::start_unready(&Settings::new(&redis).endpoint(rooms()));
    until("the reason is told", || {
        gateway.admin("/readyz").text().contains("max number of clients")
    });
    redis.command(&["CONFIG", "SET", "maxclients", "100"]);
    gateway.wait_ready();
}

#[test]
fn a_redis_that_loads_its_data_carries_messages_already() {
    let mut redis = Redis::start_with(&["--enable-debug-command", "local"]);
    redis.command(&["DEBUG", "POPULATE", "5000", "key", "100"]);
    redis.command(&["SAVE"]);
    redis.kill();
    // 5,000 keys of two milliseconds each; Redis serves its clients between every few.
    redis.begin_loading(&[
        "--key-load-delay",
        "2000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let proxy = Proxy::to(&redis.address());
    let gateway = Gateway::start(&Settings::with_url(&proxy.url()).endpoint(rooms()));
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "it still loads");
    assert_eq!(client.text(), "it still loads");
    assert!(proxy.dials() <= 4, "{} dials", proxy.dials());
    until("the warning is in the log", || gateway.process.stderr.text().contains("LOADING"));
}

/// The delay in each direction; probes keep their default timing.
fn with_delay(delay: Duration) -> (Redis, Proxy, Gateway) {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let settings = Settings::with_url(&proxy.url()).set("redis.probe_timeout", "2s");
    let settings = settings.set("redis.probe_interval", "3s").endpoint(rooms());
    let gateway = Gateway::start(&settings);
    proxy.set(Weather::Delay(delay));
    (redis, proxy, gateway)
}

#[test]
fn a_long_way_to_redis_is_no_outage() {
    thread::scope(|scope| {
        for delay in [50, 200, 500] {
            scope.spawn(move || {
                let (redis, _proxy, gateway) = with_delay(Duration::from_millis(delay));
                let verified =
                    || gateway.metrics().get("sockway_redis_last_verified_timestamp_seconds");
                let mut client = gateway.open("/ws/rooms/1");
                for number in 0..2 {
                    let before = verified();
                    until("one more probe has come back", || verified() > before);
                    redis.publish("room:1", number.to_string());
                    assert_eq!(client.text(), number.to_string());
                }
                assert_eq!(gateway.metrics().get("sockway_redis_reconnects_total"), 0.0);
                assert!(gateway.is_ready());
            });
        }
    });
}

#[test]
fn a_thin_line_to_redis_is_no_outage() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let gateway = Gateway::start(&Settings::with_url(&proxy.url()).endpoint(rooms()));
    proxy.set(Weather::Rate(20_000));
    let mut client = gateway.open("/ws/rooms/1");
    let long = "x".repeat(30_000);
    redis.publish("room:1", &long);
    redis.publish("room:1", "behind it");
    assert_eq!(client.text(), long);
    assert_eq!(client.text(), "behind it");
    assert_eq!(gateway.metrics().get("sockway_redis_reconnects_total"), 0.0);
}

/// Sets its flag when dropped, also by a panic: otherwise the scope would wait for its threads
/// forever.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Keeps some 5,000 messages in flight, at whatever rate this build can receive. With more, Redis
/// would disconnect the gateway. The last of each thousand is for a session, which tells how many
/// were received.
fn flood(redis: &Redis, received: impl Fn() -> f64, stop: &AtomicBool) {
    let (mut source, mut sent) = (Source::new(redis), 0.0);
    let mut round = vec!["room:flood".to_owned(); 999];
    round.push("pace".to_owned());
    while !stop.load(SeqCst) {
        if sent - received() < 5_000.0 {
            source.round(&round);
            sent += round.len() as f64;
        }
    }
}

#[test]
fn in_a_flood_for_nobody_here_handshakes_and_probes_go_through() {
    let redis = Redis::start();
    // The session has ended, but its channel lingers: the flood has no recipient.
    let settings = Settings::new(&redis).set("redis.linger", "60s").set("server.shards", 1);
    let pace = Endpoint::new("pace", "/ws/pace", &["pace"]).open();
    let gateway = Gateway::start(&settings.endpoint(rooms()).endpoint(pace));
    let _pace = gateway.open("/ws/pace");
    gateway.open("/ws/rooms/flood").bye();
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
    let paced = "sockway_deliveries_total{endpoint=\"pace\"}";
    let received = || 1_000.0 * gateway.metrics().get(paced);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| flood(&redis, received, &stop));
        let _stop = Stop(&stop);
        until("the flood has come", || received() > 10_000.0);
        for turn in 0..10 {
            let mut client = gateway.open(&format!("/ws/rooms/{turn}"));
            redis.publish(&format!("room:{turn}"), "through");
            assert_eq!(client.text(), "through");
        }
    });
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("sockway_redis_reconnects_total"), 0.0, "a false death");
    assert_eq!(metrics.get("sockway_gaps_total{reason=\"shard_lagged\"}"), 0.0);
}
