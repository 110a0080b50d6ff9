//! Everyday work: what is added arrives, in order, once.

use super::*;

#[tokio::test]
async fn entries_that_are_added_after_the_confirmation_arrive_in_order_with_their_ids() {
    let server = Server::start(&[]);
    add(&server, "s", "1-1", "before");
    let mut rig = Rig::streams(&server);
    assert_eq!(rig.follow("s").await, "subscribed s 1-1");
    for n in 0..100 {
        add(&server, "s", &format!("2-{n}"), &n.to_string());
    }
    for n in 0..100 {
        assert_eq!(rig.stream_event().await, format!("s 2-{n}={n}"));
    }
}

#[tokio::test]
async fn a_stream_that_does_not_exist_yet_is_followed_from_its_first_entry() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    assert_eq!(rig.follow("s").await, "subscribed s 0-0");
    add(&server, "s", "5-0", "a");
    assert_eq!(rig.stream_event().await, "s 5-0=a");
    add(&server, "s", "6-0", "b");
    assert_eq!(rig.stream_event().await, "s 6-0=b");
}

#[tokio::test]
async fn a_burst_larger_than_the_largest_page_arrives_whole() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    let script = "for i=1,2000 do redis.call('XADD', KEYS[1], i .. '-0', 'data', i) end";
    server.call(&["EVAL", script, "1", "s"]);
    for n in 1..=2_000 {
        assert_eq!(rig.stream_event().await, format!("s {n}-0={n}"));
    }
}

#[tokio::test]
async fn an_entry_without_the_field_is_an_object_and_one_above_the_cap_is_told() {
    let server = Server::start(&[]);
    let max_payload = 100.try_into().unwrap();
    let mut rig = Rig::start(config::Redis { max_payload, ..stream_settings(&server) });
    rig.follow("s").await;
    server.call(&["XADD", "s", "1-0", "a", "x", "b", "2", "a", "1"]);
    assert_eq!(rig.stream_event().await, r#"s 1-0={"b":"2","a":"1"}"#);
    add(&server, "s", "2-0", &"x".repeat(101));
    assert_eq!(rig.stream_event().await, "too large s 2-0");
    server.call(&["XADD", "s", "3-0", "other", &"x".repeat(1_000), "data", "small"]);
    assert_eq!(rig.stream_event().await, "s 3-0=small");
    server.call(&["XADD", "s", "4-0", "other", &"x".repeat(100)]);
    assert_eq!(rig.stream_event().await, "too large s 4-0");
    add(&server, "s", "5-0", &"x".repeat(100));
    assert_eq!(rig.stream_event().await, format!("s 5-0={}", "x".repeat(100)));
}

#[tokio::test]
async fn keys_have_the_prefix_and_field_of_the_configuration() {
    let server = Server::start(&[]);
    let mut rig = Rig::start(config::Redis {
        channel_prefix: "tenant:".to_owned(),
        stream_field: "m".to_owned(),
        ..stream_settings(&server)
    });
    rig.follow("s").await;
    add(&server, "s", "1-0", "not ours");
    server.call(&["XADD", "tenant:s", "1-0", "m", "ours"]);
    assert_eq!(rig.stream_event().await, "s 1-0=ours");
    eventually("the canary", || server.call(&["KEYS", "tenant:sockway:probe:stream:*"]).len() == 1)
        .await;
}

#[tokio::test]
async fn a_stream_that_nobody_wants_lingers_and_is_forgotten() {
    let server = Server::start(&[]);
    // Longer than all that is done before it is wanted again.
    let linger = Duration::from_secs(5);
    let mut rig = Rig::start(config::Redis { linger, ..stream_settings(&server) });
    let wanted = |rig: &Rig| {
        let upstream = &rig.metrics.upstream;
        (upstream.streams_wanted.get(), upstream.streams_subscribed.get())
    };
    rig.follow("s").await;
    rig.unfollow("s").await;
    add(&server, "s", "1-0", "unseen");
    rig.mark("other", 1).await;
    assert_eq!(rig.stream_event().await, "no marker 1 LinkDown", "nothing of s came before");
    assert_eq!(wanted(&rig), (0, 1));
    eventually("read all the same", || rig.metrics.upstream.stream_wakes.push.get() == 1).await;
    assert_eq!(rig.follow("s").await, "subscribed s 1-0");
    rig.unfollow("s").await;
    eventually("forgotten", || wanted(&rig) == (0, 0)).await;
}

#[tokio::test]
async fn a_marker_comes_behind_everything_that_a_reading_since_has_found() {
    let server = Server::start(&[]);
    let mut rig = Rig::streams(&server);
    rig.follow("s").await;
    for n in 1..=50 {
        add(&server, "s", &format!("{n}-0"), "x");
        rig.mark("s", n).await;
        assert_eq!(rig.stream_events(2).await, [format!("s {n}-0=x"), format!("marker {n}")]);
    }
}

#[tokio::test]
async fn there_are_as_many_streams_as_allowed_and_no_more() {
    let server = Server::start(&[]);
    let max_streams = 2.try_into().unwrap();
    let mut rig = Rig::start(config::Redis { max_streams, ..stream_settings(&server) });
    assert_eq!(rig.follow("a").await, "subscribed a 0-0");
    assert_eq!(rig.follow("b").await, "subscribed b 0-0");
    assert_eq!(rig.follow("c").await, format!("rejected c {:?}", RejectedBy::StreamLimit));
}
