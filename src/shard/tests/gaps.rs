//! Gaps of a lost link: one notice for a raw session, one a channel for a json session.

use super::*;
use crate::reason::GapReason;
use std::sync::Arc;

const RECONNECTED: GapReason = GapReason::RedisReconnected;

fn nine() -> Vec<ChannelName> {
    (0..9).map(|n| ChannelName::new(format!("news:{n}"))).collect()
}

/// A session in nine channels.
async fn in_nine(rig: &mut Rig, format: Format) -> Client {
    let shard = rig.shard.clone();
    let subscribe = shard.subscribe(nine().into());
    let confirm = async {
        rig.requested().await;
        nine().into_iter().for_each(|channel| {
            rig.subscription_event(SubscriptionEvent::Confirmed(channel));
        });
    };
    let (subscription, ()) = tokio::join!(subscribe, confirm);
    let endpoint = Endpoint { format, ..endpoint() };
    Client::start(open(subscription.unwrap(), spec(endpoint, identity())).await)
}

fn lose_all(rig: &Rig) {
    rig.event(Event::Lost(Arc::from(nine())));
}

fn back(rig: &Rig, channels: std::ops::Range<usize>) {
    for channel in &nine()[channels] {
        rig.event(Event::Gap(channel.clone(), RECONNECTED));
    }
}

#[test]
fn a_raw_session_is_told_once_for_a_lost_link_when_the_last_of_its_channels_is_back() {
    run(async {
        let mut rig = Rig::new();
        let mut client = in_nine(&mut rig, Format::Raw).await;
        lose_all(&rig);
        back(&rig, 0..4);
        rig.publish("news:0", "of one that is back");
        settle().await;
        back(&rig, 4..8);
        rig.publish("news:4", "of another");
        settle().await;
        back(&rig, 8..9);
        rig.publish("news:8", "of the last");
        for expected in ["of one that is back", "of another", r#"{"type":"gap"}"#, "of the last"] {
            assert_eq!(client.next().await, text(expected));
        }
        let gaps = rig.shard.metrics().gaps[RECONNECTED.index()].load();
        assert_eq!(gaps, 1);
    });
}

#[test]
fn a_link_that_is_lost_again_on_the_way_back_is_told_together() {
    run(async {
        let mut rig = Rig::new();
        let mut client = in_nine(&mut rig, Format::Raw).await;
        lose_all(&rig);
        back(&rig, 0..8);
        // The ninth was not back yet, so it is not lost once more.
        rig.event(Event::Lost(Arc::from(&nine()[0..8])));
        back(&rig, 1..9);
        back(&rig, 0..1);
        rig.publish("news:0", "after");
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
        assert_eq!(client.next().await, text("after"));
    });
}

#[test]
fn a_json_session_is_told_for_each_channel_when_it_is_back() {
    run(async {
        let mut rig = Rig::new();
        let mut client = in_nine(&mut rig, Format::Json).await;
        client.next().await;
        lose_all(&rig);
        for n in 0..9 {
            back(&rig, n..n + 1);
            let Frame::Text(gap) = client.next().await else { panic!("no text") };
            assert!(gap.contains(&format!(r#""channel":"news:{n}""#)), "{gap}");
        }
    });
}

#[test]
fn a_message_that_is_too_large_is_told_although_other_channels_are_still_away() {
    run(async {
        let mut rig = Rig::new();
        let mut client = in_nine(&mut rig, Format::Raw).await;
        lose_all(&rig);
        back(&rig, 0..1);
        rig.event(Event::Gap(nine()[0].clone(), GapReason::PayloadTooLarge));
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
    });
}

#[test]
fn a_ring_that_overran_leaves_no_session_waiting_for_a_notice() {
    run(async {
        let mut rig = Rig::new();
        let mut client = in_nine(&mut rig, Format::Raw).await;
        lose_all(&rig);
        settle().await;
        // The notices that would have come are among what the ring drops.
        for _ in 0..20_000 {
            rig.event(Event::Message(message("nobody's", "")));
        }
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
        rig.event(Event::Lost(Arc::from(&nine()[3..4])));
        back(&rig, 3..4);
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
    });
}

#[test]
fn other_tasks_have_their_turn_while_all_sessions_are_told_that_the_ring_overran() {
    run(async {
        let mut rig = Rig::new();
        let pending = rig.open_many(5_000).await;
        settle().await;
        for _ in 0..20_000 {
            rig.event(Event::Message(message("nobody's", "")));
        }
        let told = || rig.shard.metrics().gaps[GapReason::ShardLagged.index()].load();
        let mut partly = 0;
        while told() < 5_000 {
            partly += u32::from(told() > 0);
            tokio::task::yield_now().await;
        }
        assert!(partly > 1, "{partly} turns for others");
        drop(pending);
    });
}

#[test]
fn a_session_is_not_told_a_gap_that_was_in_the_ring_before_it_opened() {
    run(async {
        let mut rig = Rig::new();
        let mut early = rig.connect(endpoint()).await;
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        rig.event(Event::Gap(orders(), RECONNECTED));
        let mut late = Client::start(open(subscription, spec(endpoint(), identity())).await);
        rig.publish("orders", "1");
        assert_eq!(late.next().await, text("1"), "not before");
        assert_eq!(early.next().await, text(r#"{"type":"gap"}"#));
        rig.event(Event::Gap(orders(), RECONNECTED));
        assert_eq!(late.next().await, text(r#"{"type":"gap"}"#), "what comes later is told");
    });
}

#[test]
fn a_session_that_opens_behind_a_ring_that_overran_is_not_told_of_it() {
    run(async {
        let mut rig = Rig::new();
        let mut early = rig.connect(endpoint()).await;
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        for _ in 0..20_000 {
            rig.event(Event::Message(message("nobody's", "")));
        }
        let mut late = Client::start(open(subscription, spec(endpoint(), identity())).await);
        rig.publish("orders", "1");
        assert_eq!(late.next().await, text("1"));
        assert_eq!(early.next().await, text(r#"{"type":"gap"}"#));
    });
}

#[test]
fn a_message_that_is_too_large_counts_as_missed_by_every_session_of_its_channel() {
    run(async {
        for on_gap in [OnGap::Notice, OnGap::Close, OnGap::Ignore] {
            let mut rig = Rig::new();
            let _clients = [
                rig.connect(Endpoint { on_gap, ..endpoint() }).await,
                rig.connect(Endpoint { on_gap, ..endpoint() }).await,
            ];
            rig.event(Event::Gap(orders(), GapReason::PayloadTooLarge));
            rig.event(Event::Gap(orders(), RECONNECTED));
            settle().await;
            let missed = rig.metrics().missed[MissedReason::PayloadTooLarge.index()].load();
            assert_eq!(missed, 2, "{on_gap:?}");
        }
    });
}
