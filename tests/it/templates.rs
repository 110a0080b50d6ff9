//! No client can name another's channel, or a pattern: invalid template values are refused
//! before anything is sent to Redis.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    settings::{notifications, rooms},
    token,
};
use serde_json::{Value, json};

fn start(redis: &Redis) -> Gateway {
    let settings = Settings::new(redis)
        .endpoint(notifications())
        .endpoint(rooms())
        .endpoint(Endpoint::new("tenants", "/ws/tenant", &["tenant:{claim.tenant}"]))
        .endpoint(Endpoint::new("groups", "/ws/groups", &["group:{claim.groups}"]))
        .endpoint(Endpoint::new("roles", "/ws/roles", &["role:{claim.realm_access.roles}"]))
        .endpoint(Endpoint::new("events", "/ws/events", &["events:{query.types}"]).open());
    Gateway::start(&settings)
}

/// Values that must never become part of a channel's name.
const EVIL: [&str; 20] = [
    "*", "?", "a*", "a:b", "[ab]", "{x}", "a b", "a\"b", "a\\b", "\r\n", "a\0", "", "\u{7f}", "ä",
    "\u{202e}", "a]", "a[", "}", "{", " ",
];

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn evil_values_are_refused_and_redis_sees_no_subscribe() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut monitor = redis.connect().monitor();
    let long = "x".repeat(129);
    for evil in EVIL.iter().copied().chain([long.as_str()]) {
        by_user(&gateway, evil);
        by_claim(&gateway, &json!(evil));
        by_url(&gateway, evil);
    }
    redis.command(&["ECHO", "nothing more"]);
    let seen = monitor.up_to("nothing more");
    let subscribed: Vec<_> =
        seen.iter().filter(|line| line.to_ascii_lowercase().contains("subscribe")).collect();
    assert_eq!(subscribed, Vec::<&String>::new());
    assert_no_control_characters(&gateway);
}

#[track_caller]
fn by_user(gateway: &Gateway, evil: &str) {
    let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&token::of(evil)));
    // A token without a usable user may also be refused as one that does not verify.
    match (evil, answer.status) {
        ("", 401) => answer.assert_refused(401, "token_invalid"),
        _ => answer.assert_refused(403, "value_not_allowed"),
    }
}

#[track_caller]
fn by_claim(gateway: &Gateway, tenant: &Value) {
    let claims = json!({"sub": "ann", "exp": token::now() + 60, "tenant": tenant});
    let request = Request::upgrade("/ws/tenant").bearer(&token::signed(&claims));
    gateway.send(&request).assert_refused(403, "value_not_allowed");
}

#[track_caller]
fn by_url(gateway: &Gateway, evil: &str) {
    if !evil.is_empty() {
        let request = Request::upgrade(&format!("/ws/rooms/{}", percent(evil)));
        gateway.send(&request).assert_refused(403, "value_not_allowed");
    }
    let request = Request::upgrade(&format!("/ws/events?types={}", percent(evil)));
    gateway.send(&request).assert_refused(403, "value_not_allowed");
}

#[track_caller]
fn assert_no_control_characters(gateway: &Gateway) {
    for line in gateway.process.stderr.all() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn values_of_128_printable_characters_are_allowed() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let room = format!("A-z_0.9~!$&'()+,;=@#%^|<>/`{}", "x".repeat(101));
    assert_eq!(room.len(), 128);
    let mut client = gateway.open(&format!("/ws/rooms/{}", percent(&room)));
    assert_eq!(redis.publish(&format!("room:{room}"), "here"), 1);
    assert_eq!(client.text(), "here");
}

#[test]
fn a_claim_that_is_missing_or_cannot_be_used_is_refused_and_named_in_the_log() {
    let redis = Redis::start();
    let gateway = start(&redis);
    for (claims, code) in [
        (json!({}), "claim_missing"),
        (json!({"groups": []}), "claim_missing"),
        (json!({"groups": {"a": 1}}), "claim_unusable"),
        (json!({"groups": null}), "claim_unusable"),
        (json!({"groups": ["a", null]}), "claim_unusable"),
        (json!({"groups": [["a"]]}), "claim_unusable"),
        (json!({"groups": ["a", "b:c"]}), "value_not_allowed"),
        (json!({"groups": (0..33).collect::<Vec<_>>()}), "too_many_values"),
    ] {
        let answer = gateway.send(&Request::upgrade("/ws/groups").bearer(&token_with(&claims)));
        answer.assert_refused(403, code);
        gateway.process.stderr.wait_for(code, |line| {
            (line.contains(code) && line.contains("{claim.groups}")).then_some(())
        });
    }
    assert!(!gateway.process.stderr.text().contains("b:c"), "a value is in the log");
}

fn token_with(claims: &Value) -> String {
    let mut all = json!({"sub": "ann", "exp": token::now() + 60});
    let members = claims.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(members);
    token::signed(&all)
}

#[test]
fn a_list_in_a_claim_gives_a_channel_for_each_item_and_a_name_reaches_into_objects() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let groups = token_with(&json!({"groups": ["a", 7, true]}));
    let mut client = gateway.open_with(&groups, "/ws/groups");
    for channel in ["group:a", "group:7", "group:true"] {
        assert_eq!(redis.publish(channel, channel), 1);
        assert_eq!(client.text(), channel);
    }
    let roles = token_with(&json!({"realm_access": {"roles": ["x", "y"]}}));
    let mut client = gateway.open_with(&roles, "/ws/roles");
    assert_eq!(redis.publish("role:y", "for y"), 1);
    assert_eq!(client.text(), "for y");
    let many = token_with(&json!({"groups": (0..32).collect::<Vec<_>>()}));
    gateway.open_with(&many, "/ws/groups");
}

#[test]
fn a_claim_gives_the_channel() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let claims = json!({"sub": "ann", "exp": token::now() + 60, "tenant": "acme"});
    let mut client = gateway.open_with(&token::signed(&claims), "/ws/tenant");
    redis.publish("tenant:acme", "for the tenant");
    assert_eq!(client.text(), "for the tenant");
}
