//! What queues may hold, each and together, and who is closed when they hold too much.

use super::*;

#[test]
fn what_does_not_fit_is_offered_to_the_socket_before_it_is_judged() {
    run(async {
        let mut rig = Rig::new();
        // Less than a round brings, which the socket takes at once.
        let queue_bytes = NonZeroUsize::new(20_000).unwrap();
        let mut client = rig.connect(Endpoint { queue_bytes, ..endpoint() }).await;
        let payload = "x".repeat(5_000);
        (0..20).for_each(|_| rig.publish("orders", &payload));
        for _ in 0..20 {
            assert_eq!(client.next().await, text(&payload));
        }
    });
}

/// What a stuck neighbour has half written is freed with its connection, before anybody else is closed.
#[test]
fn a_client_that_reads_is_not_closed_for_what_a_stuck_one_holds() {
    run(async {
        let mut rig = Rig::with_queue_memory(1_500_000);
        let _stuck = rig.connect(endpoint()).await;
        let mut reading = rig.connect(endpoint()).await;
        let large = "x".repeat(1_400_000);
        rig.publish("orders", &large);
        assert_eq!(reading.next().await, text(&large));
        rig.publish("orders", &bulky());
        settle().await;
        assert_eq!(reading.next().await, text(&bulky()));
        assert_eq!(rig.metrics().closed[CloseReason::SlowConsumer.index()].load(), 1);
        assert_eq!(rig.metrics().open(), 1);
        assert_eq!(rig.shard.metrics().queued_bytes.load(), 0);
    });
}

/// The endpoint's own bounds: 4 MiB. The client reads, but later than the second message comes.
#[test]
fn what_the_socket_has_begun_to_take_leaves_room_for_what_comes_behind_it() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        let messages = [(4 << 20) - (100 << 10), 200 << 10].map(|size| "x".repeat(size));
        messages.iter().for_each(|message| rig.publish("orders", message));
        settle().await;
        for message in &messages {
            assert_eq!(client.next().await, text(message));
        }
    });
}

/// Both wait for the same message, its text and its frame, and one of them for answers, too.
#[test]
fn answers_that_wait_make_a_queue_the_fullest() {
    run(async {
        let mut rig = Rig::with_queue_memory(830_000);
        let mut first = rig.connect_ready(json()).await;
        let mut asking = rig.connect_ready(json()).await;
        rig.publish("orders", &bulky());
        settle().await;
        assert_eq!(rig.metrics().open(), 2);
        asking.ask_nonsense(120).await;
        assert!(matches!(asking.next().await, Frame::Text(_)), "what it was about to get");
        assert_eq!(asking.next().await, close(CloseReason::SlowConsumer));
        assert!(matches!(first.next().await, Frame::Text(_)));
        rig.publish("orders", "1");
        assert!(matches!(first.next().await, Frame::Text(_)), "it stays");
    });
}

#[test]
fn queues_that_hold_too_much_together_lose_the_fullest_and_a_shared_frame_counts_once() {
    run(async {
        // Three frames of 400,000 bytes, however many wait for them, and not five.
        let mut rig = Rig::with_queue_memory(1_500_000);
        let stuck = rig.connect(endpoint()).await;
        let later = rig.connect(endpoint()).await;
        let mut quick = rig.connect(endpoint()).await;
        for _ in 0..3 {
            rig.publish("orders", &bulky());
            assert_eq!(quick.next().await, text(&bulky()));
        }
        let held = rig.shard.metrics().queued_bytes.load();
        assert!((1_200_000..1_300_000).contains(&held), "{held} bytes");
        assert_eq!(rig.metrics().open(), 3);
        // One of the two has less in its queue, and the frames are freed with the last of them.
        drop(later);
        settle().await;
        for _ in 0..2 {
            rig.publish("orders", &bulky());
            assert_eq!(quick.next().await, text(&bulky()));
        }
        settle().await;
        let closed = || rig.metrics().closed[CloseReason::SlowConsumer.index()].load();
        // What is partly written stays until the client has had its time for the close frame.
        timeout(Duration::from_secs(7), async {
            while closed() == 0 {
                settle().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(rig.metrics().open(), 1, "the quick one stays");
        assert_eq!(rig.shard.metrics().queued_bytes.load(), 0, "nothing is kept");
        drop(stuck);
        rig.publish("orders", "more");
        assert_eq!(quick.next().await, text("more"));
    });
}
