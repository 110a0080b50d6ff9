//! The three forms of a request, and what each is answered.

use super::{Caller, TOKEN, post, publish, settings, start, with_token};
use crate::rig::{Endpoint, Frame, Gateway, Redis, resp::Reply, settings::notifications};
use serde_json::json;

#[test]
fn a_body_is_published_byte_for_byte_to_the_channel_of_the_path() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/7");
    let answer = publish(&gateway, "/publish/room:7", "plain text, \"as it is\"\n");
    assert_eq!((answer.status, answer.json()), (200, json!({"channel": "room:7", "receivers": 1})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(client.text(), "plain text, \"as it is\"\n");
    assert_eq!(publish(&gateway, "/publish/room%3A7", b"\xff\x00").status, 200);
    assert_eq!(client.event(), Frame::Binary(vec![0xff, 0]));
    // The empty message is one, too.
    assert_eq!(publish(&gateway, "/publish/room:7", "").status, 200);
    assert_eq!(client.text(), "");
    let nobody = publish(&gateway, "/publish/room:a%2Fb", "x").json();
    assert_eq!(nobody, json!({"channel": "room:a/b", "receivers": 0}));
    let published = gateway.metrics();
    let series = "sockway_publishes_total{source=\"http\",result=\"published\"}";
    assert_eq!(published.get(series), 4.0);
}

#[test]
fn a_route_is_an_address_of_its_own_for_the_channels_of_a_template() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/7");
    let answer = publish(&gateway, "/room/7/message", "hello");
    assert_eq!(answer.json(), json!({"channel": "room:7", "receivers": 1}));
    assert_eq!(client.text(), "hello");
    // The channel that results must be among the token's.
    publish(&gateway, "/notify/42", "x").assert_refused(403, "channel_not_allowed");
    publish(&gateway, "/room/a%3Ab/message", "x").assert_refused(400, "channel_invalid");
}

#[test]
fn json_names_one_channel_several_or_a_batch_and_data_goes_as_it_was_written() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let (mut one, mut two) = (gateway.open("/ws/rooms/1"), gateway.open("/ws/rooms/2"));
    let answer = publish(&gateway, "/publish", r#"{"channel":"room:1","data":{"n" : 1.50}}"#);
    let results = json!({"results": [{"channel": "room:1", "receivers": 1}], "failed": 0});
    assert_eq!((answer.status, answer.json()), (200, results));
    assert_eq!(one.text(), r#"{"n" : 1.50}"#);
    let both = r#"{"channels":["room:1","orders","room:2"],"data_base64":"aGk="}"#;
    let results = json!({"results": [
        {"channel": "room:1", "receivers": 1},
        {"channel": "orders", "error": "channel_not_allowed"},
        {"channel": "room:2", "receivers": 1},
    ], "failed": 1});
    assert_eq!(publish(&gateway, "/publish", both).json(), results);
    assert_eq!((one.text(), two.text()), ("hi".to_owned(), "hi".to_owned()));
    let batch = r#"{"batch":[{"channel":"room:2","data":1},{"channel":"","data":2},
        {"channels":["room:2","sockway:probe"],"data":"three"}]}"#;
    let results = json!({"results": [
        {"channel": "room:2", "receivers": 1},
        {"channel": "", "error": "channel_invalid"},
        {"channel": "room:2", "receivers": 1},
        {"channel": "sockway:probe", "error": "channel_not_allowed"},
    ], "failed": 2});
    assert_eq!(publish(&gateway, "/publish", batch).json(), results);
    assert_eq!((two.text(), two.text()), ("1".to_owned(), "\"three\"".to_owned()));
}

#[test]
fn a_batch_keeps_its_order_and_is_as_large_as_the_configuration_says() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/1");
    let batch = |count: usize| {
        let items: Vec<_> =
            (0..count).map(|n| format!(r#"{{"channel":"room:1","data":{n}}}"#)).collect();
        format!(r#"{{"batch":[{}]}}"#, items.join(","))
    };
    let answer = publish(&gateway, "/publish", batch(1_000)).json();
    assert_eq!(answer["failed"], 0);
    assert_eq!(answer["results"].as_array().expect("a list").len(), 1_000);
    for number in 0..1_000 {
        assert_eq!(client.text(), number.to_string());
    }
    publish(&gateway, "/publish", batch(1_001)).assert_refused(413, "body_too_large");
}

#[test]
fn a_channel_that_is_a_stream_is_written_as_one_and_trimmed() {
    let redis = Redis::start();
    let stream = "channels = [\"room:kept:*\"]\nkeep_entries = 0\nexpire_after = \"1h\"";
    let settings =
        settings(&redis).append("http_publish.stream", stream.parse().expect("TOML")).endpoint(
            Endpoint::streams("history", "/ws/history/{room}", &["history:{path.room}"]).open(),
        );
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open("/ws/history/7");
    let answer = publish(&gateway, "/publish/history:7", "kept").json();
    assert_eq!(client.text(), "kept");
    let Reply::List(entries) = redis.command(&["XRANGE", "history:7", "-", "+"]) else {
        panic!("a list of entries")
    };
    let Reply::List(entry) = &entries[0] else { panic!("an entry") };
    assert_eq!(entry[0].clone().text(), answer["id"]);
    assert_eq!(publish(&gateway, "/publish/room:kept:1", "x").status, 200);
    let Reply::Integer(left) = redis.command(&["PTTL", "room:kept:1"]) else { panic!("a number") };
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
}

#[test]
fn only_a_token_that_names_the_control_channel_may_revoke() {
    let redis = Redis::start();
    let settings = with_token(settings(&redis), "any", &["*"]);
    let settings = with_token(settings, "revoker", &["sockway:control"]).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    let mut client = gateway.open_as("42", "/ws/me");
    let body = br#"{"disconnect":{"user":"42"}}"#;
    let mut caller = Caller::to(gateway.address);
    let mut ask = |token: &str| {
        let request = post("/publish/sockway:control", body);
        caller.ask(&request.without("Authorization").bearer(token), body)
    };
    for token in [TOKEN, "any"] {
        ask(token).assert_refused(403, "channel_not_allowed");
    }
    assert_eq!(ask("revoker").status, 200);
    assert_eq!(client.until_closed().1, (3000, "revoked".to_owned()));
}
