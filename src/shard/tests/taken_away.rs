//! A channel that Redis takes away while sessions have it.

use super::*;

fn refuse(rig: &Rig, channel: &str) {
    let channel = ChannelName::new(channel);
    rig.subscription_event(SubscriptionEvent::Rejected(channel, RejectedBy::Redis));
}

fn names(channels: &[&str]) -> Vec<ChannelName> {
    channels.iter().map(|&name| ChannelName::new(name)).collect()
}

/// A session in these channels, the first of which is new to the shard.
async fn open_in(rig: &mut Rig, channels: &[&str], confirmed: &str) -> Client {
    let shard = rig.shard.clone();
    let subscribe = shard.subscribe(names(channels).into());
    let confirm = async {
        rig.requested().await;
        rig.subscription_event(SubscriptionEvent::Confirmed(ChannelName::new(confirmed)));
    };
    let (subscription, ()) = tokio::join!(subscribe, confirm);
    Client::start(open(subscription.unwrap(), spec(endpoint(), identity())).await)
}

#[test]
fn its_sessions_are_closed_behind_what_they_have_and_others_stay() {
    run(async {
        let mut rig = Rig::new();
        let mut first = rig.connect(endpoint()).await;
        let mut second = rig.connect(endpoint()).await;
        let mut other = open_in(&mut rig, &["news"], "news").await;
        rig.publish("orders", "the last");
        settle().await;
        refuse(&rig, "orders");
        for client in [&mut first, &mut second] {
            assert_eq!(client.next().await, text("the last"));
            assert_eq!(client.next().await, close(CloseReason::ChannelRefused));
        }
        rig.publish("news", "still here");
        assert_eq!(other.next().await, text("still here"));
        assert_eq!(rig.metrics().closed[CloseReason::ChannelRefused.index()].load(), 0);
        drop((first, second));
        assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())]);
        assert_eq!(rig.metrics().closed[CloseReason::ChannelRefused.index()].load(), 2);
    });
}

#[test]
fn a_session_that_opens_just_then_is_closed_too() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        refuse(&rig, "orders");
        settle().await;
        let mut late = Client::start(open(subscription, spec(endpoint(), identity())).await);
        assert_eq!(late.next().await, close(CloseReason::ChannelRefused));
    });
}

#[test]
fn once_it_is_back_nobody_waits_for_the_end_of_a_gap_that_it_never_told() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        rig.event(Event::Lost([orders()].into()));
        settle().await;
        refuse(&rig, "orders");
        assert_eq!(client.next().await, close(CloseReason::ChannelRefused));
        // The client has not answered yet, so that the channel is still wanted.
        rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
        settle().await;
        let mut later = open_in(&mut rig, &["orders", "news"], "news").await;
        let news = ChannelName::new("news");
        rig.event(Event::Lost([news.clone()].into()));
        rig.event(Event::Gap(news, GapReason::RedisReconnected));
        assert_eq!(later.next().await, text(r#"{"type":"gap"}"#));
    });
}
