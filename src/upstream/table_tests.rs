//! The rules of the table, without any Redis.

use super::*;

const LINGER: Duration = Duration::from_secs(1);

fn name(text: &str) -> ChannelName {
    ChannelName::new(text)
}

/// A table with a link, and its clock.
fn table() -> (Table, Instant) {
    let now = Instant::now();
    let mut table = Table::new(LINGER, now);
    table.link_up();
    (table, now)
}

fn asked(table: &mut Table) -> Vec<(String, Shards)> {
    let batch = table.take_subscribes(1_000).into_iter();
    batch.map(|ask| (ask.channel.to_string(), ask.gap)).collect()
}

/// A table in which shard 0 holds the channel `a`.
fn held() -> (Table, Instant) {
    let (mut table, now) = table();
    assert_eq!(table.join(0, &name("a")), Joined::Pending);
    assert_eq!(asked(&mut table), [("a".to_owned(), 0)]);
    assert_eq!(table.confirm(&name("a"), now), 1);
    (table, now)
}

#[test]
fn an_entry_is_small() {
    assert_eq!(size_of::<Entry>(), 16);
}

#[test]
fn a_channel_is_asked_for_once_however_many_shards_join() {
    let (mut table, now) = table();
    for shard in [0, 3, 63] {
        assert_eq!(table.join(shard, &name("a")), Joined::Pending);
    }
    assert_eq!(asked(&mut table).len(), 1);
    assert_eq!(table.join(5, &name("a")), Joined::Pending);
    assert_eq!(asked(&mut table), []);
    assert_eq!(table.confirm(&name("a"), now), 1 | 1 << 3 | 1 << 5 | 1 << 63);
    assert_eq!(table.join(6, &name("a")), Joined::Held);
    assert_eq!((table.wanted(), table.held()), (1, 1));
}

#[test]
fn messages_go_to_those_who_want_the_channel_only() {
    let (mut table, now) = held();
    table.join(2, &name("a"));
    assert_eq!(table.route("a").map(|(_, shards)| shards), Some(0b101));
    table.leave(0, &name("a"), now);
    assert_eq!(table.route("a").map(|(_, shards)| shards), Some(0b100));
    assert_eq!(table.route("b"), None);
}

#[test]
fn a_batch_takes_no_more_than_its_limit() {
    let (mut table, _) = table();
    (0..2_500).for_each(|n| drop(table.join(0, &name(&n.to_string()))));
    let sizes: Vec<_> = (0..4).map(|_| table.take_subscribes(1_000).len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 500, 0]);
}

#[test]
fn a_channel_left_before_it_was_asked_for_is_not_asked_for() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    table.leave(0, &name("a"), now);
    assert_eq!(asked(&mut table), []);
    assert_eq!((table.wanted(), table.entries.len()), (0, 0));
}

#[test]
fn joining_and_leaving_in_turn_does_not_grow_the_queues() {
    let (mut table, now) = table();
    for _ in 0..100 {
        table.join(0, &name("a"));
        table.leave(0, &name("a"), now);
    }
    assert_eq!(table.to_subscribe.len(), 1);
    let (mut table, now) = held();
    for _ in 0..100 {
        table.leave(0, &name("a"), now);
        table.join(0, &name("a"));
    }
    assert_eq!(table.lingering.len(), 1);
}

#[test]
fn a_channel_lingers_after_its_last_leave_and_is_then_released() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    assert_eq!(table.next_expiry(), Some(now + LINGER));
    table.expire(now + LINGER / 2);
    assert!(!table.unsubscribes());
    table.expire(now + LINGER);
    assert_eq!(table.take_unsubscribes(9, now + LINGER), [name("a")]);
    assert_eq!(table.held(), 0);
    table.released(&name("a"));
    assert_eq!(table.entries.len(), 0);
}

#[test]
fn a_join_within_the_linger_is_held_at_once_and_stays_held() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    assert_eq!(table.join(1, &name("a")), Joined::Held);
    table.expire(now + LINGER);
    assert!(!table.unsubscribes());
    // … and a second leave lingers as long again, from then on.
    table.leave(1, &name("a"), now + LINGER);
    table.expire(now + LINGER + LINGER / 2);
    assert!(!table.unsubscribes());
    table.expire(now + 2 * LINGER);
    assert!(table.unsubscribes());
}

#[test]
fn a_rejoin_and_leave_inside_one_linger_starts_it_anew() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    table.join(0, &name("a"));
    table.leave(0, &name("a"), now + LINGER / 2);
    table.expire(now + LINGER);
    assert!(!table.unsubscribes());
    table.expire(now + LINGER + LINGER / 2);
    assert!(table.unsubscribes());
}

#[test]
fn a_join_between_linger_and_unsubscribe_keeps_the_channel() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    assert_eq!(table.join(0, &name("a")), Joined::Held);
    assert_eq!(table.take_unsubscribes(9, now + LINGER), []);
    // Gone again before the next command: it lingers in full.
    table.leave(0, &name("a"), now + LINGER);
    table.expire(now + LINGER + LINGER / 2);
    assert!(!table.unsubscribes());
}

#[test]
fn a_join_during_the_unsubscribe_is_subscribed_anew_without_a_gap() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    table.take_unsubscribes(9, now + LINGER);
    assert_eq!(table.join(1, &name("a")), Joined::Pending);
    table.released(&name("a"));
    assert_eq!(asked(&mut table), [("a".to_owned(), 0)]);
}

#[test]
fn a_channel_left_while_it_was_asked_for_lingers_like_any_other() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    asked(&mut table);
    table.leave(0, &name("a"), now);
    assert_eq!(table.confirm(&name("a"), now), 0);
    assert_eq!(table.next_expiry(), Some(now + LINGER));
}

#[test]
fn after_a_lost_link_only_what_was_held_comes_back_with_a_gap() {
    let (mut table, now) = held();
    table.join(1, &name("new"));
    assert_eq!(table.link_lost(), [(name("new"), 0b10)]);
    assert_eq!((table.wanted(), table.held()), (2, 0));
    assert_eq!(table.join(2, &name("a")), Joined::NoLink);
    assert_eq!(table.join(2, &name("later")), Joined::NoLink);
    table.link_up();
    let mut batch = asked(&mut table);
    batch.sort();
    let expected = [("a", 0b101), ("later", 0), ("new", 0)].map(|(n, gap)| (n.to_owned(), gap));
    assert_eq!(batch, expected);
    table.confirm(&name("a"), now);
    assert_eq!(table.held(), 1);
}

#[test]
fn a_link_lost_again_while_resubscribing_leaves_a_second_gap() {
    let (mut table, _) = held();
    table.link_lost();
    table.link_up();
    assert_eq!(asked(&mut table), [("a".to_owned(), 1)]);
    table.link_lost();
    table.link_up();
    assert_eq!(asked(&mut table), [("a".to_owned(), 1)]);
}

#[test]
fn a_channel_that_has_come_back_has_no_further_gap() {
    let (mut table, now) = held();
    table.link_lost();
    table.link_up();
    asked(&mut table);
    table.confirm(&name("a"), now);
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    table.take_unsubscribes(9, now + LINGER);
    table.released(&name("a"));
    table.join(0, &name("a"));
    assert_eq!(asked(&mut table), [("a".to_owned(), 0)]);
}

#[test]
fn a_lost_link_forgets_what_nobody_wants() {
    let (mut table, now) = held();
    table.leave(0, &name("a"), now);
    table.join(0, &name("queued"));
    table.leave(0, &name("queued"), now);
    assert_eq!(table.link_lost(), []);
    assert_eq!((table.entries.len(), table.next_expiry()), (0, None));
}

#[test]
fn without_a_link_nothing_piles_up() {
    let mut table = Table::new(LINGER, Instant::now());
    for n in 0..100 {
        let channel = name(&n.to_string());
        assert_eq!(table.join(0, &channel), Joined::NoLink);
        table.leave(0, &channel, Instant::now());
    }
    assert_eq!((table.entries.len(), table.to_subscribe.len()), (0, 0));
}

#[test]
fn a_refusal_is_remembered_and_asked_anew_only_while_wanted() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    table.join(0, &name("b"));
    asked(&mut table);
    assert_eq!(table.refuse(&name("a")), 1);
    assert_eq!(table.refuse(&name("b")), 1);
    table.leave(0, &name("a"), now);
    assert_eq!(table.join(1, &name("a")), Joined::Refused);
    assert!(!table.subscribes(), "a refused channel is not asked for at each join");
    table.leave(1, &name("a"), now);
    assert!(table.has_refused());
    table.retry_refused();
    assert_eq!(asked(&mut table), [("b".to_owned(), 0)]);
    assert_eq!(table.entries.len(), 1);
    assert!(!table.has_refused());
}

#[test]
fn a_leave_without_a_join_changes_nothing() {
    let (mut table, now) = held();
    table.leave(7, &name("a"), now);
    table.leave(7, &name("unknown"), now);
    assert_eq!((table.wanted(), table.next_expiry()), (1, None));
}
