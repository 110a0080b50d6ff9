//! What a lost link leaves, and what comes back with the next one.

use super::*;

#[test]
fn after_a_lost_link_only_what_was_subscribed_comes_back_with_a_gap() {
    let (mut table, now) = subscribed();
    table.join(1, &name("new"));
    let lost = table.link_lost(RECONNECTED);
    assert_eq!((lost.confirmed, lost.unanswered), (vec![name("a")], vec![(name("new"), 0b10)]));
    assert_eq!((table.wanted(), table.subscribed()), (2, 0));
    assert_eq!(table.join(2, &name("a")), Joined::NoLink);
    assert_eq!(table.join(2, &name("later")), Joined::NoLink);
    table.link_up();
    let mut batch = asked(&mut table);
    batch.sort();
    assert_eq!(batch, ["a", "later", "new"].map(name));
    assert_eq!(table.confirm("later", now), answered("later", 0b100, None));
    assert_eq!(table.confirm("new", now), answered("new", 0b10, None));
    assert_eq!(table.confirm("a", now), answered("a", 0b101, Some(RECONNECTED)));
}

#[test]
fn a_link_lost_again_while_resubscribing_leaves_one_gap() {
    let (mut table, now) = subscribed();
    for _ in 0..2 {
        table.link_lost(RECONNECTED);
        table.link_up();
        assert_eq!(asked(&mut table), [name("a")]);
    }
    assert_eq!(table.confirm("a", now), answered("a", 1, Some(RECONNECTED)));
}

#[test]
fn a_channel_that_has_come_back_has_no_further_gap() {
    let (mut table, now) = subscribed();
    table.link_lost(RECONNECTED);
    table.link_up();
    asked(&mut table);
    table.confirm("a", now);
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    table.take_unsubscribes(9, now + LINGER);
    table.released("a");
    table.join(0, &name("a"));
    assert_eq!(asked(&mut table), [name("a")]);
    assert_eq!(table.confirm("a", now), answered("a", 1, None));
}

#[test]
fn messages_of_a_channel_that_is_not_confirmed_on_their_node_are_stale() {
    let (mut table, now) = subscribed();
    assert_eq!(table.route(ONLY_NODE + 1, "a"), Route::Stale);
    table.link_lost(RECONNECTED);
    assert_eq!(table.route(ONLY_NODE, "a"), Route::Stale);
    table.link_up();
    asked(&mut table);
    assert_eq!(table.route(ONLY_NODE, "a"), Route::Stale);
    table.confirm("a", now);
    assert_eq!(table.route(ONLY_NODE, "a"), Route::To(&name("a"), 1));
}

#[test]
fn a_channel_that_redis_lets_go_of_unasked_is_lost_and_asked_for_again() {
    let (mut table, now) = subscribed();
    assert_eq!(table.released("a"), Some(name("a")));
    assert_eq!(table.subscribed(), 0);
    assert_eq!(asked(&mut table), [name("a")]);
    assert_eq!(table.confirm("a", now), answered("a", 1, Some(GapReason::RedisMoved)));
    assert_eq!(table.released("unknown"), None);
}

#[test]
fn a_channel_let_go_of_while_it_lingers_is_forgotten_by_the_queues_too() {
    for expired in [false, true] {
        let (mut table, now) = subscribed();
        table.leave(0, &name("a"), now);
        if expired {
            table.expire(now + LINGER);
        }
        assert_eq!(table.released("a"), None);
        assert_eq!((table.entries.len(), table.next_expiry()), (0, None));
        assert!(!table.has_batches());
    }
}

#[test]
fn a_lost_link_forgets_what_nobody_wants() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    table.join(0, &name("queued"));
    table.leave(0, &name("queued"), now);
    assert_eq!(table.link_lost(RECONNECTED), LostChannels::default());
    assert_eq!((table.entries.len(), table.next_expiry()), (0, None));
}

#[test]
fn without_a_link_nothing_piles_up() {
    let mut table = Table::new(LINGER, 100, Instant::now());
    for n in 0..100 {
        let channel = name(&n.to_string());
        assert_eq!(table.join(0, &channel), Joined::NoLink);
        table.leave(0, &channel, Instant::now());
    }
    assert_eq!((table.entries.len(), table.queues.to_subscribe.len()), (0, 0));
}
