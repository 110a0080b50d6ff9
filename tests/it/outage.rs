//! Redis absent, killed, hung, unreachable, cut off: sessions stay, clients are told of every
//! hole, readiness is true, and the gateway recovers by itself.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    proxy::{Proxy, Weather},
    settings::rooms,
    wait::{until, within},
};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};

const GAP: &str = r#"{"type":"gap"}"#;

fn settings(url: &str) -> Settings {
    Settings::with_url(url).endpoint(rooms())
}

/// … that notices silence soon. Only where silence is tested: on a busy machine it may be the test itself
/// that stands still for so long.
fn probing(url: &str) -> Settings {
    settings(url).set("redis.probe_interval", "500ms").set("redis.probe_timeout", "400ms")
}

/// The gap notice must be next; then the channel delivers again.
#[track_caller]
fn assert_told_and_delivering(redis: &Redis, client: &mut Client, room: &str) {
    assert_eq!(client.text(), GAP);
    redis.wait_numsub(&format!("room:{room}"), 1);
    redis.publish(&format!("room:{room}"), "after");
    assert_eq!(client.text(), "after");
}

#[test]
fn a_gateway_that_starts_before_redis_refuses_with_503_and_is_ready_soon_after() {
    let mut redis = Redis::absent();
    let gateway = Gateway::start_unready(&settings(&redis.url()));
    let request = Request::upgrade("/ws/rooms/1");
    gateway.send(&request).assert_refused(503, "redis_unavailable");
    let readiness = gateway.admin("/readyz");
    assert_eq!(readiness.status, 503);
    assert!(!readiness.json()["reasons"].as_array().expect("reasons").is_empty());
    assert_eq!(gateway.admin("/livez").status, 200);
    assert_eq!(gateway.metrics().get("sockway_redis_up"), 0.0);

    redis.begin();
    within(Duration::from_secs(5), "ready soon after Redis appears", || {
        gateway.is_ready().then_some(())
    });
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "hello");
    assert_eq!(client.text(), "hello");
    gateway.wait_metric("sockway_redis_up", 1.0);
}

#[test]
fn a_killed_redis_is_told_as_a_gap_and_the_session_stays() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis.url()));
    let mut clients =
        ["1", "2", "3"].map(|room| (gateway.open(&format!("/ws/rooms/{room}")), room));
    redis.publish("room:1", "before");
    assert_eq!(clients[0].0.text(), "before");
    for _ in 0..2 {
        redis.kill();
        gateway.wait_unready();
        gateway.wait_metric("sockway_redis_up", 0.0);
        let request = Request::upgrade("/ws/rooms/4");
        gateway.send(&request).assert_refused(503, "redis_unavailable");
        redis.begin();
        gateway.wait_ready();
        for (client, room) in &mut clients {
            assert_told_and_delivering(&redis, client, room);
        }
    }
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("sockway_redis_reconnects_total"), 2.0);
    assert!(metrics.get("sockway_redis_outage_seconds_total") > 0.0);
    assert_eq!(metrics.get("sockway_gaps_total{reason=\"redis_reconnected\"}"), 6.0);
    assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), 3.0);
}

/// Waits until the subscribing connection itself is lost, not only a probe.
#[track_caller]
fn wait_lost(gateway: &Gateway) {
    gateway.wait_unready();
    gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
}

#[test]
fn a_hung_redis_is_noticed_by_the_probe_and_told_when_it_goes_on() {
    let redis = Redis::start();
    let gateway = Gateway::start(&probing(&redis.url()));
    let mut client = gateway.open("/ws/rooms/1");
    redis.hang();
    wait_lost(&gateway);
    redis.go_on();
    gateway.wait_ready();
    assert_told_and_delivering(&redis, &mut client, "1");
}

#[test]
fn a_black_hole_on_the_way_to_redis_is_noticed_and_told_when_it_ends() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let gateway = Gateway::start(&probing(&proxy.url()));
    let mut client = gateway.open("/ws/rooms/1");
    proxy.set(Weather::BlackHole);
    wait_lost(&gateway);
    proxy.set(Weather::Pass);
    gateway.wait_ready();
    assert_told_and_delivering(&redis, &mut client, "1");
}

#[test]
fn what_is_published_into_a_short_black_hole_arrives_late_or_is_told_as_a_gap() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let gateway = Gateway::start(&probing(&proxy.url()));
    let mut client = gateway.open("/ws/rooms/1");
    for number in 0..5 {
        let message = format!("message {number}");
        proxy.set(Weather::BlackHole);
        redis.publish("room:1", &message);
        gateway.wait_unready();
        proxy.set(Weather::Pass);
        gateway.wait_ready();
        let text = client.text();
        assert!(text == message || text == GAP, "{text}");
        redis.wait_numsub("room:1", 1);
        redis.publish("room:1", "after");
        assert_eq!(client.text(), "after");
    }
}

#[test]
fn a_slow_way_to_redis_is_no_outage() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    let settings = settings(&proxy.url()).set("redis.probe_interval", "1500ms");
    let gateway = Gateway::start(&settings.set("redis.probe_timeout", "1400ms"));
    let mut client = gateway.open("/ws/rooms/1");
    proxy.set(Weather::Delay(Duration::from_millis(150)));
    let verified = || gateway.metrics().get("sockway_redis_last_verified_timestamp_seconds");
    for _ in 0..4 {
        let before = verified();
        until("one more probe has come back", || verified() > before);
    }
    redis.publish("room:1", "late but there");
    assert_eq!(client.text(), "late but there");
    assert_eq!(gateway.metrics().get("sockway_redis_reconnects_total"), 0.0);
    assert!(gateway.is_ready());
}

#[test]
fn bytes_that_come_in_drips_are_put_together() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    proxy.set(Weather::Drip);
    let gateway = Gateway::start(&Settings::with_url(&proxy.url()).endpoint(rooms()));
    let mut client = gateway.open("/ws/rooms/1");
    redis.publish("room:1", "drip, drip");
    assert_eq!(client.text(), "drip, drip");
}

#[test]
fn connections_that_redis_kills_are_told_as_a_gap_and_subscribed_once_again() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis.url()));
    let mut client = gateway.open("/ws/rooms/1");
    for _ in 0..3 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_told_and_delivering(&redis, &mut client, "1");
    }
    assert_eq!(gateway.metrics().get("sockway_redis_reconnects_total"), 3.0);
}

#[test]
fn dials_are_few_while_redis_is_away() {
    // A listener that accepts and disconnects at once provokes a tight loop.
    let nobody = Redis::absent();
    let proxy = Proxy::to(&nobody.address());
    let settings = Settings::with_url(&proxy.url())
        .set("redis.reconnect_min", "100ms")
        .set("redis.reconnect_max", "1s");
    let gateway = Gateway::start_unready(&settings.endpoint(rooms()));
    until("three tries", || proxy.dials() >= 3);
    let address: SocketAddr = gateway.admin;
    assert_eq!(Request::get("/livez").send(address).status, 200);
    let uptime = gateway.admin("/status").json()["uptime_seconds"].as_f64().expect("a number");
    // Two connections, at random from 50 ms on: a tight loop would have made thousands.
    let bound = 20.0 + 40.0 * uptime;
    assert!((proxy.dials() as f64) < bound, "{} dials in {uptime} s", proxy.dials());
}

#[test]
fn a_session_can_be_closed_at_a_gap_or_not_be_told_at_all() {
    let mut redis = Redis::start();
    let named = |name: &str, on_gap: &str| {
        let path = format!("/ws/{name}/{{room}}");
        let endpoint = crate::rig::Endpoint::new(name, &path, &["room:{path.room}"]);
        endpoint.open().set("on_gap", on_gap)
    };
    let settings = settings(&redis.url())
        .endpoint(named("close", "close"))
        .endpoint(named("ignore", "ignore"))
        .endpoint(named("own", "notice").set("gap_notice", "mind the gap"))
        .endpoint(named("json", "notice").set("format", "json"));
    let gateway = Gateway::start(&settings);
    let [mut close, mut ignore, mut own, mut json] =
        ["close", "ignore", "own", "json"].map(|name| gateway.open(&format!("/ws/{name}/1")));
    assert_eq!(json.json()["type"], "ready");
    redis.kill();
    gateway.wait_unready();
    redis.begin();
    gateway.wait_ready();
    redis.wait_numsub("room:1", 1);
    close.assert_closed(4009, "gap");
    assert_eq!(own.text(), "mind the gap");
    assert_eq!(
        json.json(),
        json!({"type": "gap", "channel": "room:1", "reason": "redis_reconnected", "missed": null})
    );
    redis.publish("room:1", "after");
    assert_eq!(ignore.text(), "after");
    assert_eq!(own.text(), "after");
    assert_eq!(json.json()["data"], "after");
    gateway.wait_metric("sockway_sessions_closed_total{endpoint=\"close\",reason=\"gap\"}", 1.0);
}

#[test]
fn what_is_published_once_the_notice_was_read_arrives_however_far_redis_is() {
    let redis = Redis::start();
    let proxy = Proxy::to(&redis.address());
    proxy.set(Weather::Delay(Duration::from_millis(5)));
    let gateway = Gateway::start(&settings(&proxy.url()));
    let mut client = gateway.open("/ws/rooms/1");
    for number in 0..20 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(client.text(), GAP);
        // The other side of the gateway: not a millisecond later.
        let fetched_since = format!("change {number}");
        redis.publish("room:1", &fetched_since);
        assert_eq!(client.text(), fetched_since);
    }
}

#[test]
fn a_raw_session_of_many_channels_is_told_once_for_each_loss() {
    let redis = Redis::start();
    let channels: Vec<_> = (0..9).map(|n| format!("news:{n}")).collect();
    let channels: Vec<_> = channels.iter().map(String::as_str).collect();
    let endpoint = crate::rig::Endpoint::new("news", "/ws/news", &channels).open();
    let many = crate::rig::Endpoint::new("many", "/ws/many/{room}", &["many:{path.room}"]).open();
    let gateway = Gateway::start(&settings(&redis.url()).endpoint(endpoint).endpoint(many));
    // So many others that these channels are spread over several commands.
    let _others: Vec<_> = (0..50).map(|n| gateway.open(&format!("/ws/many/{n}"))).collect();
    let mut client = gateway.open("/ws/news");
    for _ in 0..5 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(client.text(), GAP);
        redis.publish("news:0", "after");
        assert_eq!(client.text(), "after");
    }
}
