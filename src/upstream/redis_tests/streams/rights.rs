//! What an account may not do with streams.

use super::*;

#[tokio::test]
async fn a_command_that_streams_are_read_with_and_is_forbidden_is_told_in_the_status() {
    for command in ["multi", "exec", "xinfo", "xrange"] {
        let server = Server::start(&[]);
        let acl = |right: &str| server.call(&["ACL", "SETUSER", "default", right]);
        acl(&format!("-{command}"));
        let mut rig = Rig::streams(&server);
        assert_eq!(rig.follow("s").await, "rejected s TrackingRefused", "{command}");
        let status = rig.until(|status| status.tracking_refused.is_some()).await;
        let why = status.tracking_refused.unwrap();
        assert!(why.contains("NOPERM") && why.contains(command), "{why}");
        acl(&format!("+{command}"));
        let mut event = rig.stream_event().await;
        // By each dial until then.
        while event == "rejected s TrackingRefused" {
            event = rig.stream_event().await;
        }
        assert_eq!(event, "subscribed s 0-0");
        rig.until(|status| status.tracking_refused.is_none()).await;
        // A shard that has the stream already is told nothing.
        acl(&format!("-{command}"));
        rig.mark("s", 1).await;
        assert_eq!(rig.stream_event().await, "no marker 1 TrackingRefused");
    }
}

#[tokio::test]
async fn who_waits_for_a_reading_of_a_stream_that_is_refused_is_told_so() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    server.call(&["SET", "s", "x"]);
    rig.mark("s", 1).await;
    let told = rig.stream_events(2).await;
    assert_eq!(told[0], "rejected s Redis");
    assert_eq!(told[1], "no marker 1 Redis");
}

#[tokio::test]
async fn a_key_that_is_forbidden_is_rejected_alone() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "resetkeys", "~open", "~sockway:probe:*"]);
    let mut rig = Rig::streams(&server);
    assert_eq!(rig.follow("open").await, "subscribed open 0-0");
    assert_eq!(rig.follow("s").await, "rejected s Redis");
    eventually("a proof", || rig.metrics.upstream.stream_wakes.canary.get() > 0).await;
    assert_eq!(rig.status.borrow().tracking_refused, None);
}
