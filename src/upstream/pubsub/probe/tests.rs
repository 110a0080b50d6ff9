//! The rules of a round, without any Redis.

use super::*;

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

fn probe() -> (Probe, Instant) {
    let now = Instant::now();
    (Probe::new(INTERVAL, TIMEOUT, now), now)
}

#[test]
fn the_first_round_is_due_at_once_and_the_next_an_interval_later() {
    let (mut probe, now) = probe();
    assert!(probe.due(now));
    probe.begin(false, now);
    probe.ping_sent();
    probe.ping_answered();
    assert_eq!(probe.check(now), Some(Outcome::Proven));
    assert!(!probe.due(now + INTERVAL / 2));
    assert!(probe.due(now + INTERVAL));
}

#[test]
fn ping_alone_proves_nothing_while_the_canary_is_out() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    probe.ping_answered();
    assert_eq!(probe.check(now), None);
    let canary = probe.release_canary();
    probe.arrived(canary.as_bytes());
    // The acknowledgement of the PUBLISH may come after the canary.
    probe.published(now);
    assert_eq!(probe.check(now), Some(Outcome::Proven));
}

#[test]
fn a_canary_of_another_gateway_or_round_proves_nothing() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    let old = probe.release_canary();
    probe.begin(true, now);
    probe.ping_sent();
    probe.ping_answered();
    probe.release_canary();
    probe.arrived(old.as_bytes());
    probe.arrived(b"0123456789abcdef:2");
    assert_eq!(probe.check(now), None);
}

#[test]
fn a_late_canary_is_lost_only_when_a_later_ping_overtook_it() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    probe.ping_answered();
    let canary = probe.release_canary();
    probe.published(now);
    assert_eq!(probe.check(now + TIMEOUT), None);
    assert!(probe.wants_ping());
    probe.ping_sent();
    assert_eq!(probe.check(now + 60 * TIMEOUT), None, "the flood is not drained yet");
    probe.arrived(canary.as_bytes());
    assert_eq!(probe.check(now + 60 * TIMEOUT), Some(Outcome::Proven));
}

#[test]
fn a_canary_that_never_comes_back_means_dead() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    probe.ping_answered();
    probe.release_canary();
    probe.published(now);
    assert_eq!(probe.check(now + TIMEOUT), None);
    probe.ping_sent();
    probe.ping_answered();
    assert_eq!(probe.check(now + TIMEOUT), Some(Outcome::Dead));
}

#[test]
fn a_ping_under_way_since_before_the_canary_is_not_the_last_chance() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    probe.release_canary();
    probe.published(now);
    assert_eq!(probe.check(now + TIMEOUT), None);
    probe.ping_answered();
    assert_eq!(probe.check(now + TIMEOUT), None);
    assert!(probe.wants_ping());
    probe.ping_sent();
    assert_eq!(probe.check(now + TIMEOUT), None);
    probe.ping_answered();
    assert_eq!(probe.check(now + TIMEOUT), Some(Outcome::Dead));
}

#[test]
fn the_answer_to_an_earlier_ping_is_not_taken_for_the_last_chance() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    let canary = probe.release_canary();
    probe.published(now);
    assert_eq!(probe.check(now + TIMEOUT), None);
    // Both are in flight now, as happens in a flood; then the first one's answer comes.
    probe.ping_sent();
    probe.ping_answered();
    assert_eq!(probe.check(now + TIMEOUT), None);
    probe.arrived(canary.as_bytes());
    assert_eq!(probe.check(now + TIMEOUT), Some(Outcome::Proven));
}

#[test]
fn the_answer_to_a_ping_of_an_abandoned_round_proves_nothing() {
    let (mut probe, now) = probe();
    probe.begin(false, now);
    probe.ping_sent();
    probe.abandon();
    probe.begin(false, now);
    probe.ping_sent();
    probe.ping_answered();
    assert_eq!(probe.check(now), None);
    probe.ping_answered();
    assert_eq!(probe.check(now), Some(Outcome::Proven));
}

#[test]
fn a_canary_that_is_back_long_before_an_answer_shows_that_the_link_goes_one_way() {
    let (mut probe, now) = probe();
    probe.begin(true, now);
    probe.ping_sent();
    let canary = probe.release_canary();
    assert!(!probe.is_one_way(now + 5 * TIMEOUT), "nothing has come yet");
    probe.arrived(canary.as_bytes());
    let back = now + 5 * TIMEOUT;
    assert!(!probe.is_one_way(back), "the answer may be right behind");
    assert_eq!(probe.deadline(), Some(back + 2 * TIMEOUT));
    probe.paused();
    assert!(!probe.is_one_way(back + 2 * TIMEOUT), "nothing could be read meanwhile");
    assert!(probe.is_one_way(back + 4 * TIMEOUT));
    probe.ping_answered();
    assert!(!probe.is_one_way(back + 4 * TIMEOUT));
}
