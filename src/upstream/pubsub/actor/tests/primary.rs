//! A primary that is demoted is left for the one it names.

use super::*;

fn replica() -> Role {
    Role::Replica { host: "10.0.0.2".to_owned(), port: 6380 }
}

#[tokio::test(start_paused = true)]
async fn a_demoted_primary_is_left_for_the_one_it_names_by_both_connections_and_a_gap_is_told() {
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().role = replica();
    let reason = rig.until_down().await;
    assert!(reason.contains("no longer the primary; it names 10.0.0.2:6380"), "{reason}");
    rig.redis.lock().role = Role::Primary;
    rig.until(|status| status.link == LinkStatus::Up).await;
    let named = Target::Named { host: "10.0.0.2".to_owned(), port: 6380 };
    assert_eq!(rig.redis.lock().targets, [Target::Configured, named.clone()]);
    assert_eq!(rig.redis.lock().publisher_targets, [Target::Configured, named]);
    rig.settle().await;
    assert_eq!(rig.ring(0), ["lost a", "gap a redis_moved"]);
}

/// An actor that has followed its primary to another server, which is one.
async fn followed() -> Rig {
    let mut rig = Rig::up().await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    rig.redis.lock().role = Role::Primary;
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig
}

fn named() -> Target {
    Target::Named { host: "10.0.0.2".to_owned(), port: 6380 }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_was_followed_is_dialled_first_after_a_lost_link() {
    let mut rig = followed().await;
    rig.redis.lock().away.push(Target::Configured);
    rig.redis.drop_link();
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().targets, [Target::Configured, named(), named()]);
}

#[tokio::test(start_paused = true)]
async fn after_a_followed_primary_is_lost_both_addresses_are_dialled_by_turns_until_one_is_back() {
    for (back, away) in [(Target::Configured, named()), (named(), Target::Configured)] {
        let mut rig = followed().await;
        rig.redis.lock().away.extend([Target::Configured, named()]);
        rig.redis.drop_link();
        rig.until_down().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let dialled = rig.redis.lock().targets.split_off(2);
        assert!(dialled.len() > 10, "{dialled:?}");
        for (n, target) in dialled.iter().enumerate() {
            let turn = if n % 2 == 0 { named() } else { Target::Configured };
            assert_eq!(*target, turn, "{dialled:?}");
        }
        rig.redis.lock().away = vec![away];
        rig.until(|status| status.link == LinkStatus::Up).await;
        assert_eq!(rig.redis.lock().targets.last(), Some(&back));
    }
}

#[tokio::test(start_paused = true)]
async fn the_configured_server_is_the_first_again_once_it_is_the_primary_again() {
    let mut rig = followed().await;
    rig.redis.lock().away.push(named());
    rig.redis.drop_link();
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    rig.redis.lock().targets.clear();
    rig.redis.lock().away.clear();
    rig.redis.drop_link();
    rig.until_down().await;
    rig.until(|status| status.link == LinkStatus::Up).await;
    assert_eq!(rig.redis.lock().targets, [Target::Configured]);
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_name_each_other_are_not_dialled_without_end() {
    let mut rig = Rig::up().await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    let before = rig.redis.lock().dials.len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let dials = rig.redis.lock().dials.len() - before;
    assert!((3..=10).contains(&dials), "{dials} dials");
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_name_each_other_are_one_gap_that_is_told_when_there_is_a_primary_again()
{
    let mut rig = Rig::up().await;
    rig.joined(0, "a").await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.ring(0), ["lost a"]);
    assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 0);
    rig.redis.lock().role = Role::Primary;
    rig.until(|status| status.link == LinkStatus::Up && status.subscribed == 1).await;
    assert_eq!(rig.ring(0), ["gap a redis_moved"]);
    assert_eq!(rig.metrics.upstream.revocation_gaps.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_to_role_that_passes_does_not_end_the_following() {
    let mut rig = Rig::start(|server| server.role = Role::Unknown);
    rig.until(|status| status.link == LinkStatus::Up).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    rig.redis.lock().role = Role::Primary;
    tokio::time::sleep(Duration::from_secs(6)).await;
    rig.redis.lock().role = replica();
    rig.until_down().await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_not_told_is_not_asked_again_and_harms_nothing() {
    let mut rig = Rig::start(|server| server.role = Role::Refused);
    rig.until(|status| status.link == LinkStatus::Up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.redis.count(&Command::Role), 1);
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
}

#[tokio::test(start_paused = true)]
async fn a_replica_from_the_start_is_wanted_so() {
    let mut rig = Rig::start(|server| server.role = replica());
    rig.until(|status| status.link == LinkStatus::Up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.redis.lock().dials.len(), 1);
}
