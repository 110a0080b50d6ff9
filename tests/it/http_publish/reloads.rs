//! Reloads: what changes at once, also for connections that go on, and what refuses the whole.

use super::{Caller, TOKEN, post, publish, settings, start, with_token};
use crate::rig::{Gateway, Redis, Settings, settings::rooms};

#[test]
fn a_token_that_is_taken_away_is_refused_on_the_very_next_request_of_its_connection() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut caller = Caller::to(gateway.address);
    assert_eq!(caller.post("/publish/room:1", "x").status, 200);
    let other = with_token(Settings::new(&redis).endpoint(rooms()), "another", &["room:*"]);
    assert!(gateway.reload(&other));
    let request = post("/publish/room:1", b"x").without("Authorization").bearer("another");
    assert_eq!(Caller::to(gateway.address).ask(&request, b"x").status, 200);
    caller.post("/publish/room:1", "x").assert_refused(401, "token_invalid");
}

#[test]
fn the_whole_table_comes_and_goes() {
    let redis = Redis::start();
    let without = Settings::new(&redis).endpoint(rooms());
    let gateway = Gateway::start(&without);
    publish(&gateway, "/publish/room:1", "x").assert_refused(404, "not_found");
    assert!(gateway.reload(&settings(&redis)));
    let mut caller = Caller::to(gateway.address);
    assert_eq!(caller.post("/publish/room:1", "x").status, 200);
    assert!(gateway.reload(&without));
    caller.post("/publish/room:1", "x").assert_refused(404, "not_found");
}

#[test]
fn a_request_that_is_under_way_when_the_table_goes_is_answered_and_so_is_the_next() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut caller = Caller::to(gateway.address);
    let request = post("/publish/room:1", b"whole").header("Expect", "100-continue");
    caller.send(&request.encode());
    // It has looked at the table.
    assert_eq!(caller.answer().status, 100);
    assert!(gateway.reload(&Settings::new(&redis).endpoint(rooms())));
    caller.send(b"whole");
    assert_eq!(caller.answer().status, 200);
    caller.post("/publish/room:1", "x").assert_refused(404, "not_found");
}

#[test]
fn another_port_needs_a_restart() {
    let redis = Redis::start();
    let gateway = start(&redis);
    assert!(!gateway.reload(&settings(&redis).set("http_publish.listen", "127.0.0.1:0")));
    gateway.refused_because("http_publish.listen");
    let request = post("/publish/room:1", b"x");
    assert_eq!(Caller::to(gateway.address).ask(&request, b"x").status, 200, "{TOKEN}");
}
