//! The connection that publishes comes and goes on its own.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failing_publish_unproves_the_link_but_keeps_the_subscriber() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    let noperm = LinkError::Answered("NOPERM publish".to_owned());
    rig.redis.lock().publish_fails = Some(noperm);
    let reason = rig.until_down().await;
    assert_eq!(reason, "cannot probe: PUBLISH failed: Redis answers: NOPERM publish");
    rig.redis.publish("p:a", "still here");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=still here"]);
    rig.redis.lock().publish_fails = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_closed_for_idleness_is_dialled_when_needed_and_nobody_is_told() {
    let rig = Rig::up().await;
    let mut status = rig.status.clone();
    let outage = rig.metrics.upstream.outage_seconds.get();
    for _ in 0..5 {
        rig.redis.close_publisher();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let link = status.borrow_and_update().link.clone();
        assert_eq!(link, LinkStatus::Up);
    }
    assert!(rig.redis.lock().publisher_targets.len() >= 5);
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_meets_a_closed_connection_is_tried_on_a_fresh_one_in_the_same_round() {
    let mut rig = Rig::up().await;
    rig.redis.lock().publish_fails_once = Some(LinkError::Lost("closed".to_owned()));
    let (verified, outage) =
        (rig.status.borrow().verified, rig.metrics.upstream.outage_seconds.get());
    let up = rig.until(|status| status.verified != verified).await;
    assert_eq!(up.link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().publisher_targets.len(), 2);
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}
