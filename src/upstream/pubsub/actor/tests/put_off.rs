//! Errors to SUBSCRIBE that pass, and errors to UNSUBSCRIBE: the link stays.

use super::*;

fn busy() -> LinkError {
    LinkError::Answered("BUSY Redis is busy running a script.".to_owned())
}

/// Asserts that there was one link all the time.
fn assert_kept(rig: &Rig) {
    assert_eq!(rig.redis.lock().dials.len(), 1);
    assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_join_while_redis_is_busy_is_asked_for_again_until_it_is_confirmed_and_the_link_stays() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().subscribe_fails = Some(busy());
    rig.join(0, "b").await;
    let asked = rig.redis.subscribes().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(rig.shards[0].subscription_events.try_recv().is_err(), "nobody is told anything yet");
    let asked = rig.redis.subscribes().len() - asked;
    assert!((10..=20).contains(&asked), "{asked} times in four seconds");
    rig.redis.lock().subscribe_fails = None;
    let confirmed = SubscriptionEvent::Confirmed(name("b"));
    assert_eq!(rig.subscription_events(0).await.events, [confirmed]);
    assert_kept(&rig);
    assert_eq!(rig.ring(0), [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_channel_that_stays_put_off_keeps_nobody_else_waiting() {
    let mut rig = Rig::start(|server| server.busy.extend(["p:77".to_owned()]));
    rig.until(|status| status.link == LinkStatus::Up).await;
    let began = Instant::now();
    rig.request(0, (0..1_000).map(|n| Request::Subscribe(name(&n.to_string()))).collect()).await;
    rig.until(|status| status.subscribed == 999).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    rig.joined(1, "late").await;
    rig.redis.lock().busy.clear();
    rig.until(|status| status.subscribed == 1_001).await;
    assert_kept(&rig);
}

#[tokio::test(start_paused = true)]
async fn many_channels_that_are_put_off_are_few_commands_and_soon_back() {
    let mut rig = Rig::up().await;
    rig.redis.lock().subscribe_fails = Some(busy());
    rig.request(0, (0..50_000).map(|n| Request::Subscribe(name(&n.to_string()))).collect()).await;
    rig.settle().await;
    let before = rig.redis.subscribes().len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let commands = rig.redis.subscribes().len() - before;
    assert!(commands <= 10 * 4 * 64, "{commands} commands in ten seconds");
    rig.redis.lock().subscribe_fails = None;
    let began = Instant::now();
    rig.until(|status| status.subscribed == 50_000).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_kept(&rig);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_put_off_and_left_is_not_asked_for_any_more() {
    let mut rig = Rig::up().await;
    rig.redis.lock().subscribe_fails = Some(busy());
    rig.join(0, "a").await;
    rig.settle().await;
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = rig.redis.subscribes().len();
    rig.redis.lock().subscribe_fails = None;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.redis.subscribes().len(), asked);
    rig.joined(0, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_is_busy_when_we_come_is_not_ready_with_the_reason_until_it_is_not() {
    let mut rig = Rig::start(|server| server.subscribe_fails = Some(busy()));
    rig.until(|status| matches!(&status.link, LinkStatus::Down(why) if why.contains("BUSY"))).await;
    rig.redis.lock().subscribe_fails = None;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_kept(&rig);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_cannot_be_given_back_stays_subscribed_and_is_given_back_later() {
    let refused = LinkError::ChannelRefused("NOPERM no right to 'unsubscribe'".to_owned());
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().unsubscribe_fails = Some(refused);
    rig.leave(0, "a").await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_kept(&rig);
    let asked = rig.redis.count(&Command::Unsubscribe(vec!["p:a".into()]));
    assert!((3..=6).contains(&asked), "{asked} times in forty seconds");
    assert_eq!(rig.status.borrow().subscribed, 1);
    rig.joined(1, "a").await;
    rig.redis.publish("p:a", "still here");
    rig.settle().await;
    assert_eq!(rig.ring(1), ["a=still here"]);
    rig.leave(1, "a").await;
    rig.redis.lock().unsubscribe_fails = None;
    rig.until(|status| status.subscribed == 0).await;
    assert!(!rig.redis.lock().subscribed.contains("p:a"));
    assert_kept(&rig);
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_a_channel_is_given_back_in_vain_is_confirmed() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().unsubscribe_fails = Some(busy());
    rig.redis.lock().latency = Duration::from_millis(100);
    rig.leave(0, "a").await;
    let asked = || rig.redis.count(&Command::Unsubscribe(vec!["p:a".into()])) > 0;
    while !asked() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    rig.joined(1, "a").await;
    rig.redis.publish("p:a", "1");
    rig.settle().await;
    assert_eq!(rig.ring(1), ["a=1"]);
    assert_kept(&rig);
}
