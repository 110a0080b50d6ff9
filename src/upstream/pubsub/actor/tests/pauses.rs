//! What is read while a shard stands still.

use super::*;

/// Publishes so many numbered messages at once.
fn flood(rig: &Rig, count: usize) {
    (0..count).for_each(|n| rig.redis.publish("p:a", &n.to_string()));
}

#[tokio::test(start_paused = true)]
async fn while_a_shard_stands_still_for_a_moment_nothing_more_is_read_and_nothing_is_lost() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    flood(&rig, 150_000);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut next = 0;
    while next < 150_000 {
        for word in rig.ring(0) {
            assert_eq!(word, format!("a={next}"));
            next += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(rig.metrics.upstream.read_pauses.get() >= 1);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_stands_still_for_long_loses_the_oldest_and_the_link_stays() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    for _ in 0..60 {
        flood(&rig, 2_500);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let words = rig.ring(0);
    assert!(words[0].ends_with(" events were dropped"), "{}", words[0]);
    assert!(words[1..].iter().all(|word| word.starts_with("a=")));
    assert_eq!(words.len(), 1 + 16_384);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.redis.lock().dials.len(), 1);
}
