//! What a stream's session is refused, and closed for.

use super::{Guest, STREAM, Scene, raw, rooms};
use crate::rig::{
    Client, Endpoint, Frame, Gateway, Redis, Request, Settings, client::TEXT,
    settings::rooms as channel_rooms, token, wait::until,
};
use serde_json::json;

#[test]
fn a_key_that_is_no_stream_refuses_new_sessions_and_closes_those_that_have_it() {
    let scene = Scene::new();
    let mut guest = scene.open("");
    let _ = scene.redis.command(&["SET", STREAM, "a string"]);
    let closed = guest.client.event();
    assert_eq!(closed, Frame::Close(4012, "channel_refused".to_owned()));
    scene.refused("", 503, "channel_refused");
}

#[test]
fn what_is_wrong_with_a_position_is_said_by_its_code() {
    let scene = Scene::new();
    for query in ["?since=5", "?since=", "?since=1-0&since=1-0", "?last=x", "?last="] {
        scene.refused(query, 400, "since_invalid");
    }
    assert_eq!(scene.open("?last_event_id=x").ready["reason"], json!("reset"));
    let request = Request::upgrade("/ws/rooms/7").header("Last-Event-ID", "9-9");
    let guest = Guest::over(Client::open(scene.gateway.address, &request));
    assert_eq!(guest.ready["reason"], json!("reset"), "a position of the future");
}

#[test]
fn a_stream_that_redis_forbids_refuses_new_sessions_and_closes_those_that_have_it() {
    let redis = Redis::start();
    let forbid = |rules: &[&str]| redis.command(&[&["ACL", "SETUSER", "default"], rules].concat());
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms().set("format", "json")));
    let mut guest = Guest::open(&gateway, "");
    let others = Guest::open(&gateway, "");
    drop(others);
    forbid(&["resetkeys", "~sockway:*", "~other:*"]);
    // The next reading of the stream is refused; the backend that wakes it needs no rights of its own.
    let _ = redis.command(&["ACL", "SETUSER", "backend", "on", ">secret", "~*", "+@all"]);
    let mut backend = redis.connect();
    let _ = backend.command(&["AUTH", "backend", "secret"]);
    let _ = backend.command(&["XADD", STREAM, "*", "data", "1"]);
    let closed = guest.client.event();
    assert_eq!(closed, Frame::Close(4012, "channel_refused".to_owned()));
    gateway.send(&Request::upgrade("/ws/rooms/7")).assert_refused(503, "channel_refused");
    assert!(gateway.is_ready(), "one stream is not all of Redis");
    forbid(&["~*"]);
    until("the stream is permitted now", || {
        Client::try_open(gateway.address, &Request::upgrade("/ws/rooms/7")).is_ok()
    });
}

#[test]
fn a_refreshed_token_that_no_longer_gives_the_stream_closes_its_session_with_4010() {
    let redis = Redis::start();
    let endpoint = Endpoint::streams("mine", "/ws/mine", &["team:{claim.team}"]);
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(endpoint.set("format", "json")));
    let of = |team: &str, seconds| {
        token::signed(&json!({"sub": "ann", "team": team, "exp": token::now() + seconds}))
    };
    let mut client = gateway.open_with(&of("a", 600), "/ws/mine");
    assert_eq!(client.json()["streams"], json!({"team:a": {"id": "0-0"}}));
    let refresh = |client: &mut Client, token: &str| {
        client.send(TEXT, json!({"type": "refresh", "token": token}).to_string().as_bytes());
    };
    refresh(&mut client, &of("a", 700));
    gateway.wait_metric("sockway_refreshes_total{result=\"accepted\"}", 1.0);
    redis.add("team:a", "1");
    assert_eq!(client.json()["data"], json!(1), "it goes on");
    refresh(&mut client, &of("b", 800));
    client.assert_closed(4010, "reconfigured");
}

#[test]
fn a_reload_that_changes_the_streams_closes_with_4010_and_one_that_takes_the_last_with_4009() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(raw());
    let with = |rooms: Endpoint| settings.clone().endpoint(rooms.set("format", "json"));
    let gateway = Gateway::start(&with(rooms()));
    let mut tuned = Guest::open(&gateway, "");
    let mut other = gateway.open("/ws/raw/7");
    assert!(gateway.reload(&with(rooms().set("replay_messages", 5))));
    let more = Endpoint::streams("rooms", "/ws/rooms/{room}", &["chat:{path.room}", "news"]).open();
    assert!(gateway.reload(&with(more)));
    let closed = tuned.client.event();
    assert_eq!(closed, Frame::Close(4010, "reconfigured".to_owned()));
    let mut last = gateway.open("/ws/rooms/7");
    let ready = last.json();
    assert_eq!(ready["streams"].as_object().expect("two streams").len(), 2);
    assert!(gateway.reload(&with(channel_rooms())));
    last.assert_closed(4009, "gap");
    redis.add(STREAM, "still here");
    assert_eq!(other.text(), "still here");
}
