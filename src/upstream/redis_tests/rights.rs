//! What an account of Redis may not do.

use super::*;

#[tokio::test]
async fn the_smallest_acl_is_enough_and_refuses_only_what_it_does_not_name() {
    let server = Server::start(&[]);
    let rule = "ACL SETUSER gateway on >hunter2 resetchannels &user:*:news -@all +subscribe \
                +unsubscribe +ping +hello +auth +quit +reset +client|setname +client|id";
    let mut words: Vec<_> = rule.split_whitespace().collect();
    words.push("(+publish +subscribe &sockway:probe*)");
    assert_eq!(server.call(&words), ["OK"]);
    let mut rig = Rig::start(config::Redis {
        username: Some("gateway".to_owned()),
        password: Some(Secret::new("hunter2".to_owned())),
        ..settings(&server)
    });
    rig.until_up().await;

    let mut channels = numbered(300);
    channels.insert(123, "forbidden".to_owned());
    rig.join(&channels).await;
    let subscription_events = rig.subscription_event(301).await;
    let refused: Vec<_> = subscription_events
        .iter()
        .filter(|it| !matches!(it, SubscriptionEvent::Confirmed(_)))
        .collect();
    assert_eq!(refused, [&SubscriptionEvent::Rejected(name("forbidden"), RejectedBy::Redis)]);
    assert_eq!(server.subscribers(&channels), 300);
    server.publish("user:299:news", "hello");
    assert_eq!(rig.event().await, "user:299:news=hello");
    assert_eq!(rig.status.borrow().link, LinkStatus::Up);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_not_ready_with_the_reason_and_never_the_secret() {
    let server = Server::start(&["--requirepass", "right"]);
    let mut rig = Rig::start(settings(&server));
    rig.until_down("NOAUTH").await;
    let password = Some(Secret::new("hunter2".to_owned()));
    let mut rig = Rig::start(config::Redis { password, ..settings(&server) });
    let reason = rig.until_down("WRONGPASS").await;
    assert!(!reason.contains("hunter2"));
    let password = Some(Secret::new("right".to_owned()));
    let mut rig = Rig::start(config::Redis { password, ..settings(&server) });
    rig.until_up().await;
}

#[tokio::test]
async fn a_publish_that_is_forbidden_is_not_ready_but_still_delivers() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "-publish"]);
    let mut rig = Rig::start(settings(&server));
    rig.until_down("'publish'").await;
    rig.joined("a").await;
    server.call(&["ACL", "SETUSER", "default", "+publish"]);
    server.publish("a", "still here");
    assert_eq!(rig.event().await, "a=still here");
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test]
async fn without_the_right_to_unsubscribe_a_channel_stays_subscribed_and_so_does_the_link() {
    let server = Server::start(&[]);
    server.call(&["ACL", "SETUSER", "default", "-unsubscribe"]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    rig.joined("b").await;
    rig.request(vec![Request::Unsubscribe(name("a"))]).await;
    let denied = || server.call(&["ACL", "LOG"]).iter().any(|it| it.contains("unsubscribe"));
    eventually("it is denied", denied).await;
    server.publish("b", "still here");
    assert_eq!(rig.event().await, "b=still here");
    assert_eq!(server.subscribers(&["a".to_owned()]), 1);
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}
