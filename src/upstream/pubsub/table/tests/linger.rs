//! Channels that nobody wants any more: the linger, and the UNSUBSCRIBE behind it.

use super::*;

#[test]
fn a_channel_lingers_after_its_last_leave_and_is_then_released() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    assert_eq!(table.next_expiry(), Some(now + LINGER));
    table.expire(now + LINGER / 2);
    assert!(!table.has_batches());
    table.expire(now + LINGER);
    assert_eq!(table.take_unsubscribes(9, now + LINGER), [name("a")]);
    assert_eq!(table.subscribed(), 0);
    table.released("a");
    assert_eq!(table.entries.len(), 0);
}

#[test]
fn a_join_within_the_linger_is_subscribed_at_once_and_stays_so() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    assert_eq!(table.join(1, &name("a")), Joined::Subscribed);
    table.expire(now + LINGER);
    assert!(!table.has_batches());
    // … and a second leave lingers as long again, from then on.
    table.leave(1, &name("a"), now + LINGER);
    table.expire(now + LINGER + LINGER / 2);
    assert!(!table.has_batches());
    table.expire(now + 2 * LINGER);
    assert!(table.has_batches());
}

#[test]
fn a_rejoin_and_leave_inside_one_linger_starts_it_anew() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    table.join(0, &name("a"));
    table.leave(0, &name("a"), now + LINGER / 2);
    table.expire(now + LINGER);
    assert!(!table.has_batches());
    table.expire(now + LINGER + LINGER / 2);
    assert!(table.has_batches());
}

#[test]
fn a_join_between_linger_and_unsubscribe_keeps_the_channel() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    assert_eq!(table.join(0, &name("a")), Joined::Subscribed);
    assert_eq!(table.take_unsubscribes(9, now + LINGER), []);
    // Gone again before the next command: it lingers in full.
    table.leave(0, &name("a"), now + LINGER);
    table.expire(now + LINGER + LINGER / 2);
    assert!(!table.has_batches());
}

#[test]
fn a_join_during_the_unsubscribe_is_subscribed_anew_without_a_gap() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    table.take_unsubscribes(9, now + LINGER);
    assert_eq!(table.join(1, &name("a")), Joined::Pending);
    table.released("a");
    assert_eq!(asked(&mut table), [name("a")]);
}

#[test]
fn a_channel_left_while_it_was_asked_for_lingers_like_any_other() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    asked(&mut table);
    table.leave(0, &name("a"), now);
    assert_eq!(table.confirm("a", now), answered("a", 0, None));
    assert_eq!(table.next_expiry(), Some(now + LINGER));
}
