//! The end of a token: revoked, expired, or refreshed in time.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    client::TEXT,
    settings::notifications,
    token::{self, now, signed},
    wait::until,
};
use serde_json::json;

fn start(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("auth.jwt.leeway", "0s")
        .endpoint(notifications().set("format", "json"));
    let gateway = Gateway::start(&change(settings));
    (redis, gateway)
}

/// A session that has received its `ready` frame.
#[track_caller]
fn open(gateway: &Gateway, token: &str) -> Client {
    let mut client = gateway.open_with(token, "/ws/me");
    assert_eq!(client.json()["type"], "ready");
    client
}

/// A token for the user that is valid for this many seconds.
fn short(user: &str, seconds: i64) -> String {
    signed(&json!({"sub": user, "exp": now() + seconds}))
}

#[track_caller]
fn refresh(client: &mut Client, token: &str) {
    let frame = json!({"type": "refresh", "token": token}).to_string();
    client.send(TEXT, frame.as_bytes());
}

#[track_caller]
fn assert_delivers(redis: &Redis, client: &mut Client, user: &str) {
    assert_eq!(redis.publish(&format!("user:{user}"), "\"hello\""), 1);
    assert_eq!(client.json()["data"], "hello");
}

#[test]
fn a_revoked_user_is_closed_everywhere_and_nobody_else_is() {
    let (redis, gateway) = start(|settings| settings);
    let other =
        Gateway::start(&Settings::new(&redis).endpoint(notifications().set("format", "json")));
    let mut tabs = [
        open(&gateway, &token::of("ann")),
        open(&gateway, &token::of("ann")),
        open(&other, &token::of("ann")),
    ];
    let mut bob = open(&gateway, &token::of("bob"));
    redis.wait_numsub("sockway:control", 2);
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    // tests/soak/bounds.rs checks the promised second: here other tests may use the processor.
    for tab in &mut tabs {
        tab.assert_closed(3000, "revoked");
    }
    assert_delivers(&redis, &mut bob, "bob");
    let series = "sockway_sessions_closed_total{endpoint=\"notifications\",reason=\"revoked\"}";
    gateway.wait_metric(series, 2.0);
}

#[test]
fn a_revoked_token_is_closed_and_the_users_other_tokens_are_not() {
    let (redis, gateway) = start(|settings| settings);
    let with_id = |jti: &str| signed(&json!({"sub": "ann", "exp": now() + 600, "jti": jti}));
    let mut revoked = open(&gateway, &with_id("one"));
    let mut kept = open(&gateway, &with_id("two"));
    redis.wait_numsub("sockway:control", 1);
    redis.publish("sockway:control", r#"{"disconnect":{"jti":"one"}}"#);
    revoked.assert_closed(3000, "revoked");
    assert_delivers(&redis, &mut kept, "ann");
}

#[test]
fn a_flood_of_control_messages_that_mean_nothing_is_one_line_in_the_log() {
    let (redis, gateway) = start(|settings| settings.set("server.shards", 4));
    let mut client = open(&gateway, &token::of("ann"));
    redis.wait_numsub("sockway:control", 1);
    redis.publish_all("sockway:control", vec!["nonsense"; 500]);
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    client.assert_closed(3000, "revoked");
    let is_told = |line: &String| line.contains("on the control channel means nothing");
    gateway.process.stderr.wait_for("it is told", |line| is_told(line).then_some(()));
    assert_eq!(gateway.process.stderr.all().into_iter().filter(is_told).count(), 1);
}

#[test]
fn control_messages_that_say_nothing_known_change_nothing() {
    let (redis, gateway) = start(|settings| settings);
    let mut client = open(&gateway, &token::of("ann"));
    redis.wait_numsub("sockway:control", 1);
    for payload in [
        &b""[..],
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xFF",
        br#"{"disconnect":{"user":["ann"]}}"#,
        br#"{"disconnect":{}}"#,
        br#"{"disconnect":"ann"}"#,
        br#"{"disconnect":{"user":"*"}}"#,
        br#"{"disconnect":{"user":""}}"#,
        br#"{"disconnect":{"user":"ann","jti":"one"}}"#,
        br#"{"disconnect":{"user":"ann"},"jti":"one"}"#,
        br#"{"disconnect":{"user":"bob","user":"ann"}}"#,
        br#"{"disconnect":[{"user":"ann"}]}"#,
        br#"{"disconnect":{"user":"ann"}} {"disconnect":{"user":"ann"}}"#,
        br#"{"disconnect":{"jti":""}}"#,
        br#"{"connect":{"user":"ann"}}"#,
    ] {
        redis.publish("sockway:control", payload);
    }
    redis.publish("sockway:control", "[".repeat(1 << 20));
    assert_delivers(&redis, &mut client, "ann");
}

#[test]
fn after_a_refresh_it_is_the_later_tokens_name_that_is_revoked() {
    let (redis, gateway) = start(|settings| settings);
    let named =
        |jti: &str, life: i64| signed(&json!({"sub": "ann", "exp": now() + life, "jti": jti}));
    let mut refreshed = open(&gateway, &named("first", 600));
    refresh(&mut refreshed, &named("second", 900));
    let mut kept = open(&gateway, &named("long", 900));
    refresh(&mut kept, &named("short", 60));
    for client in [&mut refreshed, &mut kept] {
        // Frames are handled in order: with the pong, the refresh has been handled too.
        client.send(crate::rig::client::PING, b"");
        assert!(matches!(client.frame(), crate::rig::Frame::Pong(_)));
    }
    redis.wait_numsub("sockway:control", 1);
    for gone in ["first", "short"] {
        redis.publish("sockway:control", json!({"disconnect": {"jti": gone}}).to_string());
    }
    assert_eq!(redis.publish("user:ann", "\"hello\""), 1);
    assert_eq!(
        (refreshed.json()["data"].as_str(), kept.json()["data"].as_str()),
        (Some("hello"), Some("hello"))
    );
    for (jti, client) in [("second", &mut refreshed), ("long", &mut kept)] {
        redis.publish("sockway:control", json!({"disconnect": {"jti": jti}}).to_string());
        client.assert_closed(3000, "revoked");
    }
}

#[test]
fn a_refresh_does_not_undo_a_revocation() {
    // Each shard handles a revocation in its own time: with two, a client that is back within that moment
    // may be closed once more.
    let (redis, gateway) = start(|settings| settings.set("server.shards", 1));
    redis.wait_numsub("sockway:control", 1);
    for _ in 0..20 {
        let mut client = open(&gateway, &token::of("ann"));
        redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
        let frame = json!({"type": "refresh", "token": token::of("ann")}).to_string();
        client.try_send(TEXT, frame.as_bytes());
        assert_eq!(client.until_closed(), (vec![], (3000, "revoked".to_owned())));
    }
}

#[test]
fn why_a_newer_token_was_not_accepted_is_in_the_log_and_nothing_of_the_token_is() {
    let (_redis, gateway) = start(|settings| settings);
    let mut client = open(&gateway, &token::of("ann"));
    let forged = token::of("ann") + "x";
    refresh(&mut client, &forged);
    client.assert_closed(3000, "token_invalid");
    let line = gateway.process.stderr.wait_for("the cause", |line| {
        line.contains("a newer token was not accepted").then(|| line.clone())
    });
    assert!(line.contains("the token's signature is wrong"), "{line}");
    assert!(gateway.process.stderr.all().iter().all(|line| !line.contains(&forged)));
}

#[test]
fn an_older_token_does_not_shorten_a_sessions_life() {
    let (redis, gateway) = start(|settings| settings);
    let mut client = open(&gateway, &token::of("ann"));
    let older = short("ann", 5);
    refresh(&mut client, &older);
    until("the older token has expired", || {
        gateway.send(&Request::upgrade("/ws/me").bearer(&older)).status == 401
    });
    assert_delivers(&redis, &mut client, "ann");
}

#[test]
fn without_a_control_channel_nothing_is_subscribed_for_it() {
    let (redis, gateway) = start(|settings| settings.set("redis.control_channel", ""));
    let mut client = open(&gateway, &token::of("ann"));
    assert_eq!(redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#), 0);
    assert_delivers(&redis, &mut client, "ann");
}

#[test]
fn a_session_ends_with_its_token() {
    let (_redis, gateway) = start(|settings| settings);
    let mut client = open(&gateway, &short("ann", 5));
    let mut lasting = open(&gateway, &token::of("ann"));
    client.assert_closed(3000, "token_expired");
    lasting.send(crate::rig::client::PING, b"still here");
    assert!(matches!(lasting.frame(), crate::rig::Frame::Pong(_)));
}

#[test]
fn a_refreshed_session_outlives_its_first_token() {
    let (redis, gateway) = start(|settings| settings);
    let first = short("ann", 6);
    let mut refreshed = open(&gateway, &first);
    let mut forgetful = open(&gateway, &first);
    refresh(&mut refreshed, &short("ann", 600));
    forgetful.assert_closed(3000, "token_expired");
    until("the first token has expired for good", || {
        gateway.send(&Request::upgrade("/ws/me").bearer(&first)).status == 401
    });
    assert_delivers(&redis, &mut refreshed, "ann");
}

#[test]
fn a_refresh_that_does_not_verify_or_names_another_user_ends_the_session() {
    let (_redis, gateway) = start(|settings| settings);
    for (token, reasons) in [
        ("garbage".to_owned(), &[(3000, "token_invalid")][..]),
        (short("ann", -60), &[(3000, "token_expired")]),
        (token::of("bob"), &[(3000, "token_invalid"), (3003, "forbidden")]),
    ] {
        let mut client = open(&gateway, &token::of("ann"));
        refresh(&mut client, &token);
        let (texts, (code, reason)) = client.until_closed();
        assert!(texts.is_empty() && reasons.contains(&(code, reason.as_str())), "{code} {reason}");
    }
}

#[test]
fn on_a_raw_endpoint_a_refresh_is_a_message_like_any_other() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(notifications().set("inbound", "close"));
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open_as("ann", "/ws/me");
    refresh(&mut client, &token::of("ann"));
    client.assert_closed(1003, "unexpected_message");
}
