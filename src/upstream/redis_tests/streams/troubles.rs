//! Troubles of streams, one a test.

use super::{
    wire::{Wire, settings_over},
    *,
};

#[tokio::test]
async fn a_key_that_is_no_stream_is_rejected_and_had_once_it_is_one() {
    let server = Server::start(&[]);
    server.call(&["SET", "s", "x"]);
    let mut rig = Rig::streams(&server);
    assert_eq!(rig.follow("s").await, "rejected s Redis");
    server.call(&["DEL", "s"]);
    assert_eq!(rig.stream_event().await, "subscribed s 0-0");
    add(&server, "s", "1-0", "a");
    assert_eq!(rig.stream_event().await, "s 1-0=a");
    server.call(&["DEL", "s"]);
    assert_eq!(rig.stream_events(2).await, ["turn s", "place s 0-0"]);
    server.call(&["SET", "s", "x"]);
    assert_eq!(rig.stream_event().await, "rejected s Redis");
}

#[tokio::test]
async fn a_restart_that_loses_nothing_tells_nothing_and_loses_nothing() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    add(&server, "s", "1-0", "a");
    assert_eq!(rig.stream_event().await, "s 1-0=a");
    server.kill();
    server.restart();
    add(&server, "s", "2-0", "b");
    assert_eq!(rig.stream_event().await, "s 2-0=b");
}

#[tokio::test]
async fn a_restart_that_loses_all_is_told_as_a_reset() {
    let mut server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    add(&server, "s", "1-0", "a");
    assert_eq!(rig.stream_event().await, "s 1-0=a");
    server.kill();
    server.restart();
    assert_eq!(rig.stream_events(2).await, ["turn s", "gap s stream_reset None 0-0"]);
    add(&server, "s", "1-0", "anew");
    assert_eq!(rig.stream_event().await, "s 1-0=anew");
}

#[tokio::test]
async fn flushall_is_noticed_and_the_stream_comes_anew() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    add(&server, "s", "1-0", "a");
    rig.stream_event().await;
    server.call(&["FLUSHALL"]);
    assert_eq!(rig.stream_events(2).await, ["turn s", "place s 0-0"]);
    add(&server, "s", "1-0", "anew");
    assert_eq!(rig.stream_event().await, "s 1-0=anew");
}

#[tokio::test]
async fn entries_that_were_trimmed_unread_are_told_with_their_exact_number() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    add(&server, "s", "1-0", "a");
    rig.stream_event().await;
    let script =
        "for i=2,101 do redis.call('XADD', KEYS[1], 'MAXLEN', '=', '1', i .. '-0', 'data', i) end";
    server.call(&["EVAL", script, "1", "s"]);
    let told = ["gap s stream_trimmed Some(99) 100-9007199254740991", "s 101-0=101"];
    assert_eq!(rig.stream_events(2).await, told);
    server.kill();
    server.restart();
    rig.mark("s", 1).await;
    assert!(rig.stream_event().await.contains("marker 1"));
}

#[tokio::test]
async fn without_a_link_those_who_come_are_turned_away_and_those_who_are_there_told_nothing() {
    let mut server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    server.kill();
    rig.until_down("").await;
    assert_eq!(rig.follow("other").await, "rejected other LinkDown");
    rig.mark("s", 7).await;
    assert_eq!(rig.stream_event().await, "no marker 7 LinkDown");
    server.restart();
    assert_eq!(rig.stream_event().await, "subscribed other 0-0");
}

#[tokio::test]
async fn a_server_that_refuses_tracking_is_told_in_the_status() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "-client|tracking"]);
    let mut rig = Rig::streams(&server);
    assert_eq!(rig.follow("s").await, "rejected s TrackingRefused");
    let status = rig.until(|status| status.tracking_refused.is_some()).await;
    assert!(status.tracking_refused.unwrap().contains("NOPERM"));
    server.call(&["ACL", "SETUSER", "default", "+client|tracking"]);
    assert_eq!(rig.stream_event().await, "subscribed s 0-0");
    rig.until(|status| status.tracking_refused.is_none()).await;
}

#[tokio::test]
async fn a_lost_connection_is_dialled_anew_and_what_came_meanwhile_comes() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    eventually("a proof", || rig.metrics.upstream.stream_wakes.canary.get() > 0).await;
    let list = server.call(&["CLIENT", "LIST"]).remove(0);
    let tracking = list.lines().find(|line| line.contains("flags=t")).unwrap();
    let number = tracking.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap().to_owned();
    server.call(&["CLIENT", "KILL", "ID", &number]);
    add(&server, "s", "1-0", "a");
    assert_eq!(rig.stream_event().await, "s 1-0=a");
}

#[tokio::test]
async fn a_server_that_stops_telling_changes_is_noticed_by_the_canary_and_what_was_missed_comes() {
    let server = Server::start(&[]);
    let wire = Wire::to(&server);
    let mut rig = Rig::start(settings_over(&server, &wire));
    rig.follow("s").await;
    eventually("a proof", || rig.metrics.upstream.stream_wakes.canary.get() > 0).await;
    let (made, proofs) = (wire.made(), rig.metrics.upstream.stream_wakes.canary.get());
    wire.set_deaf(true);
    add(&server, "s", "1-0", "missed");
    eventually("its push is lost", || wire.lost() > 0).await;
    // PINGs are answered all the while, and nothing is polled: only the canary can tell.
    assert_eq!(rig.stream_event().await, "s 1-0=missed");
    eventually("both connections are made anew", || wire.made() >= made + 2).await;
    assert!(wire.lost() >= 2, "the canary's push was lost, too");
    wire.set_deaf(false);
    eventually("a proof", || rig.metrics.upstream.stream_wakes.canary.get() > proofs).await;
    add(&server, "s", "2-0", "told");
    assert_eq!(rig.stream_event().await, "s 2-0=told");
}

#[tokio::test]
async fn a_change_that_is_never_told_is_found_by_the_poll() {
    let server = Server::start(&[]);
    let wire = Wire::to(&server);
    let mut rig = Rig::start(config::Redis {
        stream_poll: Some(Duration::from_millis(500)),
        // The canary would be first.
        probe_interval: Duration::from_secs(3_600),
        ..settings_over(&server, &wire)
    });
    rig.follow("s").await;
    wire.set_deaf(true);
    add(&server, "s", "1-0", "missed");
    assert_eq!(rig.stream_event().await, "s 1-0=missed");
    eventually("it was not told", || wire.lost() > 0).await;
    eventually("counted", || rig.metrics.upstream.stream_wakes.poll.get() == 1).await;
}

#[tokio::test]
async fn a_canary_that_may_not_be_read_is_not_asked_for_without_end() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "resetkeys", "~s", "(~sockway:* +xadd +pexpire)"]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    for n in 1..=50 {
        add(&server, "s", &format!("{n}-0"), "x");
        assert_eq!(rig.stream_event().await, format!("s {n}-0=x"));
    }
    let stats = server.call(&["INFO", "commandstats"]).remove(0);
    let line = stats.lines().find(|line| line.starts_with("cmdstat_xrange:")).unwrap().to_owned();
    let rejected = line.split("rejected_calls=").nth(1).unwrap().split(',').next().unwrap();
    let rejected: u64 = rejected.parse().unwrap();
    assert!(rejected < 20, "{rejected} refused readings");
}
