//! Races of subscribes that are under way: upstream is the test, so each stands still where it must.

use crate::{
    auth::{Auth, Reject, StaticToken},
    bus::{PresenceRequest, PresenceRules, RejectedBy, Request, Revoke, SubscriptionEvent},
    channel::ChannelName,
    config::Config,
    endpoint::{AnyChannel, Endpoint, Origin, PathParameters, Presence, PresenceChannel},
    identity::{Claims, Identity, TokenFingerprint},
    reason::CloseReason,
    shard::{
        SessionSpec,
        rig::{Client, Frame, Rig, close, identity, open, orders, run, settle, spec, text},
    },
    testing,
};
use aws_lc_rs::digest::{SHA256, digest};
use std::{sync::Arc, time::Duration};

const SUBSCRIBE: &str = r#"subscribe = ["room:{claim.room}", "chat:{any}"]"#;

fn config(generation: u64, subscribe: &str) -> Arc<Config> {
    let text = format!(
        "[[endpoint]]\nname = \"test\"\npath = \"/ws\"\nchannels = [\"orders\"]\nformat = \"json\"\n\
         {subscribe}\nmax_subscriptions = 3\n{}",
        testing::AUTH
    );
    Arc::new(Config { generation, ..testing::config(&text) })
}

/// Tokens of user 42, each named like its room.
fn auth() -> Arc<Auth> {
    let token = |room: &str| StaticToken {
        sha256: digest(&SHA256, room.as_bytes()).as_ref().try_into().unwrap(),
        user: "42".to_owned(),
        claims: Claims::from_iter([("room", room)]),
    };
    Arc::new(Auth::new(vec![], Reject::Status, None, vec![token("a"), token("b")]))
}

/// A session in `orders` whose token names the room `a`.
async fn connect(rig: &mut Rig) -> Client {
    connect_to(rig, (*config(0, SUBSCRIBE).endpoints[0]).clone()).await
}

async fn connect_to(rig: &mut Rig, endpoint: Endpoint) -> Client {
    let claims = Claims::from_iter([("room", "a")]);
    let expires = Some(std::time::SystemTime::now() + Duration::from_secs(600));
    let fingerprint = Some(TokenFingerprint::of("opened with"));
    let identity = Identity { claims, expires, fingerprint, ..identity() };
    let origin = Origin {
        identity: Some(identity.clone()),
        path: PathParameters::default(),
        query: String::new(),
    };
    let spec =
        SessionSpec { auth: auth(), origin: Some(Box::new(origin)), ..spec(endpoint, identity) };
    let shard = rig.shard.clone();
    let subscribing = shard.subscribe(vec![orders()].into());
    let confirmed = async {
        rig.requested().await;
        rig.subscription_event(SubscriptionEvent::Confirmed(orders()));
    };
    let (subscription, ()) = tokio::join!(subscribing, confirmed);
    let mut client = Client::start(open(subscription.unwrap(), spec).await);
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}

async fn say(client: &mut Client, kind: &str, channel: &str, reference: &str) {
    let frame = format!(r#"{{"type":"{kind}","channel":"{channel}","ref":"{reference}"}}"#);
    client.send(0x81, frame.as_bytes()).await;
}

fn answer(kind: &str, channel: &str, reference: &str) -> Frame {
    text(&format!(r#"{{"type":"{kind}","channel":"{channel}","ref":"{reference}"}}"#))
}

fn refused(channel: &str, reference: &str, code: &str) -> Frame {
    let frame = r#"{"type":"refused","channel":"#;
    text(&format!(r#"{frame}"{channel}","ref":"{reference}","code":"{code}"}}"#))
}

fn asks(channel: &str) -> Request {
    Request::Subscribe(ChannelName::new(channel))
}

fn gives_back(channel: &str) -> Request {
    Request::Unsubscribe(ChannelName::new(channel))
}

fn confirm(rig: &Rig, channel: &str) {
    rig.subscription_event(SubscriptionEvent::Confirmed(ChannelName::new(channel)));
}

#[test]
fn a_subscribe_is_answered_only_when_it_is_confirmed_and_every_other_for_the_same_name_with_it() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        say(&mut client, "subscribe", "chat:7", "b").await;
        rig.publish("chat:7", "0");
        rig.publish("orders", "1");
        let message = |channel: &str, data: u32| {
            text(&format!(r#"{{"type":"message","channel":"{channel}","data":{data}}}"#))
        };
        assert_eq!(client.next().await, message("orders", 1), "nothing of it before");
        confirm(&rig, "chat:7");
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "a"));
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "b"));
        rig.publish("chat:7", "2");
        assert_eq!(client.next().await, message("chat:7", 2));
    });
}

#[test]
fn an_unsubscribe_cancels_a_subscribe_that_is_under_way_and_both_are_answered() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        say(&mut client, "unsubscribe", "chat:7", "b").await;
        assert_eq!(client.next().await, answer("unsubscribed", "chat:7", "a"));
        assert_eq!(client.next().await, answer("unsubscribed", "chat:7", "b"));
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
        // What Redis says of the past, and what it sends, are nobody's.
        confirm(&rig, "chat:7");
        rig.publish("chat:7", "0");
        say(&mut client, "subscribe", "chat:7", "c").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        confirm(&rig, "chat:7");
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "c"));
    });
}

#[test]
fn a_socket_that_closes_while_a_subscribe_is_under_way_leaves_nothing() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        drop(client);
        let mut given_back = rig.requested().await;
        if given_back.len() < 2 {
            given_back.extend(rig.requested().await);
        }
        assert!(given_back.contains(&gives_back("chat:7")), "{given_back:?}");
        confirm(&rig, "chat:7");
        settle().await;
        assert_eq!(rig.shard.registry.hub.borrow().members("chat:7").len(), 0);
    });
}

#[test]
fn a_subscribe_that_is_confirmed_while_its_session_ends_does_not_join() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        rig.revoke(Revoke::User("42".into()));
        assert_eq!(client.next().await, close(CloseReason::Revoked));
        confirm(&rig, "chat:7");
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
        assert_eq!(rig.metrics().open(), 1, "the client has not answered yet");
    });
}

#[test]
fn a_refresh_that_does_not_allow_what_is_under_way_refuses_it() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        for (channel, reference) in [("room:a", "a"), ("chat:7", "b")] {
            say(&mut client, "subscribe", channel, reference).await;
            assert_eq!(rig.requested().await, [asks(channel)]);
        }
        client.send(0x81, br#"{"type":"refresh","token":"b"}"#).await;
        assert_eq!(client.next().await, refused("room:a", "a", "channel_not_allowed"));
        assert_eq!(rig.requested().await, [gives_back("room:a")]);
        confirm(&rig, "chat:7");
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "b"));
    });
}

#[test]
fn a_reload_that_removes_the_template_refuses_what_is_under_way_and_ends_what_is_there() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        confirm(&rig, "chat:7");
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "a"));
        rig.shard.registry.reload(config(1, r#"subscribe = ["other:{any}"]"#));
        let gone = r#"{"type":"unsubscribed","channel":"chat:7","reason":"not_permitted"}"#;
        assert_eq!(client.next().await, text(gone));
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
        say(&mut client, "subscribe", "other:7", "b").await;
        assert_eq!(rig.requested().await, [asks("other:7")]);
        rig.shard.registry.reload(config(2, ""));
        assert_eq!(client.next().await, refused("other:7", "b", "channel_not_allowed"));
        assert_eq!(rig.requested().await, [gives_back("other:7")]);
    });
}

#[test]
fn a_reload_that_makes_a_stream_of_what_was_added_as_a_channel_takes_it_away() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        confirm(&rig, "chat:7");
        assert_eq!(client.next().await, answer("subscribed", "chat:7", "a"));
        rig.shard.registry.reload(config(1, r#"subscribe_streams = ["chat:{any}"]"#));
        let gone = r#"{"type":"unsubscribed","channel":"chat:7","reason":"not_permitted"}"#;
        assert_eq!(client.next().await, text(gone));
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
    });
}

#[test]
fn what_redis_refuses_is_refused_and_what_it_takes_away_ends_alone() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        let rejected =
            |name: &str| SubscriptionEvent::Rejected(ChannelName::new(name), RejectedBy::Redis);
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        rig.subscription_event(rejected("chat:7"));
        assert_eq!(client.next().await, refused("chat:7", "a", "channel_refused"));
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
        say(&mut client, "subscribe", "chat:8", "b").await;
        assert_eq!(rig.requested().await, [asks("chat:8")]);
        confirm(&rig, "chat:8");
        assert_eq!(client.next().await, answer("subscribed", "chat:8", "b"));
        rig.subscription_event(rejected("chat:8"));
        let gone = r#"{"type":"unsubscribed","channel":"chat:8","reason":"channel_refused"}"#;
        assert_eq!(client.next().await, text(gone));
        assert_eq!(rig.requested().await, [gives_back("chat:8")]);
    });
}

#[test]
fn a_subscribe_that_is_never_confirmed_is_refused_in_time() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        assert_eq!(client.next().await, refused("chat:7", "a", "subscription_timeout"));
        assert_eq!(rig.requested().await, [gives_back("chat:7")]);
    });
}

#[test]
fn a_session_that_adds_nothing_where_nothing_may_be_added_is_not_kept_anywhere() {
    run(async {
        let mut rig = Rig::new();
        let _plain = rig.connect(testing::endpoint()).await;
        assert!(rig.shard.registry.added_sessions() == 0);
        let mut client = connect_again(&mut rig).await;
        say(&mut client, "subscribe", "chat:7", "a").await;
        assert_eq!(rig.requested().await, [asks("chat:7")]);
        assert_eq!(rig.shard.registry.added_sessions(), 1);
        drop(client);
        rig.requested().await;
        settle().await;
        assert_eq!(rig.shard.registry.added_sessions(), 0);
    });
}

async fn shown(rig: &mut Rig) -> String {
    match rig.upstream.presence.requests.recv().await.unwrap() {
        PresenceRequest::Enter { room, .. } => format!("enters {room}"),
        PresenceRequest::Leave { room, .. } => format!("leaves {room}"),
        other => panic!("{other:?}"),
    }
}

async fn asked(rig: &mut Rig, channel: &str) {
    while !rig.requested().await.contains(&asks(channel)) {}
}

#[test]
fn a_user_is_shown_in_an_added_channel_until_it_is_given_back_or_the_session_ends() {
    run(async {
        let mut rig = Rig::new();
        let rules = PresenceRules {
            ttl: Duration::from_secs(30),
            leave_after: Duration::from_secs(15),
            roster: 1_000,
        };
        let channel = PresenceChannel::Any(AnyChannel::parse("chat:{any}").unwrap());
        let presence = Some(Presence { channel, rules: Arc::new(rules) });
        let endpoint = Endpoint { presence, ..(*config(0, SUBSCRIBE).endpoints[0]).clone() };
        let mut client = connect_to(&mut rig, endpoint).await;
        for (channel, reference) in [("chat:7", "a"), ("chat:8", "b")] {
            say(&mut client, "subscribe", channel, reference).await;
            asked(&mut rig, channel).await;
            assert!(rig.upstream.presence.requests.try_recv().is_err(), "before it is confirmed");
            confirm(&rig, channel);
            assert_eq!(client.next().await, answer("subscribed", channel, reference));
            assert_eq!(shown(&mut rig).await, format!("enters {channel}"));
        }
        say(&mut client, "unsubscribe", "chat:7", "c").await;
        assert_eq!(client.next().await, answer("unsubscribed", "chat:7", "c"));
        assert_eq!(shown(&mut rig).await, "leaves chat:7");
        drop(client);
        assert_eq!(shown(&mut rig).await, "leaves chat:8");
    });
}

/// … where `orders` is subscribed already.
async fn connect_again(rig: &mut Rig) -> Client {
    let endpoint = (*config(0, SUBSCRIBE).endpoints[0]).clone();
    let origin = Some(Box::new(Origin { identity: Some(identity()), ..Origin::default() }));
    let spec = SessionSpec { origin, ..spec(endpoint, identity()) };
    let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
    let mut client = Client::start(open(subscription, spec).await);
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}
