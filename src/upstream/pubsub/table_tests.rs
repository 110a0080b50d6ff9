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

fn asked(table: &mut Table) -> Vec<ChannelName> {
    table.take_subscribes(1_000)
}

/// A table in which shard 0 has the channel `a`, subscribed.
fn subscribed() -> (Table, Instant) {
    let (mut table, now) = table();
    assert_eq!(table.join(0, &name("a")), Joined::Pending);
    assert_eq!(asked(&mut table), [name("a")]);
    assert_eq!(table.confirm("a", now), answered("a", 1, None));
    (table, now)
}

fn answered(channel: &str, shards: Shards, gap: Option<GapReason>) -> Option<Answered> {
    Some(Answered { channel: name(channel), shards, gap })
}

const RECONNECTED: GapReason = GapReason::RedisReconnected;

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
    assert_eq!(table.confirm("a", now), answered("a", 1 | 1 << 3 | 1 << 5 | 1 << 63, None));
    assert_eq!(table.join(6, &name("a")), Joined::Subscribed);
    assert_eq!((table.wanted(), table.subscribed()), (1, 1));
}

#[test]
fn messages_go_to_those_who_want_the_channel_only() {
    let (mut table, now) = subscribed();
    table.join(2, &name("a"));
    assert_eq!(table.route(ONLY_NODE, "a"), Route::To(&name("a"), 0b101));
    table.leave(0, &name("a"), now);
    assert_eq!(table.route(ONLY_NODE, "a"), Route::To(&name("a"), 0b100));
    assert_eq!(table.route(ONLY_NODE, "b"), Route::Unknown);
}

#[test]
fn a_batch_takes_no_more_than_its_limit() {
    let (mut table, _) = table();
    for n in 0..2_500 {
        table.join(0, &name(&n.to_string()));
    }
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
    assert_eq!(table.queues.to_subscribe.len(), 1);
    let (mut table, now) = subscribed();
    for _ in 0..100 {
        table.leave(0, &name("a"), now);
        table.join(0, &name("a"));
    }
    assert_eq!(table.lingering.len(), 1);
}

#[test]
fn a_channel_lingers_after_its_last_leave_and_is_then_released() {
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    assert_eq!(table.next_expiry(), Some(now + LINGER));
    table.expire(now + LINGER / 2);
    assert!(!table.unsubscribes());
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
    let (mut table, now) = subscribed();
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
    let (mut table, now) = subscribed();
    table.leave(0, &name("a"), now);
    table.expire(now + LINGER);
    assert_eq!(table.join(0, &name("a")), Joined::Subscribed);
    assert_eq!(table.take_unsubscribes(9, now + LINGER), []);
    // Gone again before the next command: it lingers in full.
    table.leave(0, &name("a"), now + LINGER);
    table.expire(now + LINGER + LINGER / 2);
    assert!(!table.unsubscribes());
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
    let mut table = Table::new(LINGER, Instant::now());
    for n in 0..100 {
        let channel = name(&n.to_string());
        assert_eq!(table.join(0, &channel), Joined::NoLink);
        table.leave(0, &channel, Instant::now());
    }
    assert_eq!((table.entries.len(), table.queues.to_subscribe.len()), (0, 0));
}

#[test]
fn a_refusal_is_remembered_and_asked_anew_only_while_wanted_and_alone() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    table.join(0, &name("b"));
    asked(&mut table);
    assert_eq!(table.refuse("a"), answered("a", 1, None));
    assert_eq!(table.refuse("b"), answered("b", 1, None));
    table.leave(0, &name("a"), now);
    assert_eq!(table.join(1, &name("a")), Joined::Refused);
    assert!(!table.subscribes(), "a refused channel is not asked for at each join");
    table.leave(1, &name("a"), now);
    assert!(table.has_refused());
    table.retry_refused();
    assert_eq!((asked(&mut table), table.take_alone(9)), (vec![], vec![name("b")]));
    assert_eq!(table.entries.len(), 1);
    assert!(!table.has_refused());
    assert_eq!(table.confirm("b", now), answered("b", 1, None));
}

#[test]
fn who_was_refused_once_is_asked_alone_until_it_is_confirmed() {
    let (mut table, now) = table();
    table.join(0, &name("a"));
    asked(&mut table);
    table.refuse("a");
    table.leave(0, &name("a"), now);
    table.retry_refused();
    assert_eq!(table.entries.len(), 0);
    table.join(0, &name("a"));
    assert_eq!((asked(&mut table), table.take_alone(9)), (vec![], vec![name("a")]));
    table.confirm("a", now);
    table.link_lost(RECONNECTED);
    table.link_up();
    assert_eq!(asked(&mut table), [name("a")]);
}

#[test]
fn what_is_remembered_of_refusals_is_bounded() {
    let (mut table, now) = table();
    for n in 0..SUSPECTS + 10 {
        let channel = name(&n.to_string());
        table.join(0, &channel);
        table.take_subscribes(1);
        table.refuse(&channel);
        table.leave(0, &channel, now);
    }
    assert_eq!(table.queues.suspects.len(), 10);
}

#[test]
fn a_leave_without_a_join_changes_nothing() {
    let (mut table, now) = subscribed();
    table.leave(7, &name("a"), now);
    table.leave(7, &name("unknown"), now);
    assert_eq!((table.wanted(), table.next_expiry()), (1, None));
}

#[path = "table_model.rs"]
mod model;
