//! The rules of the table, without any Redis.

use super::*;

mod linger;
mod links;
mod model;
mod refusals;

const LINGER: Duration = Duration::from_secs(1);

fn name(text: &str) -> ChannelName {
    ChannelName::new(text)
}

/// A table with a link, and its clock.
fn table() -> (Table, Instant) {
    let now = Instant::now();
    let mut table = Table::new(LINGER, 100, now);
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
fn a_leave_without_a_join_changes_nothing() {
    let (mut table, now) = subscribed();
    table.leave(7, &name("a"), now);
    table.leave(7, &name("unknown"), now);
    assert_eq!((table.wanted(), table.next_expiry()), (1, None));
}
