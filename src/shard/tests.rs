//! Rules of a shard, shown with a test in upstream's place and a socket pair as the client.

mod client;
mod event_stream;
mod expiry;
mod gaps;
mod heartbeat;
mod presence;
mod publishing;
mod queue_memory;
mod refresh;
mod reload;
mod revocation;
mod taken_away;

use super::{
    rig::{
        Client, Frame, Rig, bulky, close, endpoint, identity, json, message, open, orders, run,
        settle, spec, text,
    },
    session::Session,
    task::SessionTask,
};
use crate::{
    bus::{Event, RejectedBy, Request, SubscriptionEvent, SubscriptionEvents},
    channel::ChannelName,
    endpoint::{Endpoint, Format, OnGap, OnSlow},
    reason::{CloseReason, GapReason, MissedReason, Refusal},
};
use std::{num::NonZeroUsize, time::Duration};
use tokio::time::timeout;

#[test]
fn a_subscription_is_given_only_when_every_channel_is_confirmed() {
    run(async {
        let mut rig = Rig::new();
        let shard = rig.shard.clone();
        let mut subscribe =
            Box::pin(shard.subscribe(vec![orders(), ChannelName::new("news")].into()));
        assert!(futures_util::poll!(&mut subscribe).is_pending());
        assert_eq!(
            rig.requested().await,
            [Request::Subscribe(orders()), Request::Subscribe(ChannelName::new("news"))]
        );
        rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
        assert!(
            timeout(Duration::from_secs(1), &mut subscribe).await.is_err(),
            "one is not enough"
        );
        rig.subscription_event(SubscriptionEvent::Confirmed(ChannelName::new("news")));
        assert!(subscribe.await.is_ok());
    });
}

#[test]
fn a_refused_channel_refuses_the_subscription_and_is_given_up() {
    run(async {
        for (by, refusal) in [
            (RejectedBy::Redis, Refusal::ChannelRefused),
            (RejectedBy::LinkDown, Refusal::RedisUnavailable),
        ] {
            let mut rig = Rig::new();
            let shard = rig.shard.clone();
            let mut subscribe = Box::pin(shard.subscribe(vec![orders()].into()));
            assert!(futures_util::poll!(&mut subscribe).is_pending());
            rig.requested().await;
            rig.subscription_event(SubscriptionEvent::Rejected(orders(), by));
            assert_eq!(subscribe.await.err(), Some(refusal));
            assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())]);
        }
    });
}

#[test]
fn a_confirmation_of_an_earlier_subscription_is_ignored() {
    run(async {
        let mut rig = Rig::new();
        let shard = rig.shard.clone();
        let mut first = Box::pin(shard.subscribe(vec![orders()].into()));
        assert!(futures_util::poll!(&mut first).is_pending());
        rig.requested().await;
        drop(first);
        rig.requested().await;
        let mut second = Box::pin(shard.subscribe(vec![orders()].into()));
        assert!(futures_util::poll!(&mut second).is_pending());
        rig.requested().await;
        let stale = SubscriptionEvents {
            read_up_to: 1,
            events: vec![SubscriptionEvent::Confirmed(orders())],
        };
        rig.upstream.subscription_events[0].send(stale).unwrap();
        assert!(timeout(Duration::from_secs(1), &mut second).await.is_err(), "it was stale");
        rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
        assert!(second.await.is_ok());
    });
}

#[test]
fn while_the_link_is_lost_nobody_gets_a_channel_that_was_subscribed() {
    run(async {
        let mut rig = Rig::new();
        let _client = rig.connect(endpoint()).await;
        rig.subscription_event(SubscriptionEvent::Lost([ChannelName::new("orders")].into()));
        tokio::task::yield_now().await;
        let refused = rig.shard.subscribe(vec![orders()].into()).await;
        assert_eq!(refused.err(), Some(Refusal::RedisUnavailable));
        rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
        tokio::task::yield_now().await;
        assert!(rig.shard.subscribe(vec![orders()].into()).await.is_ok());
    });
}

#[test]
fn the_last_session_to_end_gives_its_channel_up_and_no_earlier_one_does() {
    run(async {
        let mut rig = Rig::new();
        let first = rig.connect(endpoint()).await;
        let second = rig.connect(endpoint()).await;
        drop(first);
        assert!(timeout(Duration::from_secs(1), rig.requested()).await.is_err());
        drop(second);
        assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())]);
        assert_eq!(rig.metrics().closed[CloseReason::PeerGone.index()].load(), 2);
    });
}

#[test]
fn messages_published_between_open_and_start_are_delivered() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        let pending = open(subscription, spec(endpoint(), identity())).await;
        rig.publish("orders", "early");
        tokio::task::yield_now().await;
        let mut client = Client::start(pending);
        assert_eq!(client.next().await, text("early"));
    });
}

#[test]
fn a_channel_reaches_its_sessions_in_order_and_nobody_else() {
    run(async {
        let mut rig = Rig::new();
        let mut one = rig.connect(endpoint()).await;
        let mut two = rig.connect(endpoint()).await;
        for payload in ["1", "2", "3"] {
            rig.publish("news", "not for orders");
            rig.publish("orders", payload);
        }
        for client in [&mut one, &mut two] {
            for payload in ["1", "2", "3"] {
                assert_eq!(client.next().await, text(payload));
            }
        }
        assert_eq!(rig.metrics().deliveries.load(), 6);
    });
}

#[test]
fn a_json_session_is_told_ready_message_and_gap() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(Endpoint { format: Format::Json, ..endpoint() }).await;
        let Frame::Text(ready) = client.next().await else { panic!("no ready") };
        assert!(ready.starts_with(r#"{"type":"ready","session":""#), "{ready}");
        let end = r#"","channels":["orders"],"heartbeat_ms":25000}"#;
        assert!(ready.ends_with(end), "{ready}");
        rig.publish("orders", "1");
        rig.event(Event::Gap(orders(), GapReason::RedisReconnected));
        rig.publish("orders", "2");
        assert_eq!(client.next().await, text(r#"{"type":"message","channel":"orders","data":1}"#));
        assert_eq!(
            client.next().await,
            text(r#"{"type":"gap","channel":"orders","reason":"redis_reconnected","missed":null}"#)
        );
        assert_eq!(client.next().await, text(r#"{"type":"message","channel":"orders","data":2}"#));
    });
}

#[test]
fn on_gap_decides_between_notice_close_and_nothing() {
    run(async {
        for (on_gap, first) in [
            (OnGap::Notice, text(r#"{"type":"gap"}"#)),
            (OnGap::Close, close(CloseReason::Gap)),
            (OnGap::Ignore, text("after")),
        ] {
            let mut rig = Rig::new();
            let mut client = rig.connect(Endpoint { on_gap, ..endpoint() }).await;
            rig.event(Event::Gap(orders(), GapReason::RedisReconnected));
            rig.publish("orders", "after");
            assert_eq!(client.next().await, first);
            let gaps = rig.shard.metrics().gaps[GapReason::RedisReconnected.index()].load();
            assert_eq!(gaps, 1, "a gap is counted whatever the client is told");
        }
    });
}

#[test]
fn a_shard_that_fell_behind_its_ring_tells_every_session() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        for _ in 0..20_000 {
            rig.event(Event::Message(message("news", "")));
        }
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
    });
}

#[test]
fn a_slow_session_is_closed_with_4008_and_its_neighbour_misses_nothing() {
    run(async {
        let mut rig = Rig::new();
        let queue_messages = NonZeroUsize::new(4).unwrap();
        let bounded = Endpoint { queue_messages, queue_bytes: NonZeroUsize::MAX, ..endpoint() };
        let mut slow = rig.connect(bounded.clone()).await;
        let mut quick = rig.connect(bounded).await;
        for _ in 0..10 {
            rig.publish("orders", &bulky());
            assert_eq!(quick.next().await, text(&bulky()));
        }
        let mut delivered = 0;
        let end = loop {
            match slow.next().await {
                Frame::Text(_) => delivered += 1,
                end => break end,
            }
        };
        assert_eq!(end, close(CloseReason::SlowConsumer));
        let metrics = rig.metrics();
        assert_eq!(metrics.deliveries.load(), 10 + delivered);
        let missed: u64 = metrics.missed.iter().map(crate::metrics::LocalCounter::load).sum();
        assert_eq!(delivered + missed, 10, "what was not delivered is counted as missed");
    });
}

#[test]
fn skip_drops_the_oldest_and_says_where() {
    run(async {
        let mut rig = Rig::new();
        let queue_messages = NonZeroUsize::new(2).unwrap();
        let mut client = rig
            .connect(Endpoint {
                queue_messages,
                queue_bytes: NonZeroUsize::MAX,
                on_slow: OnSlow::Skip,
                ..endpoint()
            })
            .await;
        // Two fill the queue behind the partly written one.
        rig.publish("orders", &bulky());
        settle().await;
        for payload in ["1", "2", "3", "4", "5"] {
            rig.publish("orders", payload);
        }
        tokio::task::yield_now().await;
        assert_eq!(client.next().await, text(&bulky()));
        assert_eq!(client.next().await, text(r#"{"type":"gap"}"#));
        assert_eq!(client.next().await, text("4"));
        assert_eq!(client.next().await, text("5"));
        assert_eq!(rig.metrics().missed[MissedReason::Skipped.index()].load(), 3);
    });
}

#[test]
fn a_client_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        for _ in 0..3 {
            assert_eq!(client.next().await, Frame::Ping);
            client.send(0x8A, b"").await;
        }
        assert_eq!(client.next().await, Frame::Ping);
        let asked = tokio::time::Instant::now();
        assert_eq!(client.next().await, close(CloseReason::PingTimeout));
        let waited = asked.elapsed();
        assert!(
            waited >= Duration::from_secs(20) && waited < Duration::from_secs(21),
            "{waited:?}"
        );
    });
}

#[test]
fn a_client_that_takes_nothing_is_dropped_after_the_write_timeout() {
    run(async {
        let mut rig = Rig::new();
        let _stuck = rig.connect(endpoint()).await;
        rig.publish("orders", &bulky());
        let published = tokio::time::Instant::now();
        assert_eq!(rig.requested().await, [Request::Unsubscribe(orders())]);
        let waited = published.elapsed();
        assert!(
            waited >= Duration::from_secs(10) && waited < Duration::from_secs(16),
            "{waited:?}"
        );
        assert_eq!(rig.metrics().closed[CloseReason::WriteTimeout.index()].load(), 1);
        assert_eq!(rig.metrics().missed[MissedReason::SessionEnded.index()].load(), 1);
    });
}

#[test]
fn a_session_ends_when_its_token_does() {
    run(async {
        let mut rig = Rig::new();
        let life = Duration::from_secs(10);
        let expires = Some(std::time::SystemTime::now() + life);
        let opened = tokio::time::Instant::now();
        let mut client =
            rig.connect_as(endpoint(), crate::identity::Identity { expires, ..identity() }).await;
        assert_eq!(client.next().await, close(CloseReason::TokenExpired));
        let lived = opened.elapsed();
        // The wall clock goes on while the test's own stands still.
        assert!(lived > life / 2 && lived < life + Duration::from_secs(1), "{lived:?}");
    });
}

#[test]
fn sessions_whose_tokens_end_together_end_apart_and_never_late() {
    run(async {
        let mut rig = Rig::new();
        let life = Duration::from_secs(3600);
        let expires = Some(std::time::SystemTime::now() + life);
        // No pings, so that the close frame is the first thing that comes.
        let quiet = || Endpoint { ping_interval: 2 * life, ..endpoint() };
        let opened = tokio::time::Instant::now();
        let mut ends = Vec::new();
        for _ in 0..50 {
            let identity = crate::identity::Identity { expires, ..identity() };
            let mut client = rig.connect_as(quiet(), identity).await;
            ends.push(tokio::task::spawn_local(async move {
                assert_eq!(client.next().await, close(CloseReason::TokenExpired));
                opened.elapsed()
            }));
        }
        // Twelve seconds, and a minute in which they may have come: the wall clock goes on meanwhile.
        let mut early = [0; 72];
        for end in ends {
            let left = (life + Duration::from_secs(1)).checked_sub(end.await.unwrap());
            early[usize::try_from(left.expect("not late").as_secs()).unwrap()] += 1;
        }
        assert!(early.iter().all(|&ended| ended < 20), "not spread: {early:?}");
    });
}

#[test]
fn a_drain_spreads_its_closes_and_flushes_what_is_queued_first() {
    run(async {
        let mut rig = Rig::new();
        let spread = Duration::from_secs(5);
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(rig.connect(endpoint()).await);
        }
        rig.publish("orders", "last words");
        rig.shard.registry.drain(spread);
        let began = tokio::time::Instant::now();
        let mut ends = Vec::new();
        for mut client in clients {
            ends.push(tokio::task::spawn_local(async move {
                assert_eq!(client.next().await, text("last words"));
                assert_eq!(client.next().await, close(CloseReason::Restarting));
                began.elapsed()
            }));
        }
        let mut seconds = [0; 6];
        for end in ends {
            seconds[usize::try_from(end.await.unwrap().as_secs()).unwrap()] += 1;
        }
        assert!(seconds[..5].iter().all(|&closed| closed < 30), "not spread: {seconds:?}");
        let drained = rig.shard.registry.drained();
        assert!(timeout(Duration::from_secs(1), drained).await.is_ok());
    });
}

#[test]
fn a_panic_in_a_spawned_task_ends_nothing_else() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        rig.shard.spawn(async { panic!("on purpose") });
        tokio::task::yield_now().await;
        rig.publish("orders", "alive");
        assert_eq!(client.next().await, text("alive"));
    });
}

#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "it makes the session's next read panic")]
fn a_session_that_panics_is_counted_let_go_and_hurts_no_other() {
    run(async {
        let mut rig = Rig::new();
        let mut victim = rig.connect(endpoint()).await;
        let mut other = rig.connect(endpoint()).await;
        let in_use = rig.shard.registry.context.scratch.borrow_mut();
        victim.send(0x89, b"ping").await;
        assert_eq!(victim.next().await, Frame::End);
        drop(in_use);
        assert_eq!(rig.metrics().closed[CloseReason::InternalError.index()].load(), 1);
        assert_eq!(rig.metrics().open(), 1);
        rig.publish("orders", "alive");
        assert_eq!(other.next().await, text("alive"));
        other.send(0x89, b"still read").await;
        assert_eq!(other.next().await, Frame::Pong(b"still read".to_vec()));
    });
}

/// One of each for every connection. With its two counts a session takes 320 bytes, which is a size of the
/// allocator; the next one is 384.
#[test]
fn a_session_and_its_task_are_no_larger_than_they_were() {
    assert!(size_of::<Session>() <= 304, "{}", size_of::<Session>());
    assert!(size_of::<SessionTask<()>>() <= 32, "{}", size_of::<SessionTask<()>>());
}
