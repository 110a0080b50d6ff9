//! No client can name another's channel, or a pattern: invalid template values are refused
//! before anything is sent to Redis.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    client::TEXT,
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
const EVIL: [&str; 22] = [
    "%", "a%2Fb", "*", "?", "a*", "a:b", "[ab]", "{x}", "a b", "a\"b", "a\\b", "\r\n", "a\0", "",
    "\u{7f}", "ä", "\u{202e}", "a]", "a[", "}", "{", " ",
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
    let room = format!("A-z_0.9~!$&'()+,;=@#-^|<>/`{}", "x".repeat(101));
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

#[test]
fn an_escaped_user_has_the_channel_of_its_encoded_name_and_no_other_user_has() {
    let redis = Redis::start();
    let escaped = Endpoint::new("escaped", "/ws/me", &["user:{user|escape}:inbox"]);
    let plain = Endpoint::new("plain", "/ws/plain", &["user:{user}:inbox"]);
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(escaped).endpoint(plain));
    let named = [
        ("auth0|5f2", "user:auth0%7C5f2:inbox"),
        ("auth0%7C5f2", "user:auth0%257C5f2:inbox"),
        ("a:b *", "user:a%3Ab%20%2A:inbox"),
        ("ann@example.com", "user:ann@example.com:inbox"),
        ("\r\n\0", "user:%0D%0A%00:inbox"),
        ("é", "user:%C3%A9:inbox"),
    ];
    let mut clients = named.map(|(user, _)| gateway.open_as(user, "/ws/me"));
    for ((user, channel), client) in named.iter().zip(&mut clients) {
        assert_eq!(redis.publish(channel, user), 1, "{user:?}");
        assert_eq!(client.text(), *user);
    }
    let request = Request::upgrade("/ws/plain").bearer(&token::of("auth0%7C5f2"));
    gateway.send(&request).assert_refused(403, "value_not_allowed");
    let request = Request::upgrade("/ws/me").bearer(&token::of(&"é".repeat(65)));
    gateway.send(&request).assert_refused(403, "value_not_allowed");
    gateway.process.stderr.wait_for("the cause", |line| {
        (line.contains("{user}") && line.contains("longer than 128 bytes")).then_some(())
    });
    assert_no_control_characters(&gateway);
}

#[test]
fn a_refreshed_token_keeps_a_session_with_escaped_channels() {
    let redis = Redis::start();
    let templates = ["user:{user|escape}", "group:{claim.groups|escape}:{path.room|escape}"];
    let endpoint = Endpoint::new("all", "/ws/{room}", &templates).set("format", "json");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let token_of = |seconds: i64, groups: &Value| {
        let claims = json!({"sub": "a|b", "exp": token::now() + seconds, "groups": groups});
        token::signed(&claims)
    };
    let mut client = gateway.open_with(&token_of(60, &json!(["x y"])), "/ws/a%2Fb");
    assert_eq!(client.json()["channels"], json!(["user:a%7Cb", "group:x%20y:a%2Fb"]));
    let refresh = |token: &str| json!({"type": "refresh", "token": token}).to_string();
    client.send(TEXT, refresh(&token_of(90, &json!(["x y", "z"]))).as_bytes());
    gateway.wait_metric("sockway_refreshes_total{result=\"accepted\"}", 1.0);
    client.send(TEXT, refresh(&token_of(120, &json!(["z"]))).as_bytes());
    client.assert_closed(4010, "reconfigured");
}

#[test]
fn a_position_names_an_escaped_stream() {
    let redis = Redis::start();
    let streams = ["chat:{query.rooms|escape}"];
    let endpoint = Endpoint::streams("chat", "/ws", &streams).open().set("format", "json");
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let first = redis.add("chat:a%20b", "1");
    let second = redis.add("chat:a%20b", "2");
    let since = percent(&format!("chat:a%2520b@{first}"));
    let mut client = gateway.open(&format!("/ws?rooms=c,a%20b&since={since}"));
    let ready = client.json();
    assert_eq!(ready["streams"]["chat:a%20b"]["replayed"], json!(1), "{ready}");
    assert_eq!(client.json()["id"], json!(second));
}

#[test]
fn two_braces_are_a_hash_tag_in_the_channel_s_name() {
    let redis = Redis::start();
    let endpoint = Endpoint::new("tagged", "/ws/me", &["{{{user}}}:inbox"]);
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint));
    let mut client = gateway.open_as("7", "/ws/me");
    assert_eq!(redis.publish("{7}:inbox", "tagged"), 1);
    assert_eq!(client.text(), "tagged");
}

#[test]
fn no_value_makes_a_channel_of_sockway_s_own_and_the_log_says_which_template_would() {
    let redis = Redis::start();
    let any = Endpoint::new("any", "/ws/any/{a}/{b}", &["{path.a}:{path.b}"]).open();
    let escaped = Endpoint::new("escaped", "/ws/escaped/{a}", &["{path.a|escape}:control"]).open();
    let settings = Settings::new(&redis)
        .set("redis.channel_prefix", "app:")
        .set("redis.control_channel", "ctl:all")
        .endpoint(any)
        .endpoint(escaped);
    let gateway = Gateway::start(&settings);
    for path in ["any/sockway/probe", "any/sockway/x", "any/ctl/all", "escaped/sockway"] {
        let request = Request::upgrade(&format!("/ws/{path}"));
        gateway.send(&request).assert_refused(403, "value_not_allowed");
    }
    gateway.process.stderr.wait_for("the template", |line| {
        (line.contains("{path.a}:{path.b}") && line.contains("sockway:")).then_some(())
    });
    assert_eq!(redis.numsub("app:sockway:x"), 0);
    for (path, channel) in [("any/ctl/al", "app:ctl:al"), ("any/app/sockway", "app:app:sockway")] {
        let mut client = gateway.open(&format!("/ws/{path}"));
        assert_eq!(redis.publish(channel, "allowed"), 1);
        assert_eq!(client.text(), "allowed");
    }
}
