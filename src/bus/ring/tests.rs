use super::*;
use crate::{bus::Event, channel::ChannelName, message::Message};
use bytes::Bytes;
use std::time::Instant;

fn limits(events: usize, bytes: usize) -> RingLimits {
    let (events, bytes) = (events.try_into().unwrap(), bytes.try_into().unwrap());
    RingLimits { events, bytes, beyond: Beyond::DropOldest }
}

fn event(payload: &str) -> Event {
    let channel = ChannelName::new("a");
    let raw = Bytes::copy_from_slice(payload.as_bytes());
    Event::Message(Arc::new(Message::framed(channel, raw, payload.len(), Instant::now())))
}

fn send(sender: &RingSender<Event>, range: std::ops::Range<usize>) {
    sender.append(&mut range.map(|n| event(&n.to_string())).collect());
}

/// Everything that is here, in words.
fn drain(receiver: &mut RingReceiver<Event>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv())
        .map(|received| match received {
            Ok(Event::Message(message)) => String::from_utf8_lossy(message.payload()).into_owned(),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        })
        .collect()
}

#[test]
fn what_was_dropped_counts_as_taken_out_so_that_both_ends_count_alike() {
    let (sender, mut receiver) = ring(limits(8, 1 << 20));
    let position = receiver.position();
    send(&sender, 0..3);
    assert_eq!((position.sent(), receiver.taken()), (3, 0));
    drain(&mut receiver);
    send(&sender, 3..20);
    assert_eq!((position.sent(), receiver.taken()), (20, 3));
    drain(&mut receiver);
    assert_eq!(receiver.taken(), 20);
}

#[test]
fn what_waits_can_be_dropped_and_what_comes_then_is_received() {
    let (sender, mut receiver) = ring(limits(8, 1 << 20));
    send(&sender, 0..20);
    assert_eq!((sender.sent(), sender.taken()), (20, 12));
    receiver.clear();
    assert_eq!((sender.taken(), receiver.taken(), sender.fill()), (20, 20, Fill::Low));
    send(&sender, 20..22);
    assert_eq!(drain(&mut receiver), ["20", "21"]);
}

#[test]
fn events_come_out_in_their_order_and_the_batch_keeps_its_room() {
    let (sender, mut receiver) = ring(limits(8, 1 << 20));
    let mut batch: Vec<_> = (0..3).map(|n| event(&n.to_string())).collect();
    let room = batch.capacity();
    sender.append(&mut batch);
    send(&sender, 3..5);
    assert_eq!((batch.len(), batch.capacity()), (0, room));
    assert_eq!(drain(&mut receiver), ["0", "1", "2", "3", "4"]);
}

#[test]
fn beyond_the_number_the_oldest_are_dropped_and_told_once_before_the_oldest_kept() {
    let (sender, mut receiver) = ring(limits(3, 1 << 20));
    send(&sender, 0..5);
    send(&sender, 5..6);
    assert_eq!(drain(&mut receiver), ["3 events were dropped", "3", "4", "5"]);
    send(&sender, 6..7);
    assert_eq!(drain(&mut receiver), ["6"]);
}

#[test]
fn beyond_the_bytes_the_oldest_are_dropped_but_one_event_always_fits() {
    let each = event("0").bytes();
    let (sender, mut receiver) = ring(limits(100, 2 * each));
    send(&sender, 0..4);
    assert_eq!(drain(&mut receiver), ["2 events were dropped", "2", "3"]);
    let large = "x".repeat(3 * each);
    sender.send(event(&large));
    assert_eq!(drain(&mut receiver), [large]);
}

#[test]
fn a_ring_is_high_from_three_quarters_by_number_or_by_bytes_and_low_below_half() {
    let each = event("0").bytes();
    for limits in [limits(8, 1 << 20), limits(100, 8 * each)] {
        let (sender, mut receiver) = ring(limits);
        let mut seen = vec![sender.fill()];
        for n in 0..8 {
            send(&sender, n..n + 1);
            seen.push(sender.fill());
        }
        let (low, middle, high) = (Fill::Low, Fill::Middle, Fill::High);
        assert_eq!(seen, [low, low, low, low, middle, middle, high, high, high]);
        assert_eq!(drain(&mut receiver).len(), 8);
        assert_eq!(sender.fill(), Fill::Low);
    }
}

#[test]
fn what_nobody_receives_any_more_is_dropped_and_never_fills_the_ring() {
    let (sender, receiver) = ring(limits(4, 1 << 20));
    send(&sender, 0..4);
    drop(receiver);
    assert_eq!(sender.fill(), Fill::Low);
    send(&sender, 0..4);
    assert_eq!(sender.fill(), Fill::Low);
}

#[tokio::test]
async fn a_receiver_that_waits_is_woken_by_an_event_and_by_the_senders_end() {
    let (sender, mut receiver) = ring(limits(4, 1 << 20));
    let waits = tokio::spawn(async move {
        let first = receiver.recv().await;
        (first.is_ok(), receiver.recv().await.err())
    });
    tokio::task::yield_now().await;
    send(&sender, 0..1);
    tokio::task::yield_now().await;
    drop(sender);
    assert_eq!(waits.await.unwrap(), (true, Some(RingError::Closed)));
}

#[tokio::test]
async fn no_more_than_the_limit_is_taken_at_once() {
    let (sender, mut receiver) = ring(limits(8, 1 << 20));
    send(&sender, 0..5);
    let mut taken = Vec::new();
    receiver.recv_many(&mut taken, 3).await.unwrap();
    assert_eq!(taken.len(), 3);
    receiver.recv_many(&mut taken, 3).await.unwrap();
    assert_eq!(taken.len(), 5);
}

#[test]
fn a_ring_that_keeps_all_says_that_it_is_full_and_drops_nothing() {
    let (sender, mut receiver) = ring(RingLimits { beyond: Beyond::KeepAll, ..limits(4, 1 << 20) });
    send(&sender, 0..8);
    assert_eq!(sender.fill(), Fill::High);
    assert_eq!(drain(&mut receiver), (0..8).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(sender.fill(), Fill::Low);
}
