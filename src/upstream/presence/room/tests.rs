use super::{known::MOST_HELD_BACK, *};
use crate::{
    bus::{Beyond, PresenceEvent, RingLimits, RingReceiver, ring},
    upstream::presence::{names::Announcement, output::Output},
};
use std::num::NonZeroUsize;

fn rules() -> Arc<PresenceRules> {
    let (ttl, leave_after) = (Duration::from_secs(30), Duration::from_secs(15));
    Arc::new(PresenceRules { ttl, leave_after, roster: 1_000_000 })
}

fn silent() -> Output {
    Output::new(Vec::new())
}

/// Ann's, with no shard that is told anything.
fn room(now: Instant) -> Room {
    let refresh_at = now + Duration::from_secs(10);
    let mut room = Room::new(ChannelName::new("chat:7"), rules(), refresh_at);
    assert!(room.enter(0, &"ann".into()));
    assert_eq!(room.under_way.take_to_join().len(), 1);
    room.shards = 0;
    room.joined(&["ann".into()], 1, now, &mut silent());
    room
}

fn join(user: &str) -> Announcement {
    Announcement::Join(user.to_owned())
}

fn leave(user: &str) -> Announcement {
    Announcement::Leave(user.to_owned())
}

fn users(room: &Room) -> Vec<String> {
    room.users.roster().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_announced_while_a_roster_is_read_comes_on_top_of_it() {
    let now = Instant::now();
    let mut room = room(now);
    room.announced(join("too early"), now, &mut silent());
    room.reading_begins();
    room.announced(join("bob"), now, &mut silent());
    room.announced(leave("eve"), now, &mut silent());
    let list = ["ann", "eve", "dan"].map(str::to_owned).to_vec();
    room.read(&Read::Listed(list), now, &mut silent());
    assert_eq!(users(&room), ["ann", "bob", "dan"]);
    room.announced(leave("dan"), now, &mut silent());
    assert_eq!(users(&room), ["ann", "bob"]);
}

#[test]
fn a_roster_behind_which_too_much_was_announced_is_read_again() {
    let now = Instant::now();
    let mut room = room(now);
    room.reading_begins();
    for n in 0..=MOST_HELD_BACK {
        room.announced(join(&n.to_string()), now, &mut silent());
    }
    room.read(&Read::Listed(vec!["ann".to_owned()]), now, &mut silent());
    assert_eq!((room.view, room.under_way.roster_due), (View::Unknown, Some(now)));
}

#[test]
fn a_user_that_is_here_and_is_announced_as_gone_is_put_back() {
    let now = Instant::now();
    let mut room = room(now);
    room.announced(leave("bob"), now, &mut silent());
    assert!(!room.repairs, "no one of this instance");
    room.announced(leave("ann"), now, &mut silent());
    assert!(room.repairs);
}

#[test]
fn those_who_come_together_are_welcomed_by_one_roster_that_has_them_all() {
    let now = Instant::now();
    let limits = RingLimits {
        events: NonZeroUsize::new(100).unwrap(),
        bytes: NonZeroUsize::MAX,
        beyond: Beyond::KeepAll,
    };
    let (sender, mut ring) = ring(limits);
    let mut output = Output::new(vec![sender]);
    let mut room = room(now);
    room.read(&Read::Listed(vec!["ann".to_owned()]), now, &mut output);
    let both: [Arc<str>; 2] = ["dan".into(), "bob".into()];
    for user in &both {
        assert!(room.enter(0, user));
    }
    for one in both.chunks(1) {
        room.joined(one, 3, now, &mut output);
    }
    assert!(room.owes_rosters());
    (0..2).for_each(|_| room.welcome(&mut output));
    output.flush();
    let mut told = Vec::new();
    while let Some(event) = ring.try_recv() {
        if let PresenceEvent::Roster { roster, users } = event.unwrap() {
            told.push((roster.count, users.map(|users| users.to_vec())));
        }
    }
    assert_eq!(told, [(3, Some(vec!["bob".into(), "dan".into()]))]);
}

#[test]
fn the_rules_of_a_reload_are_those_of_a_room_that_is_still_there() {
    let now = Instant::now();
    let mut room = room(now);
    assert!(!room.take_rules(&rules(), now), "the same rules, in another place");
    let others = Arc::new(PresenceRules { roster: 1, ..*rules() });
    assert!(room.take_rules(&others, now));
    assert!(room.repairs && room.under_way.roster_due == Some(now));
    assert_eq!(room.list_limit(), 1);
}

#[test]
fn who_enters_after_an_error_is_joined_when_its_pause_is_over() {
    let now = Instant::now();
    let mut room = room(now);
    let pause = now + Duration::from_secs(1);
    room.under_way.not_before = Some(pause);
    assert!(room.due() > Some(pause), "nothing but its refresh is due");
    room.enter(0, &"bob".into());
    assert_eq!(room.due(), Some(pause));
}

#[test]
fn a_subscription_is_confirmed_by_the_batch_that_asked_for_it_and_not_by_an_older_one() {
    let now = Instant::now();
    let mut room = room(now);
    (room.subscription, room.under_way.asked_by) = (Subscription::Asked, 7);
    assert!(!room.subscribed(6, now));
    assert_eq!((room.subscription, room.under_way.roster_due), (Subscription::Asked, None));
    assert!(room.subscribed(7, now));
    assert_eq!(
        (room.subscription, room.under_way.roster_due),
        (Subscription::Confirmed, Some(now))
    );
    assert!(!room.subscribed(8, now), "it is no news");
}

/// What the first shard was told: how many are there, and who, where that is a list.
fn told(
    ring: &mut RingReceiver<PresenceEvent>,
    output: &mut Output,
) -> Vec<(usize, Option<usize>)> {
    output.flush();
    let mut told = Vec::new();
    while let Some(event) = ring.try_recv() {
        if let PresenceEvent::Roster { roster, .. } = event.unwrap() {
            told.push((roster.count, roster.users.as_ref().map(Vec::len)));
        }
    }
    told
}

/// A room with ann and bob in it, and what the shard is told.
fn room_with_a_shard(now: Instant) -> (Room, Output, RingReceiver<PresenceEvent>) {
    let limits = RingLimits {
        events: NonZeroUsize::new(100).unwrap(),
        bytes: NonZeroUsize::MAX,
        beyond: Beyond::KeepAll,
    };
    let (sender, ring) = ring(limits);
    let (mut room, mut output) = (room(now), Output::new(vec![sender]));
    room.enter(0, &"bob".into());
    room.joined(&["bob".into()], 2, now, &mut output);
    (room, output, ring)
}

#[test]
fn a_user_that_is_here_is_never_shown_as_gone_by_who_took_us_for_dead() {
    let now = Instant::now();
    let mut room = room(now);
    room.reading_begins();
    room.announced(leave("ann"), now, &mut silent());
    room.read(&Read::Listed(vec!["bob".to_owned()]), now, &mut silent());
    assert_eq!(users(&room), ["ann", "bob"], "held back");
    room.announced(leave("ann"), now, &mut silent());
    assert_eq!(users(&room), ["ann", "bob"]);
    assert!(room.repairs);
}

#[test]
fn who_was_told_a_newer_count_is_told_that_it_is_the_old_one_again() {
    let now = Instant::now();
    let (mut room, mut output, mut ring) = room_with_a_shard(now);
    room.read(&Read::Counted(5), now, &mut output);
    assert_eq!(told(&mut ring, &mut output), [(5, None)]);
    room.enter(0, &"carol".into());
    room.joined(&["carol".into()], 6, now, &mut output);
    room.welcome(&mut output);
    assert_eq!(told(&mut ring, &mut output), [(6, None)], "carol");
    for _ in 0..2 {
        room.read(&Read::Counted(5), now, &mut output);
    }
    assert_eq!(told(&mut ring, &mut output), [(5, None)]);
}

#[test]
fn what_is_announced_while_a_count_is_read_is_counted_by_the_next_one() {
    let now = Instant::now();
    let (mut room, mut output, _ring) = room_with_a_shard(now);
    room.reading_begins();
    room.read(&Read::Counted(5), now, &mut output);
    assert_eq!(room.under_way.roster_due, None);
    room.reading_begins();
    room.announced(join("eve"), now, &mut output);
    room.under_way.roster_due = None;
    room.read(&Read::Counted(5), now, &mut output);
    assert!(room.under_way.roster_due > Some(now));
    // A list that grows beyond its limit meanwhile.
    room.rules = Arc::new(PresenceRules { roster: 2, ..*rules() });
    room.view = View::Listed;
    room.reading_begins();
    room.announced(join("eve"), now, &mut output);
    room.under_way.roster_due = None;
    room.read(&Read::Listed(vec!["ann".to_owned(), "bob".to_owned()]), now, &mut output);
    assert!(matches!(room.view, View::Counted(_)));
    assert!(room.under_way.roster_due > Some(now));
}

#[test]
fn who_has_left_is_forgotten_when_redis_has_forgotten_it_though_redis_takes_nothing() {
    let now = Instant::now();
    let mut room = room(now);
    for _ in 0..3 {
        room.enter(0, &"bob".into());
        room.exit(&"bob".into(), now);
    }
    room.enter(0, &"eve".into());
    room.exit(&"ann".into(), now);
    let gone = now + rules().leave_after + rules().ttl;
    assert_eq!(room.forget_gone(gone - Duration::from_millis(1)), 0);
    assert_eq!(room.under_way.to_join, ["eve".into()]);
    assert_eq!(room.under_way.leaving.len(), 2);
    assert_eq!(room.forget_gone(gone), 2);
    assert!(!room.is_over(), "eve is here");
    room.exit(&"eve".into(), gone);
    room.subscription = Subscription::None;
    assert_eq!(room.forget_gone(gone + rules().leave_after + rules().ttl), 1);
    assert!(room.is_over());
}

#[test]
fn a_room_that_is_put_back_is_read_when_others_may_have_put_back_theirs() {
    let now = Instant::now();
    let mut room = room(now);
    let later = now + SYNC_PAUSE;
    room.read_roster_at(now);
    room.put_off_roster(later);
    assert_eq!(room.under_way.roster_due, Some(now), "clients have none yet");
    room.read(&Read::Listed(vec!["bob".to_owned()]), now, &mut silent());
    room.under_way.roster_due = None;
    room.put_off_roster(later);
    assert_eq!(room.under_way.roster_due, None);
    room.link_lost();
    room.put_off_roster(later);
    assert_eq!(room.under_way.roster_due, Some(later));
}
