//! Patterns: they go the ways of channels, with a command of their own, and are bounded.

use super::*;
use crate::bus::RejectedBy;

fn matched(pattern: &str, channel: &str, payload: &str) -> Sent {
    Sent::Matched(pattern.to_owned(), channel.to_owned(), payload.to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_a_pattern_matches_goes_to_the_patterns_shards_alone_and_nothing_that_is_our_own() {
    let mut rig = Rig::up().await;
    rig.joined(0, "chat:*").await;
    rig.joined(1, "chat:7").await;
    let asked = Command::SubscribePatterns(vec!["p:chat:*".into()]);
    assert_eq!(rig.redis.count(&asked), 1);
    rig.redis.send(matched("p:chat:*", "p:chat:7", "1"));
    rig.redis.publish("p:chat:7", "2");
    for own in ["p:probe", "p:control", "p:sockway:x", "p:__keyspace@0__:x", "elsewhere"] {
        rig.redis.send(matched("p:chat:*", own, "0"));
    }
    rig.settle().await;
    assert_eq!(rig.ring(0), ["chat:7=1"]);
    assert_eq!(rig.ring(1), ["chat:7=2"]);
    assert_eq!(rig.metrics.upstream.patterns.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_lingers_and_is_given_back_and_comes_back_with_a_gap_after_a_lost_link() {
    let mut rig = Rig::up().await;
    rig.joined(0, "chat:*").await;
    rig.redis.drop_link();
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.settle().await;
    assert_eq!(rig.ring(0), ["lost chat:*", "gap chat:* redis_reconnected"]);
    rig.leave(0, "chat:*").await;
    tokio::time::sleep(settings().linger + Duration::from_millis(100)).await;
    let given_back = Command::UnsubscribePatterns(vec!["p:chat:*".into()]);
    assert_eq!(rig.redis.count(&given_back), 1);
    assert_eq!(rig.metrics.upstream.patterns.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_pattern_too_many_is_rejected_until_another_has_gone() {
    let max_patterns = 2.try_into().unwrap();
    let mut rig = Rig::start_with(config::Redis { max_patterns, ..settings() }, |_| {});
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.joined(0, "a:*").await;
    rig.joined(0, "b:*").await;
    rig.joined(1, "a:*").await;
    rig.join(1, "c:*").await;
    let rejected = SubscriptionEvent::Rejected(name("c:*"), RejectedBy::PatternLimit);
    assert_eq!(rig.subscription_events(1).await.events, [rejected]);
    rig.leave(1, "c:*").await;
    rig.leave(0, "b:*").await;
    tokio::time::sleep(settings().linger + Duration::from_millis(100)).await;
    rig.joined(1, "c:*").await;
}
