//! Deaths, pauses and losses: what clients are shown is the truth again, within a bound.

use super::*;

/// A member stays for `ttl`, and others look every third of that.
const GONE_WITHIN: Duration = Duration::from_millis(1_200 + 400);

/// For this machine, which builds and tests at the same time.
const SLACK: Duration = Duration::from_secs(2);

async fn two_of(server: &Server) -> (Gateway, Gateway) {
    let (mut one, mut two) = (Gateway::on(server), Gateway::on(server));
    one.enter("41");
    see(&mut [&mut one], &users(&["41"])).await;
    two.enter("42");
    see(&mut [&mut one, &mut two], &users(&["41", "42"])).await;
    (one, two)
}

/// Clients' own connections of the gateways that subscribe, ended.
fn cut_subscriptions(server: &Server) {
    server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

#[tokio::test]
async fn an_instance_that_dies_takes_its_users_with_it_in_time() {
    let server = Server::start(&[]);
    let (mut one, two) = two_of(&server).await;
    drop(two);
    let died = Instant::now();
    see(&mut [&mut one], &users(&["41"])).await;
    let after = died.elapsed();
    assert!(after < GONE_WITHIN + SLACK, "{after:?}");
    assert_eq!((one.clients[0].joins, one.clients[0].leaves), (1, 1));
    swept(&[&one], 1).await;
}

#[tokio::test]
async fn a_user_of_two_instances_of_which_one_died_leaves_with_the_other() {
    for is_noticed in [true, false] {
        let server = Server::start(&[]);
        let (mut one, mut two) = (Gateway::on(&server), Gateway::on(&server));
        one.enter("41");
        one.enter("watcher");
        see(&mut [&mut one], &users(&["41", "watcher"])).await;
        two.enter("41");
        see(&mut [&mut one, &mut two], &users(&["41", "watcher"])).await;
        drop(two);
        if is_noticed {
            sleep(GONE_WITHIN).await;
        }
        one.exit(0);
        see(&mut [&mut one], &users(&["watcher"])).await;
        assert_eq!(hash(&server).len(), 1);
    }
}

#[tokio::test]
async fn a_newcomer_does_not_see_the_ghosts_of_the_only_holder() {
    let server = Server::start(&[]);
    let ttl = Duration::from_secs(4);
    let rules = PresenceRules { ttl, ..RULES };
    let mut one = Gateway::start(settings(&server), rules);
    one.enter("ghost");
    see(&mut [&mut one], &users(&["ghost"])).await;
    drop(one);
    // Its deadline is past, and nobody has swept it; the keys live twice as long.
    sleep(ttl + Duration::from_millis(200)).await;
    assert!(hash(&server).contains_key("ghost"));
    let mut two = Gateway::start(settings(&server), rules);
    two.enter("42");
    see(&mut [&mut two], &users(&["42"])).await;
    assert_eq!((two.clients[0].rosters, two.clients[0].leaves), (1, 0));
}

#[tokio::test]
async fn an_instance_that_was_stopped_is_announced_as_gone_and_as_back() {
    let server = Server::start(&[]);
    let (mut one, mut two) = two_of(&server).await;
    two.is_stopped.store(true, Ordering::Relaxed);
    see(&mut [&mut one], &users(&["41"])).await;
    two.is_stopped.store(false, Ordering::Relaxed);
    see(&mut [&mut one, &mut two], &users(&["41", "42"])).await;
}

#[tokio::test]
async fn after_a_flush_all_are_back_ghosts_are_not_and_nobody_is_shown_an_empty_room() {
    let server = Server::start(&[]);
    let (mut one, mut two) = two_of(&server).await;
    let mut dead = Gateway::on(&server);
    dead.enter("ghost");
    see(&mut [&mut one, &mut two], &users(&["41", "42", "ghost"])).await;
    drop(dead);
    server.call(&["FLUSHALL"]);
    let deadline = Instant::now() + PATIENCE;
    while !(one.all_see(&users(&["41", "42"])) && two.all_see(&users(&["41", "42"]))) {
        for client in one.clients.iter().chain(&two.clients) {
            let Some(View::Users(users)) = &client.sees else { panic!("a list") };
            assert!(users.contains("41") && users.contains("42"), "{users:?}");
        }
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(hash(&server).len(), 2);
}

#[tokio::test]
async fn a_restart_of_redis_ends_with_the_truth_and_the_script_is_loaded_again() {
    let mut server = Server::start(&[]);
    let (mut one, mut two) = two_of(&server).await;
    server.kill();
    one.enter("43");
    server.restart();
    see(&mut [&mut one, &mut two], &users(&["41", "42", "43"])).await;
    server.call(&["SCRIPT", "FLUSH"]);
    two.enter("44");
    two.exit(0);
    see(&mut [&mut one, &mut two], &users(&["41", "43", "44"])).await;
}

#[tokio::test]
async fn what_was_announced_while_the_subscription_was_lost_is_not_missed() {
    let server = Server::start(&[]);
    let (mut one, mut two) = two_of(&server).await;
    for n in 0..5 {
        cut_subscriptions(&server);
        two.enter(&format!("u{n}"));
    }
    see(&mut [&mut one, &mut two], &users(&["41", "42", "u0", "u1", "u2", "u3", "u4"])).await;
    let rosters = one.clients[0].rosters;
    cut_subscriptions(&server);
    let deadline = Instant::now() + PATIENCE;
    while one.clients[0].rosters == rosters {
        assert!(Instant::now() < deadline, "presence is sent anew after each loss");
        sleep(Duration::from_millis(5)).await;
        one.listen();
    }
}

#[tokio::test]
async fn a_shard_that_missed_what_it_was_told_asks_again() {
    let server = Server::start(&[]);
    let (mut one, _two) = two_of(&server).await;
    one.clients[0].sees = None;
    one.ask(PresenceRequest::Again { shard: 0, room: name(ROOM) });
    see(&mut [&mut one], &users(&["41", "42"])).await;
}

#[tokio::test]
async fn rights_that_are_missing_keep_rosters_away_until_they_are_given_and_end_no_link() {
    let server = Server::start(&[]);
    for right in ["evalsha", "zadd", "hincrby", "publish"] {
        server.call(&["ACL", "SETUSER", "default", &format!("-{right}")]);
        let mut one = Gateway::on(&server);
        one.enter("41");
        let denied = || server.call(&["ACL", "LOG"]).iter().any(|it| it.contains(right));
        eventually("it is denied", denied).await;
        server.call(&["ACL", "SETUSER", "default", &format!("+{right}")]);
        see(&mut [&mut one], &users(&["41"])).await;
        server.call(&["FLUSHALL"]);
    }
}
