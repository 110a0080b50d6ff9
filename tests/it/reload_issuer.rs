//! Reloads and the keys of an issuer: which keys are kept, which are fetched again, which sessions
//! are closed.

use crate::{
    jwks::{reasons, settings, with},
    rig::{
        Endpoint, Gateway, Issuer, Key, Redis,
        client::{Frame, PING, TEXT},
        wait::until,
    },
};
use serde_json::json;

fn refresh(token: &str) -> String {
    json!({ "type": "refresh", "token": token }).to_string()
}

#[test]
fn a_reload_of_something_else_keeps_the_keys_while_their_issuer_is_down() {
    let (key, unknown) = (Key::new("a"), Key::new("b"));
    let issuer = Issuer::of(&[&key]);
    let redis = Redis::start();
    let settings = settings(&redis, &issuer.url());
    let gateway = Gateway::start(&settings);
    issuer.hang_up();
    let added = Endpoint::new("added", "/ws/added", &["added"]).open();
    let leeway = settings.clone().set("auth.jwt.leeway", "7s");
    for changed in [settings.endpoint(added), leeway] {
        assert!(gateway.reload(&changed));
        assert!(gateway.is_ready());
        gateway.open_with(&key.token("ann"), "/ws/me");
    }
    assert_eq!(issuer.asked(), 1);
    // The task that fetches is still running.
    gateway.send(&with(&unknown.token("ann"))).assert_refused(503, "keys_unavailable");
    until("the issuer is asked again", || issuer.asked() >= 2);
    issuer.publish(&[&key, &unknown]);
    until("its keys are fetched again", || {
        gateway.metrics().get("sockway_jwks_fetches_total{result=\"fetched\"}") == 2.0
    });
    gateway.open_with(&unknown.token("ann"), "/ws/me");
}

#[test]
fn algorithms_in_another_order_keep_the_keys_and_one_more_fetches_them_anew() {
    let key = Key::new("a");
    let issuer = Issuer::of(&[&key]);
    let redis = Redis::start();
    let algorithms =
        |list: &[&str]| settings(&redis, &issuer.url()).set("auth.jwt.algorithms", list.to_vec());
    let gateway = Gateway::start(&algorithms(&["EdDSA", "ES256"]));
    issuer.hang_up();
    assert!(gateway.reload(&algorithms(&["ES256", "EdDSA"])));
    assert!(gateway.is_ready());
    gateway.open_with(&key.token("ann"), "/ws/me");
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[&key]);
    assert!(gateway.reload(&algorithms(&["ES256", "EdDSA", "RS256"])));
    gateway.open_with(&key.token("ann"), "/ws/me");
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn another_issuer_takes_over_at_once_and_the_former_is_asked_no_more() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let (former, next) = (Issuer::of(&[&old]), Issuer::of(&[&new]));
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis, &former.url()));
    let mut session = gateway.open_with(&old.token("ann"), "/ws/me");
    assert_eq!(session.json()["type"], "ready");

    assert!(gateway.reload(&settings(&redis, &next.url())));
    gateway.process.stderr.wait_for("the key is named", |line| {
        line.contains("\"keys\":\"auth.jwt.jwks_url\"").then_some(())
    });
    gateway.open_with(&new.token("bob"), "/ws/me");
    gateway.send(&with(&old.token("bob"))).assert_refused(401, "token_invalid");
    assert!(gateway.is_ready());

    session.send(TEXT, refresh(&new.token("ann")).as_bytes());
    redis.publish("user:ann", "\"still here\"");
    assert_eq!(session.json()["data"], "still here");
    session.send(TEXT, refresh(&old.token("ann")).as_bytes());
    session.assert_closed(3000, "token_invalid");
    assert_eq!((former.asked(), next.asked()), (1, 2));
}

#[test]
fn readiness_follows_the_issuer_that_the_configuration_names_now() {
    let key = Key::new("a");
    let (issuer, down) = (Issuer::of(&[&key]), Issuer::down());
    let redis = Redis::start();
    let by_issuer = settings(&redis, &issuer.url());
    let by_secret = by_issuer
        .clone()
        .without("auth.jwt.jwks_url")
        .without("auth.jwt.algorithms")
        .tests_secret();
    let gateway = Gateway::start(&by_issuer);

    assert!(gateway.reload(&settings(&redis, &down.url())));
    assert_eq!(reasons(&gateway), ["keys_unavailable"]);
    gateway.send(&with(&key.token("ann"))).assert_refused(503, "keys_unavailable");
    assert!(gateway.reload(&by_secret));
    assert!(gateway.is_ready());
    gateway.open_as("ann", "/ws/me");
    gateway.send(&with(&key.token("ann"))).assert_refused(401, "token_invalid");

    assert!(gateway.reload(&by_issuer));
    gateway.open_with(&key.token("ann"), "/ws/me");
    gateway.wait_ready();
}

#[test]
fn who_waits_for_a_key_of_the_former_issuer_is_not_left_waiting() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let (former, next) = (Issuer::of(&[&old]), Issuer::of(&[&new]));
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis, &former.url()));
    let mut session = gateway.open_with(&old.token("ann"), "/ws/me");
    assert_eq!(session.json()["type"], "ready");
    former.say_nothing();
    session.send(TEXT, refresh(&new.token("bob")).as_bytes());
    until("the former issuer is asked", || former.asked() == 2);
    assert!(gateway.reload(&settings(&redis, &next.url())));
    // Another user's token: it was verified, and by the next issuer's keys.
    session.assert_closed(3003, "forbidden");
}

#[test]
fn a_session_that_a_refresh_gave_a_static_token_ends_with_that_token() {
    let redis = Redis::start();
    let key = Key::new("a");
    let issuer = Issuer::of(&[&key]);
    let settings = settings(&redis, &issuer.url());
    let gateway = Gateway::start(&settings);
    let mut session = gateway.open_with(&key.token("ann"), "/ws/me");
    assert_eq!(session.json()["type"], "ready");
    // A token issued after the session opened.
    let with_token = settings.clone().static_token("alpha", "ann");
    assert!(gateway.reload(&with_token));
    session.send(TEXT, refresh("alpha").as_bytes());
    session.send(PING, b"");
    assert_eq!(session.frame(), Frame::Pong(Vec::new()), "the refresh was read before");
    assert!(gateway.reload(&with_token.set("auth.jwt.leeway", "7s")));
    redis.publish("user:ann", "1");
    assert_eq!(session.json()["data"], 1, "nothing that concerns it has changed");
    assert!(gateway.reload(&settings));
    session.assert_closed(3000, "revoked");
}
