//! Room for what is published, and the order in which it is handed over.

use super::*;
use futures_util::FutureExt as _;

fn publication(bytes: usize) -> Publication {
    named("c", bytes)
}

fn named(channel: &str, bytes: usize) -> Publication {
    let to = Destination::Channel(ChannelName::new(channel));
    Publication { to, payload: vec![0; bytes].into() }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_room_and_gives_it_back_when_it_is_answered_also_to_nobody() {
    let (handle, mut batches) = publishing();
    // Larger than all the room there is: it is published alone.
    let large = handle.hand_over(vec![publication(2 * UNDER_WAY)]).await;
    let mut small = Box::pin(handle.publish(vec![publication(1)]));
    assert!(futures_util::poll!(&mut small).is_pending());
    assert!(handle.try_hand_over(publication(1)).is_err());
    assert_eq!(handle.under_way(), UNDER_WAY);
    let batch = batches.try_recv().unwrap();
    assert!(batches.try_recv().is_err(), "the second waits");
    drop(large);
    assert!(futures_util::poll!(&mut small).is_pending());
    assert!(batches.try_recv().is_err(), "the first is still under way");
    drop(batch);
    assert!(futures_util::poll!(&mut small).is_pending());
    let PublishBatch { reply, _room: room, .. } = batches.try_recv().unwrap();
    drop(room);
    reply.send(vec![Ok(Published::Receivers(3))]).unwrap();
    assert_eq!(small.await, [Ok(Published::Receivers(3))]);
    assert_eq!(handle.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_gets_no_room_before_who_waits_for_more_than_there_is() {
    let (handle, mut batches) = publishing();
    let first = handle.hand_over(vec![publication(UNDER_WAY - 10_000)]).await;
    let mut large = Box::pin(handle.hand_over(vec![named("large", 20_000)]));
    assert!(futures_util::poll!(&mut large).is_pending());
    let mut small = Box::pin(handle.hand_over(vec![named("small", 1)]));
    assert!(futures_util::poll!(&mut small).is_pending());
    assert!(handle.try_hand_over(named("at once", 1)).is_err());
    drop((first, batches.try_recv().unwrap()));
    // Whichever is polled first.
    assert!(futures_util::poll!(&mut small).is_ready());
    assert!(futures_util::poll!(&mut large).is_ready());
    assert_eq!(
        handle.under_way(),
        weight(&[named("large", 20_000)]) as usize + weight(&[named("small", 1)]) as usize
    );
}

#[tokio::test(start_paused = true)]
async fn what_upstream_never_took_is_not_published_and_what_it_took_and_dropped_may_be() {
    let (handle, mut batches) = publishing();
    let taken = handle.hand_over(vec![publication(1), publication(2)]).await;
    drop(batches.try_recv().unwrap());
    assert_eq!(taken.all().await, vec![Err(NotPublished::Unknown); 2]);
    drop(batches);
    let late = handle.publish(vec![publication(1)]).await;
    assert_eq!(late, vec![Err(NotPublished::Unavailable)]);
}

#[tokio::test(start_paused = true)]
async fn room_is_waited_for_two_seconds_and_then_nothing_was_published() {
    let (handle, mut batches) = publishing();
    let _large = handle.hand_over(vec![publication(UNDER_WAY)]).await;
    let began = tokio::time::Instant::now();
    let refused = handle.publish((0..3).map(|_| publication(PART)).collect()).await;
    assert_eq!(refused, vec![Err(NotPublished::Unavailable); 3]);
    assert_eq!(began.elapsed(), LONGEST_WAIT, "once, and not for each part");
    assert!(batches.try_recv().is_ok() && batches.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn others_get_their_turn_between_the_parts_of_a_large_batch_whose_order_is_kept() {
    let (handle, mut batches) = publishing();
    let many = (0..2 * UNDER_WAY / PART).map(|n| named(&n.to_string(), PART)).collect();
    let mut large = Box::pin(handle.publish(many).fuse());
    assert!(futures_util::poll!(&mut large).is_pending());
    let mut small = Box::pin(handle.publish(vec![named("small", 1)]).fuse());
    assert!(futures_util::poll!(&mut small).is_pending());
    let mut order = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        order.extend(batch.items.iter().map(|item| item.to.name().to_string()));
        drop(batch);
        let _ = (futures_util::poll!(&mut large), futures_util::poll!(&mut small));
    }
    let place = order.iter().position(|name| name == "small").unwrap();
    assert!(place < order.len() - 10, "at place {place} of {}", order.len());
    order.remove(place);
    let expected: Vec<_> = (0..2 * UNDER_WAY / PART).map(|n| n.to_string()).collect();
    assert_eq!(order, expected);
}
