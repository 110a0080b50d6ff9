//! Two thousand clients that send their request a byte at a time: cut off in time, and cheap until
//! then.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings, drip::Drippers, settings::rooms, vitals::Vitals,
};
use std::{thread, time::Duration};

const COUNT: usize = 2_000;

/// The memory that one may take.
const MOST_BYTES: u64 = 16 * 1024;

/// They need some seconds to come, and none may be cut off before it is measured what they cost.
const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn two_thousand_that_drip_cost_16_kib_each_and_are_cut_off_at_the_timeout() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.handshake_timeout", format!("{}s", TIMEOUT.as_secs()))
        .set("server.max_pending_handshakes", 2 * COUNT as i64);
    let gateway = Gateway::start(&settings.endpoint(rooms()));
    let mut kept = gateway.open("/ws/rooms/1");
    let before = gateway.vitals();
    // Twice: what the allocator keeps of the first is room for the second.
    for storm in 1..=2 {
        let mut drippers = Drippers::come(gateway.address, COUNT);
        for _ in 0..2 {
            // Not a wait for something: how slowly these clients send.
            thread::sleep(Duration::from_secs(1));
            drippers.drip();
        }
        let held = gateway.vitals();
        assert!(held.descriptors >= before.descriptors + COUNT, "{held:?}");
        assert!(drippers.wait_still(), "cut off before its time");
        let each = held.memory_bytes.saturating_sub(before.memory_bytes) / COUNT as u64;
        assert!(each <= MOST_BYTES, "{each} bytes each");
        // Other clients are accepted meanwhile, and open sessions are not affected.
        Client::open(gateway.address, &Request::upgrade("/ws/rooms/1")).bye();
        redis.publish("room:1", "still here");
        assert_eq!(kept.text(), "still here");
        let took = drippers.until_all_are("408");
        assert!(took < TIMEOUT + Duration::from_secs(7), "cut off after {took:?}");
        let refused = "sockway_handshakes_refused_total{reason=\"request_timeout\"}";
        gateway.wait_metric(refused, (storm * COUNT) as f64);
    }
    let memory_bytes = before.memory_bytes + COUNT as u64 * MOST_BYTES;
    gateway.wait_back_to(Vitals { memory_bytes, ..before });
}
