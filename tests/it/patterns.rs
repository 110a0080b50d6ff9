//! Patterns of channels, with a real Redis.

use crate::rig::{Client, Endpoint, Gateway, Redis, Request, Settings, token};
use serde_json::{Value, json};

fn rooms() -> Endpoint {
    Endpoint::new("rooms", "/ws/rooms", &["news"])
        .open()
        .set("format", "json")
        .set("patterns", vec!["chat:room:*"])
}

fn tenants() -> Endpoint {
    Endpoint::new("tenants", "/ws/tenants", &["none"])
        .set("format", "json")
        .set("patterns", vec!["tenant:{claim.tenant}:*", "user:{user}:*"])
}

fn plain() -> Endpoint {
    Endpoint::new("plain", "/ws/{room}", &["chat:room:{path.room}"]).open().set("format", "json")
}

fn settings(redis: &Redis) -> Settings {
    Settings::new(redis).endpoint(rooms()).endpoint(tenants()).endpoint(plain())
}

fn ready(client: &mut Client) -> Value {
    let ready = client.json();
    assert_eq!(ready["type"], "ready");
    ready
}

fn matched(pattern: &str, channel: &str, data: u64) -> Value {
    json!({"type": "message", "channel": channel, "pattern": pattern, "data": data})
}

#[test]
fn a_message_names_its_channel_and_its_pattern_and_goes_to_each_subscriber_once() {
    let redis = Redis::start();
    let settings = settings(&redis).set("redis.channel_prefix", "app.");
    let gateway = Gateway::start(&settings);
    let (mut all, mut one) = (gateway.open("/ws/rooms"), gateway.open("/ws/7"));
    let told = ready(&mut all);
    assert_eq!((&told["channels"], &told["patterns"]), (&json!(["news"]), &json!(["chat:room:*"])));
    ready(&mut one);
    for number in 0..100 {
        redis.publish("app.chat:room:7", number.to_string());
        assert_eq!(all.json(), matched("chat:room:*", "chat:room:7", number));
        let plain = json!({"type": "message", "channel": "chat:room:7", "data": number});
        assert_eq!(one.json(), plain);
    }
    redis.publish("app.chat:room:8:9", "1");
    redis.publish("app.news", "2");
    assert_eq!(all.json(), matched("chat:room:*", "chat:room:8:9", 1));
    assert_eq!(all.json()["channel"], "news");
    gateway.wait_metric("sockway_patterns", 1.0);
    drop(all);
    gateway.wait_metric("sockway_patterns", 0.0);
    let none = crate::rig::resp::Reply::Integer(0);
    crate::rig::wait::until("Redis has none", || redis.command(&["PUBSUB", "NUMPAT"]) == none);
}

#[test]
fn a_pattern_of_a_claim_matches_the_values_of_that_token_alone() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let claims = json!({"sub": "4", "tenant": ["acme", "b"], "exp": token::now() + 3600});
    let mut client = gateway.open_with(&token::signed(&claims), "/ws/tenants");
    assert_eq!(ready(&mut client)["patterns"], json!(["tenant:acme:*", "tenant:b:*", "user:4:*"]));
    for channel in ["tenant:c:x", "user:42:x", "tenant:ab:x", "user:4"] {
        redis.publish(channel, "0");
    }
    redis.publish("user:4:x", "1");
    assert_eq!(client.json(), matched("user:4:*", "user:4:x", 1));
    let many = json!({"sub": "4", "tenant": ["a", "b", "c", "d"], "exp": token::now() + 3600});
    let request = Request::upgrade(&format!("/ws/tenants?token={}", token::signed(&many)));
    gateway.send(&request).assert_refused(403, "too_many_values");
}

#[test]
fn what_is_sockways_own_goes_through_no_pattern() {
    let redis = Redis::start();
    let all = Endpoint::new("all", "/ws/all", &[]).open();
    let all = all.set("format", "json").set("patterns", vec!["*"]);
    // The probe and the control channel by names of one's own, as well.
    let settings = Settings::new(&redis).set("redis.probe_channel", "probe").endpoint(all);
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open("/ws/all");
    ready(&mut client);
    redis.publish("sockway:presence:x", "0");
    redis.publish("sockway:control", "{}");
    redis.publish("probe", "0");
    redis.publish("__keyevent@0__:set", "0");
    redis.publish("anything", "1");
    assert_eq!(client.json(), matched("*", "anything", 1));
}

/// With the prefix `__key` the channel `event@0__:set` is Redis's `__keyevent@0__:set`.
#[test]
fn what_redis_tells_of_keys_goes_through_no_pattern_also_where_the_prefix_begins_its_name() {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    let everything = Endpoint::new("all", "/ws/all", &["none"]).open().set("format", "json");
    let settings = Settings::new(&redis).set("redis.channel_prefix", "__key");
    let gateway = Gateway::start(&settings.endpoint(everything.set("patterns", vec!["e*"])));
    let mut client = gateway.open("/ws/all");
    ready(&mut client);
    redis.command(&["SET", "somebody's", "1"]);
    redis.publish("__keyecho", "1");
    assert_eq!(client.json(), matched("e*", "echo", 1));
}

#[test]
fn a_lost_link_is_one_gap_for_the_pattern_and_then_messages_come_again() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis));
    let mut client = gateway.open("/ws/rooms");
    ready(&mut client);
    redis.kill();
    gateway.wait_unready();
    redis.begin();
    let mut told = [client.json(), client.json()];
    told.sort_by_key(|gap| gap["pattern"].is_null());
    let gap = json!({"type": "gap", "pattern": "chat:room:*", "reason": "redis_reconnected", "missed": null});
    assert_eq!(told[0], gap);
    assert_eq!(told[1]["channel"], "news");
    redis.publish("chat:room:7", "1");
    assert_eq!(client.json(), matched("chat:room:*", "chat:room:7", 1));
}

#[test]
fn one_pattern_more_than_the_instance_may_have_is_503_until_there_is_room() {
    let redis = Redis::start();
    let gateway = Gateway::start(&settings(&redis).set("redis.max_patterns", 2));
    let open = |user: &str| {
        let claims = json!({"sub": user, "tenant": "t", "exp": token::now() + 3600});
        Request::upgrade(&format!("/ws/tenants?token={}", token::signed(&claims)))
    };
    let first = Client::open(gateway.address, &open("1"));
    let same = Client::open(gateway.address, &open("1"));
    gateway.send(&open("2")).assert_refused(503, "pattern_limit");
    let refused = "sockway_handshakes_refused_total{reason=\"pattern_limit\"}";
    gateway.wait_metric(refused, 1.0);
    drop((first, same));
    let mut admitted = None;
    crate::rig::wait::until("there is room", || {
        admitted = Client::try_open(gateway.address, &open("2")).ok();
        admitted.is_some()
    });
}

#[test]
fn patterns_need_no_right_but_psubscribe_and_their_channels_and_cost_nobody_else_when_refused() {
    let redis = Redis::start();
    let rights = |more: &[&str]| {
        let rules = [
            "ACL",
            "SETUSER",
            "gateway",
            "on",
            ">right",
            "resetchannels",
            "&news",
            "&sockway:*",
            "&chat:room:1",
            "-@all",
            "+subscribe",
            "+unsubscribe",
            "+ping",
            "+hello",
            "+auth",
            "+quit",
            "+reset",
            "+client|setname",
            "+client|id",
            "+publish",
        ];
        redis.command(&[&rules[..], more].concat());
    };
    rights(&[]);
    let settings = settings(&redis).set("redis.username", "gateway").set("redis.password", "right");
    let gateway = Gateway::start(&settings);
    let mut neighbour = gateway.open("/ws/1");
    ready(&mut neighbour);
    gateway.send(&Request::upgrade("/ws/rooms")).assert_refused(503, "channel_refused");
    rights(&["+psubscribe", "+punsubscribe"]);
    gateway.wait_ready();
    gateway.send(&Request::upgrade("/ws/rooms")).assert_refused(503, "channel_refused");
    // Redis permits a pattern only where the very same one is allowed.
    rights(&["+psubscribe", "+punsubscribe", "&chat:room:*"]);
    let mut admitted = None;
    crate::rig::wait::until("the pattern is permitted", || {
        admitted = Client::try_open(gateway.address, &Request::upgrade("/ws/rooms")).ok();
        admitted.is_some()
    });
    let mut client = admitted.expect("just seen");
    ready(&mut client);
    redis.publish("chat:room:1", "1");
    assert_eq!(client.json(), matched("chat:room:*", "chat:room:1", 1));
}
