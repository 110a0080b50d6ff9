//! Links that are lost or cannot be made, and what shards are told of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_a_link_a_join_is_refused_at_once_and_stays_wanted() {
    let down = LinkError::Unreachable("Connection refused".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(down));
    rig.join(0, "a").await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_events(0).await.events, [refused]);
    rig.redis.lock().down = None;
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(rig.ring(0), [] as [&str; 0], "it was never subscribed, so nothing was missed");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_gap_stands_at_the_confirmation_before_the_first_new_message() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.publish("p:a", "before");
    // Redis sends this one right behind the acknowledgement.
    rig.redis.lock().publish_on_subscribe = Some(("p:a".to_owned(), "early".to_owned()));
    rig.redis.lock().latency = Duration::from_millis(100);
    rig.redis.drop_link();
    assert_eq!(rig.subscription_events(0).await.events, [lost(&["a"])]);
    assert_eq!(rig.ring(0), ["a=before", "lost a"], "no gap is told when the link is lost");
    rig.until_asked_again("p:a").await;
    assert_eq!(rig.ring(0), [] as [&str; 0], "no gap is told before Redis has confirmed");
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    rig.redis.publish("p:a", "after");
    // Behind the answers to the probe.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rig.ring(0), ["gap a redis_reconnected", "a=early", "a=after"]);
    assert_eq!(rig.ring(1), ["lost a"]);
    assert_eq!(rig.subscription_events(1).await.events, [lost(&["a"])]);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 1);
    assert_eq!(rig.metrics.upstream.resubscribe_seconds.get_sample_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_when_the_link_broke_is_refused_and_subscribed_later_without_a_gap() {
    let mut rig = Rig::up().await;
    rig.redis.lock().mute = true;
    rig.join(0, "a").await;
    rig.settle().await;
    rig.redis.lock().mute = false;
    rig.redis.drop_link();
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_events(0).await.events, [refused]);
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
    assert_eq!(rig.ring(0), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_link_lost_is_a_gap_of_revocations_that_is_counted_and_may_close_everybody() {
    for (on_revocation_gap, revoked) in
        [(OnRevocationGap::Warn, vec![]), (OnRevocationGap::Close, vec![Revoke::Everyone])]
    {
        let mut rig = Rig::start_with(config::Redis { on_revocation_gap, ..settings() }, |_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 0);
        rig.redis.send(Sent::Ended(LinkError::Lost("reset".to_owned())));
        rig.until_down().await;
        rig.until(|status| status.link == LinkStatus::Up).await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
        assert_eq!(rig.revoked(1), revoked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_refuses_us_is_dialled_at_most_ten_times_in_ten_seconds() {
    let loading = LinkError::Answered("LOADING".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(loading));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((4..=10).contains(&rig.redis.lock().dials.len()));
    assert_eq!(rig.until_down().await, "Redis answers: LOADING");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
}

#[tokio::test(start_paused = true)]
async fn the_running_outage_is_counted() {
    let down = LinkError::Unreachable("Connection refused".to_owned());
    let mut rig = Rig::start(|server| server.down = Some(down));
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let counted = rig.metrics.upstream.outage_seconds.get();
    assert!((9.0..=10.6).contains(&counted), "{counted}");
    rig.redis.lock().down = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
    let at_end = rig.metrics.upstream.outage_seconds.get();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), at_end);
}

#[tokio::test(start_paused = true)]
async fn a_control_message_too_large_to_be_read_is_a_gap_of_revocations() {
    for (on_revocation_gap, revoked) in
        [(OnRevocationGap::Warn, vec![]), (OnRevocationGap::Close, vec![Revoke::Everyone])]
    {
        let mut rig = Rig::start_with(config::Redis { on_revocation_gap, ..settings() }, |_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        rig.redis.send(Sent::Oversized("p:control".to_owned(), 101));
        rig.settle().await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
        assert_eq!(rig.revoked(1), revoked);
        assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_redis_closes_with_nothing_on_it_is_no_outage_unless_the_next_dial_fails() {
    let settings = config::Redis { probe_channel: None, control_channel: None, ..settings() };
    let mut rig = Rig::start_with(settings, |_| {});
    let verified = rig.until(|status| status.link == LinkStatus::Up).await.verified;
    let outage = rig.metrics.upstream.outage_seconds.get();
    rig.redis.drop_link();
    rig.until(|status| status.link != LinkStatus::Up || status.verified > verified).await;
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
    assert_eq!(rig.redis.lock().dials.len(), 2);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
    rig.redis.lock().away.push(Target::Configured);
    rig.redis.drop_link();
    assert_eq!(rig.until_down().await, "Connection refused");
}

#[tokio::test(start_paused = true)]
async fn a_control_message_that_means_nothing_is_a_gap_of_revocations_and_one_that_orders_nothing_is_none()
 {
    for (on_revocation_gap, revoked) in
        [(OnRevocationGap::Warn, vec![]), (OnRevocationGap::Close, vec![Revoke::Everyone])]
    {
        let mut rig = Rig::start_with(config::Redis { on_revocation_gap, ..settings() }, |_| {});
        rig.until(|status| status.link == LinkStatus::Up).await;
        rig.redis.publish("p:control", r#"{"deploy":"v7"}"#);
        rig.redis.publish("p:control", r#"{"disconnect":{"user":["42"]}}"#);
        rig.settle().await;
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
        assert_eq!(rig.revoked(1), revoked);
    }
}

/// Messages arrive for so many seconds.
async fn trickle(rig: &mut Rig, seconds: u32) {
    for _ in 0..seconds * 4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        rig.redis.publish("p:a", "x");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_on_which_messages_and_canaries_arrive_but_no_answers_is_given_up_within_ten_seconds()
 {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().mute = true;
    let began = Instant::now();
    let mut status = rig.status.clone();
    tokio::select! {
        () = trickle(&mut rig, 30) => panic!("up"),
        down = status.wait_for(|status| status.link != LinkStatus::Up) => drop(down.unwrap()),
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let why = rig.until_down().await;
    assert!(why.contains("does not answer on this connection"), "{why}");
    rig.redis.lock().mute = false;
    rig.until(|status| status.link == LinkStatus::Up).await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_is_too_old_is_an_outage_though_the_link_stands() {
    let only_pings = config::Redis { probe_channel: None, ..settings() };
    let mut rig = Rig::start_with(only_pings, |_| {});
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.joined(0, "a").await;
    let before = rig.metrics.upstream.outage_seconds.get();
    rig.redis.lock().mute = true;
    trickle(&mut rig, 14).await;
    assert_eq!(rig.status.borrow().link, LinkStatus::Up, "the link stands");
    assert_eq!(rig.metrics.upstream.up.get(), 0);
    let counted = rig.metrics.upstream.outage_seconds.get() - before;
    assert!((3.0..=5.5).contains(&counted), "{counted}");
    rig.redis.lock().mute = false;
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.metrics.upstream.up.get(), 1);
}
