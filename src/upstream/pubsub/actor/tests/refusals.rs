//! Channels that Redis refuses, ours and those of sessions.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_bad_channel_among_many_refuses_only_itself() {
    let bad = ["p:77", "p:500"].map(str::to_owned);
    let mut rig = Rig::start(|server| server.forbidden.extend(bad));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.request(0, (0..1_000).map(|n| Request::Subscribe(name(&n.to_string()))).collect()).await;
    let (mut confirmed, mut refused) = (0, Vec::new());
    while confirmed + refused.len() < 1_000 {
        for subscription_event in rig.subscription_events(0).await.events {
            match subscription_event {
                SubscriptionEvent::Confirmed(_) => confirmed += 1,
                SubscriptionEvent::Rejected(channel, RejectedBy::Redis) => {
                    refused.push(channel.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    refused.sort();
    assert_eq!(refused, ["500", "77"]);
    assert!(rig.redis.subscribes().len() < 50, "found by halving");
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn the_halves_of_a_refused_batch_are_asked_side_by_side() {
    let bad = ["p:3", "p:500", "p:900"].map(str::to_owned);
    let mut rig = Rig::start(|server| server.forbidden.extend(bad));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.redis.lock().latency = Duration::from_millis(100);
    let began = Instant::now();
    let joins = (0..1_000).map(|n| Request::Subscribe(name(&n.to_string())));
    rig.request(0, joins.collect()).await;
    rig.until(|status| status.subscribed == 997).await;
    // Ten halvings of a thousand, and the batch itself.
    assert!(began.elapsed() < Duration::from_millis(1_150), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refused_channel_is_subscribed_once_redis_allows_it() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:a".to_owned()]));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.join(0, "a").await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::Redis);
    assert_eq!(rig.subscription_events(0).await.events, std::slice::from_ref(&refused));
    let asked = rig.redis.subscribes().len();
    rig.join(1, "a").await;
    assert_eq!(rig.subscription_events(1).await.events, [refused]);
    assert_eq!(rig.redis.subscribes().len(), asked, "a refusal is remembered");
    rig.redis.lock().forbidden.clear();
    assert_eq!(rig.subscription_events(0).await.events, [SubscriptionEvent::Confirmed(name("a"))]);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_refused_again_and_again_delays_nobody() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:bad".to_owned()]));
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.join(0, "bad").await;
    rig.subscription_events(0).await;
    for round in 0..5 {
        rig.leave(0, "bad").await;
        // Long enough for the refusal to be forgotten.
        tokio::time::sleep(Duration::from_secs(21)).await;
        let others = (0..50).map(|n| Request::Subscribe(name(&format!("{round}-{n}"))));
        let all = [Request::Subscribe(name("bad"))].into_iter().chain(others);
        let before = rig.redis.subscribes().len();
        rig.request(0, all.collect()).await;
        rig.settle().await;
        let asked = rig.redis.subscribes().split_off(before);
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [50, 1], "round {round}");
        while rig.shards[0].subscription_events.try_recv().is_ok() {}
    }
}

#[tokio::test(start_paused = true)]
async fn many_channels_that_are_refused_again_delay_nobody_who_asks_right_behind_them() {
    const BAD: usize = 200;
    let bad = |n: usize| format!("bad{n}");
    let mut rig =
        Rig::start(|server| server.forbidden.extend((0..BAD).map(|n| format!("p:{}", bad(n)))));
    rig.until(|status| status.link == LinkStatus::Up).await;
    let all =
        |request: fn(ChannelName) -> Request| (0..BAD).map(|n| request(name(&bad(n)))).collect();
    rig.request(0, all(Request::Subscribe)).await;
    rig.request(0, all(Request::Unsubscribe)).await;
    // Long enough for the refusals to be forgotten.
    tokio::time::sleep(Duration::from_secs(21)).await;
    rig.redis.lock().latency = Duration::from_secs(1);
    rig.request(0, all(Request::Subscribe)).await;
    rig.join(1, "good").await;
    rig.settle().await;
    let asked = rig.redis.subscribes();
    assert_eq!(asked.last().unwrap(), &["p:good"]);
    let is_alone = |batch: &Vec<String>| batch.len() == 1 && batch[0].starts_with("p:bad");
    assert!(asked.iter().rev().skip(1).take(32).all(is_alone), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_refused_after_an_outage_is_never_told_as_a_gap_since_its_sessions_are_closed() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().forbidden.extend(["p:a".to_owned()]);
    rig.redis.drop_link();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.ring(0), ["lost a"]);
    rig.redis.lock().forbidden.clear();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(rig.ring(0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_probe_channel_is_not_ready_with_the_reason_until_it_is_allowed() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:probe".to_owned()]));
    rig.settle().await;
    rig.joined(0, "a").await;
    rig.until(|status| matches!(&status.link, LinkStatus::Down(why) if why.contains("NOPERM")))
        .await;
    rig.redis.lock().forbidden.clear();
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_control_channel_is_told_and_asked_for_again() {
    let mut rig = Rig::start(|server| server.forbidden.extend(["p:control".to_owned()]));
    let status = rig.until(|status| status.link == LinkStatus::Up).await;
    assert!(status.control_refused.is_some());
    rig.joined(0, "a").await;
    rig.redis.lock().forbidden.clear();
    rig.until(|status| status.control_refused.is_none()).await;
    rig.redis.publish("p:control", r#"{"jti":"a"}"#);
    rig.settle().await;
    assert_eq!(rig.revoked(0), [Revoke::Token("a".into())]);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn channels_of_our_own_that_redis_lets_go_of_are_asked_for_again_at_once() {
    for (channel, gaps) in [("p:probe", 0), ("p:control", 1)] {
        let mut rig = Rig::up().await;
        rig.settle().await;
        let verified = rig.status.borrow().verified;
        rig.redis.lock().subscribed.remove(channel);
        rig.redis.send(Sent::Released(channel.to_owned()));
        rig.settle().await;
        assert!(rig.redis.lock().subscribed.contains(channel));
        assert_eq!(rig.metrics.upstream.revocation_gaps.get(), gaps, "{channel}");
        rig.until(|status| status.verified > verified).await;
        assert_eq!(rig.status.borrow().link, LinkStatus::Up);
        assert_eq!(rig.redis.lock().dials.len(), 1);
    }
}
