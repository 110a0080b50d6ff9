//! What an ended token ends, and what an ended session leaves behind.

use crate::{
    identity::Identity,
    reason::CloseReason,
    shard::rig::{Frame, Rig, close, endpoint, identity, run},
};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

fn expiring(life: Duration) -> Identity {
    Identity { expires: Some(SystemTime::now() + life), ..identity() }
}

#[test]
fn ended_sessions_leave_nothing_in_the_wheel_however_long_their_tokens_last() {
    run(async {
        let mut rig = Rig::new();
        let mut last = None;
        for _ in 0..1_000 {
            last = Some(rig.connect_as(endpoint(), expiring(Duration::from_secs(86_400))).await);
        }
        let places = || rig.shard.registry.context.wheel.borrow().places();
        assert!(places() <= 2_000, "{} places", places());
        sleep(Duration::from_secs(30)).await;
        assert!(places() <= 3, "{} places for one session", places());
        drop(last);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(places(), 0);
    });
}

#[test]
fn a_session_whose_token_a_step_of_the_wall_clock_ends_is_closed_at_its_next_ping() {
    run(async {
        let mut rig = Rig::new();
        let life = Duration::from_secs(3_600);
        let mut client = rig.connect_as(endpoint(), expiring(life)).await;
        assert_eq!(client.next().await, Frame::Ping);
        client.send(0x8A, b"").await;
        rig.shard.registry.context.clock_step.set(life);
        let stepped = Instant::now();
        assert_eq!(client.next().await, close(CloseReason::TokenExpired));
        assert!(stepped.elapsed() < Duration::from_secs(27), "{:?}", stepped.elapsed());
    });
}
