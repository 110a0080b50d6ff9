//! Whom a revocation ends, and whom it must not miss.

use crate::{
    bus::{Event, Revoke},
    identity::Identity,
    reason::CloseReason,
    shard::SessionSpec,
    shard::rig::{
        Client, Rig, close, endpoint, identity, message, open, orders, run, settle, spec, text,
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn named(user: &str, token: &str) -> Identity {
    Identity { user: user.into(), token_id: Some(token.into()), ..identity() }
}

#[test]
fn a_revoked_user_or_token_is_closed_and_others_stay() {
    run(async {
        let mut rig = Rig::new();
        let mut by_user = rig.connect_as(endpoint(), named("42", "a")).await;
        let mut by_token = rig.connect_as(endpoint(), named("7", "b")).await;
        let mut other = rig.connect_as(endpoint(), named("7", "c")).await;
        rig.revoke(Revoke::User("42".into()));
        rig.revoke(Revoke::Token("b".into()));
        settle().await;
        rig.publish("orders", "still here");
        assert_eq!(by_user.next().await, close(CloseReason::Revoked));
        assert_eq!(by_token.next().await, close(CloseReason::Revoked));
        assert_eq!(other.next().await, text("still here"));
    });
}

#[test]
fn a_revocation_is_not_lost_behind_a_burst_that_the_ring_loses() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        rig.revoke(Revoke::User("42".into()));
        for _ in 0..20_000 {
            rig.event(Event::Message(message("news", "")));
        }
        loop {
            match client.next().await {
                frame if frame == text(r#"{"type":"gap"}"#) => {}
                frame => break assert_eq!(frame, close(CloseReason::Revoked)),
            }
        }
    });
}

#[test]
fn who_is_revoked_while_shaking_hands_is_closed_and_who_comes_later_is_not() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect_as(endpoint(), named("7", "z")).await;
        for (revoke, is_of_token) in
            [(Revoke::User("42".into()), false), (Revoke::Token("a".into()), true)]
        {
            let verified = spec(endpoint(), named("42", "a"));
            let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            rig.revoke(revoke);
            sleep(Duration::from_secs(8)).await;
            let mut client = Client::start(open(subscription, verified).await);
            assert_eq!(client.next().await, close(CloseReason::Revoked));

            let mut later = rig.connect_as(endpoint(), named("42", "a")).await;
            rig.publish("orders", "hello");
            let expected = if is_of_token { close(CloseReason::Revoked) } else { text("hello") };
            assert_eq!(later.next().await, expected);
        }
        sleep(Duration::from_secs(11)).await;
        let mut client = rig.connect_as(endpoint(), named("42", "a")).await;
        rig.publish("orders", "hello");
        assert_eq!(client.next().await, text("hello"), "it is not remembered for ever");
    });
}

#[test]
fn a_revocation_of_a_user_with_many_sessions_lets_others_have_their_turn() {
    run(async {
        let mut rig = Rig::new();
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(rig.connect(endpoint()).await);
        }
        let began = Instant::now();
        rig.revoke(Revoke::User("42".into()));
        settle().await;
        for mut client in clients {
            assert_eq!(client.next().await, close(CloseReason::Revoked));
        }
        assert!(began.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn after_a_gap_everybody_who_has_an_identity_is_closed() {
    run(async {
        let mut rig = Rig::new();
        let mut client = rig.connect(endpoint()).await;
        let anonymous = spec(endpoint(), identity());
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        let spec = SessionSpec { identity: None, ..anonymous };
        let mut guest = Client::start(open(subscription, spec).await);
        rig.revoke(Revoke::Everyone);
        assert_eq!(client.next().await, close(CloseReason::Revoked));
        rig.publish("orders", "still here");
        assert_eq!(guest.next().await, text("still here"));
    });
}
