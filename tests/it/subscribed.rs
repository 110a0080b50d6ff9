//! 101 means subscribed: a message published after the upgrade is never missed.

use crate::rig::{Client, Gateway, Redis, Request, Settings, settings::rooms};
use std::thread;

const CONNECTIONS: usize = 10_000;
const WORKERS: usize = 16;

/// Connects, publishes as soon as the 101 has arrived, and must get that message. Even turns use a
/// new channel; odd turns one of a few that other clients join and leave all the time, so that
/// joins race with the leave, the linger and the unsubscribe of the session before.
fn connect_and_publish(redis: &Redis, gateway: &Gateway, worker: usize) {
    let mut backend = redis.connect();
    for turn in 0..CONNECTIONS / WORKERS {
        let room = match turn % 2 {
            0 => format!("fresh-{worker}-{turn}"),
            _ => format!("shared-{}", fastrand::u8(..8)),
        };
        let request = Request::upgrade(&format!("/ws/rooms/{room}"));
        let mut client = Client::open(gateway.address, &request);
        let message = format!("{worker} {turn}");
        let receivers = backend.publish(&format!("room:{room}"), message.as_bytes());
        assert_eq!(receivers, 1, "redis has the subscription of {room} in turn {turn}");
        while client.text() != message {} // others publish on shared rooms, too
    }
}

#[test]
fn ten_thousand_times_what_is_published_on_the_101_arrives() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("redis.linger", "2ms");
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (redis, gateway) = (&redis, &gateway);
            scope.spawn(move || connect_and_publish(redis, gateway, worker));
        }
    });
    let opened = gateway
        .metrics()
        .get("sockway_sessions_opened_total{endpoint=\"rooms\",transport=\"websocket\"}");
    assert_eq!(opened, CONNECTIONS as f64);
}

#[test]
fn what_sessions_want_is_what_redis_holds_and_it_ends_with_them() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let clients: Vec<_> = (0..60).map(|n| gateway.open(&format!("/ws/rooms/{}", n % 20))).collect();
    assert!((0..20).all(|room| redis.numsub(&format!("room:{room}")) == 1));
    gateway.wait_metric("sockway_channels{state=\"wanted\"}", 20.0);
    gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 20.0);
    drop(clients);
    (0..20).for_each(|room| redis.wait_numsub(&format!("room:{room}"), 0));
    gateway.wait_metric("sockway_channels{state=\"wanted\"}", 0.0);
    gateway.wait_metric("sockway_channels{state=\"subscribed\"}", 0.0);
    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 0.0);
}
