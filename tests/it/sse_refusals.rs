//! Who gets no stream of events, and how that is told: a status other than 200 ends a browser's
//! attempts for good.

use crate::rig::{
    Endpoint, Gateway, Redis, Request, Settings,
    events::{Events, request},
    http::{self, Response},
    settings::{notifications, rooms},
    token,
};
use std::io::{Read as _, Write as _};

const PAGE: &str = "https://shop.example";

fn both() -> Endpoint {
    rooms().set("sse", true)
}

fn start(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings =
        Settings::new(&redis).endpoint(both()).endpoint(notifications().set("sse", true));
    let gateway = Gateway::start(&change(settings));
    (redis, gateway)
}

fn from_page(request: Request) -> Request {
    request.header("Origin", PAGE)
}

fn assert_readable(answer: &Response, by: Option<&str>) {
    assert_eq!(answer.header("vary"), Some("Origin"), "{:?}", answer.headers);
    assert_eq!(answer.header("access-control-allow-origin"), by, "{:?}", answer.headers);
}

#[test]
fn what_is_wrong_for_good_is_a_status_that_the_page_may_read() {
    let (_redis, gateway) = start(|it| it.set("server.allowed_origins", vec![PAGE]));
    let expired = token::signed(&serde_json::json!({ "sub": "ann", "exp": token::now() - 3600 }));
    for (request, status, code) in [
        (request("/ws/me"), 401, "token_missing"),
        (request("/ws/me").bearer("garbage"), 401, "token_invalid"),
        (request("/ws/me").bearer(&expired), 401, "token_expired"),
        (request("/ws/me?token=a").bearer("b"), 400, "token_conflict"),
        (request("/ws/me").header("Content-Length", "3"), 400, "bad_handshake"),
        (request("/ws/rooms/a%20b"), 403, "value_not_allowed"),
        (Request::get("/ws/me"), 426, "upgrade_required"),
        (Request::line("POST /ws/me HTTP/1.1"), 405, "method_not_allowed"),
    ] {
        let answer = gateway.send(&from_page(request));
        answer.assert_refused(status, code);
        assert_readable(&answer, Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    gateway.send(&from_page(request("/nowhere"))).assert_refused(404, "not_found");
    let evil = gateway.send(&request("/ws/rooms/1").header("Origin", "https://evil.example"));
    evil.assert_refused(403, "origin_not_allowed");
    assert_readable(&evil, None);
    let mut stream = http::connect(gateway.address);
    stream.write_all(&Request::line("HEAD /ws/me HTTP/1.1").encode()).expect("taken");
    let mut head = String::new();
    stream.read_to_string(&mut head).expect("a head");
    assert!(head.starts_with("HTTP/1.1 405 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("\r\nAllow: GET, OPTIONS\r\n"), "{head}");
}

#[test]
fn a_preflight_is_answered_for_pages_that_may_connect_where_there_are_events() {
    let options = |path: &str| Request::line(&format!("OPTIONS {path} HTTP/1.1"));
    let (_redis, gateway) = start(|it| {
        it.set("server.allowed_origins", vec![PAGE])
            .endpoint(Endpoint::new("plain", "/plain", &["plain"]).open())
    });
    let answer = gateway.send(&from_page(options("/ws/me")));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_readable(&answer, Some(PAGE));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET"));
    let headers = answer.header("access-control-allow-headers");
    assert_eq!(headers, Some("Authorization, Last-Event-ID, Cache-Control"));
    gateway
        .send(&options("/ws/me").header("Origin", "https://evil.example"))
        .assert_refused(403, "origin_not_allowed");
    gateway.send(&from_page(options("/plain"))).assert_refused(405, "method_not_allowed");
}

#[test]
fn a_page_may_read_the_stream_and_its_cookies_count_where_they_are_tokens() {
    let (redis, gateway) = start(|it| {
        it.set("server.allowed_origins", vec![PAGE]).set("auth.sources", vec!["cookie:session"])
    });
    let request =
        from_page(request("/ws/me")).header("Cookie", &format!("session={}", token::of("ann")));
    let mut events = Events::open(gateway.address, &request);
    assert_readable(&events.head, Some(PAGE));
    assert_eq!(events.head.header("access-control-allow-credentials"), Some("true"));
    events.ready();
    redis.publish("user:ann", "yours");
    assert_eq!(events.message(), "yours");
}

#[test]
fn what_time_may_cure_is_a_stream_that_says_when_to_come_back() {
    let (mut redis, gateway) = start(|it| it.set("server.max_sessions_per_user", 1));
    let target = format!("/ws/me?token={}", token::of("ann"));
    let mut first = Events::open(gateway.address, &request(&target));
    first.ready();
    let told = |target: &str, code, reason| {
        let mut events = Events::open(gateway.address, &from_page(request(target)));
        assert_readable(&events.head, Some(PAGE));
        let retry = events.assert_closed(code, reason).expect("a time");
        assert!((2_000..=5_000).contains(&retry), "{retry}");
    };
    told(&target, 1013, "user_limit");
    redis.kill();
    gateway.wait_unready();
    told("/ws/rooms/1", 1013, "redis_unavailable");
    let refused = gateway.metrics();
    for reason in ["user_limit", "redis_unavailable"] {
        let series = format!("sockway_handshakes_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(refused.get(&series), 1.0);
    }
}

#[test]
fn connections_over_the_limits_are_told_by_a_stream_too() {
    let (_redis, gateway) = start(|it| it.set("server.max_connections_per_ip", 1));
    let mut first = Events::open(gateway.address, &request("/ws/rooms/1"));
    first.ready();
    let mut second = Events::open(gateway.address, &request("/ws/rooms/1"));
    second.assert_closed(1013, "address_limit");
    gateway.send(&request("/nowhere")).assert_refused(404, "not_found");
}

#[test]
fn a_request_that_waits_when_the_drain_begins_is_told_1012() {
    let (redis, mut gateway) = start(|it| it.set("shutdown.timeout", "120s"));
    redis.hang();
    let mut waiting = http::connect(gateway.address);
    waiting.write_all(&request("/ws/rooms/1").encode()).expect("taken");
    gateway.wait_metric("sockway_channels{state=\"wanted\"}", 1.0);
    gateway.terminate();
    Events::of(waiting).assert_closed(1012, "draining");
    redis.go_on();
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn reject_close_tells_a_page_why_and_keeps_its_browser_away() {
    let (_redis, gateway) = start(|it| it.set("auth.reject", "close"));
    for (target, code, reason) in [
        ("/ws/me", 3000, "token_missing"),
        ("/ws/me?token=a", 3000, "token_invalid"),
        ("/ws/rooms/a%20b", 3003, "forbidden"),
    ] {
        let mut events = Events::open(gateway.address, &request(target));
        assert_eq!(events.assert_closed(code, reason), Some(86_400_000));
    }
    gateway.send(&request("/nowhere")).assert_refused(404, "not_found");
}

#[test]
fn where_there_are_no_events_the_request_must_upgrade() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let answer = gateway.send(&from_page(request("/ws/rooms/1")));
    answer.assert_refused(426, "upgrade_required");
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (None, None));
}
