//! What shards want, and what reaches them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_message_reaches_the_shards_that_want_its_channel_and_no_other() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "1");
    rig.redis.publish("p:b", "nobody");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["a=1"]);
    assert_eq!(rig.ring(1), [] as [&str; 0]);
    assert_eq!(rig.metrics.upstream.messages.get(), 1);
    assert_eq!(rig.metrics.upstream.message_bytes.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_messages_of_channels_that_sessions_want_count_as_received() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.joined(0, "lingers").await;
    rig.request(0, vec![Request::Unsubscribe(name("lingers"))]).await;
    rig.settle().await;
    rig.redis.publish("p:lingers", "nobody is there");
    rig.redis.send(Sent::Oversized("p:lingers".to_owned(), 101));
    rig.redis.publish("p:control", r#"{"disconnect":{"user":42}}"#);
    rig.redis.send(Sent::Oversized("p:control".to_owned(), 101));
    rig.redis.publish("p:a", "1");
    rig.redis.send(Sent::Oversized("p:a".to_owned(), 101));
    rig.settle().await;
    assert_eq!(rig.metrics.upstream.messages.get(), 2);
    assert_eq!(rig.metrics.upstream.message_bytes.get(), 102);
}

#[tokio::test(start_paused = true)]
async fn the_prefix_is_added_outside_and_invisible_inside() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    assert_eq!(rig.redis.subscribes().last().unwrap(), &["p:a"]);
    rig.redis.lock().subscribed.insert("a".to_owned());
    rig.redis.publish("a", "without the prefix");
    rig.settle().await;
    assert_eq!(rig.ring(0), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn control_messages_go_to_every_shard_and_canaries_to_none() {
    let mut rig = Rig::up().await;
    rig.redis.publish("p:control", r#"{"disconnect":{"user":42}}"#);
    rig.redis.publish("p:probe", "somebody else's canary");
    rig.settle().await;
    for shard in [0, 1] {
        assert_eq!(rig.revoked(shard), [Revoke::User("42".into())]);
        assert_eq!(rig.ring(shard), [] as [&str; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_a_gap_of_its_channel_alone() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.send(Sent::Oversized("p:a".to_owned(), 101));
    rig.redis.publish("p:a", "fits");
    rig.settle().await;
    assert_eq!(rig.ring(0), ["gap a payload_too_large", "a=fits"]);
}

#[tokio::test(start_paused = true)]
async fn joins_that_come_together_go_out_together() {
    let mut rig = Rig::up().await;
    let joins = |from: u32| (from..from + 1_500).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins(0).collect()).await;
    rig.request(1, joins(0).collect()).await;
    rig.until(|status| status.subscribed == 1_500).await;
    let sizes: Vec<_> = rig.redis.subscribes().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1_000, 500]);
}

#[tokio::test(start_paused = true)]
async fn batches_are_in_flight_together() {
    let mut rig = Rig::up().await;
    rig.redis.lock().latency = Duration::from_millis(100);
    let began = Instant::now();
    let joins = (0..10_000).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins.collect()).await;
    rig.until(|status| status.subscribed == 10_000).await;
    assert!(began.elapsed() < Duration::from_millis(110), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn subscription_events_say_how_far_the_shard_was_read() {
    let mut rig = Rig::up().await;
    rig.join(0, "a").await;
    rig.leave(0, "x").await;
    let subscription_events = rig.subscription_events(0).await;
    assert_eq!(subscription_events.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(subscription_events.read_up_to, rig.sequence);
    rig.join(1, "a").await;
    assert_eq!(rig.subscription_events(1).await.read_up_to, rig.sequence);
}

#[tokio::test(start_paused = true)]
async fn the_last_leave_unsubscribes_after_the_linger_and_a_rejoin_within_it_does_not() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    rig.joined(0, "a").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(rig.redis.lock().subscribed.contains("p:a"));
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(rig.redis.lock().subscribed.contains("p:a"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!rig.redis.lock().subscribed.contains("p:a"));
    assert_eq!(rig.status.borrow().subscribed, 0);
    assert_eq!(rig.metrics.upstream.channels_subscribed.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn joins_without_end_do_not_starve_leaves() {
    let mut rig = Rig::up().await;
    rig.joined(0, "gone").await;
    rig.leave(0, "gone").await;
    for n in 0..2_000 {
        rig.join(1, &n.to_string()).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!rig.redis.lock().subscribed.contains("p:gone"));
}
