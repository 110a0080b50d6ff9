//! When the subscription is proven alive, and when it is given up as dead.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_proof_comes_right_after_connecting() {
    let began = Instant::now();
    let rig = Rig::up().await;
    assert!(began.elapsed() < Duration::from_millis(50));
    assert_eq!(rig.redis.subscribes(), [["p:probe"], ["p:control"]]);
    assert_eq!(rig.metrics.upstream.up.get(), 1);
    assert!(rig.metrics.upstream.last_verified.get() > 0.0);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_probe_channel_ping_alone_is_the_proof() {
    let settings = config::Redis { probe_channel: None, control_channel: None, ..settings() };
    let mut rig = Rig::start_with(settings, |_| {});
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().commands, [Command::Role, Command::Ping]);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_hangs_is_noticed_within_interval_and_timeout() {
    let mut rig = Rig::up().await;
    {
        let mut server = rig.redis.lock();
        server.mute = true;
        // The canary does not tell it either.
        server.deaf = true;
    }
    let hung = Instant::now();
    let reason = rig.until_down().await;
    assert!(hung.elapsed() < Duration::from_millis(7_200), "{:?}", hung.elapsed());
    assert_eq!(reason, "no answer within 2s");
    assert_eq!(rig.metrics.upstream.up.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_delays_answers_is_not_taken_for_death() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().mute = true;
    // A canary stands in the same queue.
    rig.redis.lock().deaf = true;
    for _ in 0..150 {
        rig.redis.publish("p:a", "flood");
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.ring(0);
    }
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_trickle_in_prove_the_connection_before_they_make_a_message() {
    let rig = Rig::up().await;
    rig.redis.lock().mute = true;
    rig.redis.lock().deaf = true;
    for _ in 0..150 {
        rig.redis.lock().trickled += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_death_in_the_end_even_under_a_flood() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().mute = true;
    rig.redis.lock().deaf = true;
    let flood = async {
        loop {
            rig.redis.publish("p:a", "flood");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut status = rig.status.clone();
    tokio::select! {
        () = flood => {}
        down = timeout(PATIENCE, status.wait_for(|status| status.link != LinkStatus::Up)) => {
            down.expect("in time").unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_silently_dead_is_found_by_the_canary() {
    let mut rig = Rig::up().await;
    rig.redis.lock().deaf = true;
    let reason = rig.until_down().await;
    assert!(reason.contains("does not come back"), "{reason}");
    rig.redis.lock().deaf = false;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_complaint_in_the_answer_to_ping_proves_the_connection_all_the_same() {
    let misconf = LinkError::Answered("MISCONF Redis is configured to save …".to_owned());
    let mut rig = Rig::start(|server| server.warning = Some(misconf));
    rig.until(|status| status.link == LinkStatus::Up).await;
    let verified = rig.status.borrow().verified;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert!(rig.status.borrow().verified > verified);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_sleeps_between_its_probes() {
    let rig = Rig::up().await;
    rig.settle().await;
    let before = rig.redis.lock().commands.len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let commands = rig.redis.lock().commands.len() - before;
    // A PING and a ROLE each.
    assert!((22..=26).contains(&commands), "{commands} commands in a minute");
}
