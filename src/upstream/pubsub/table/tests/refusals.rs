//! Channels that Redis refuses.

use super::*;
use crate::upstream::pubsub::table::queues::SUSPECTS;

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
