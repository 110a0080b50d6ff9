//! A browser's own `EventSource`, across origins, through a crash and a drain.

use crate::rig::{
    Gateway, HeldPort, Redis, Settings, chromium::Chromium, settings::notifications,
    settings::rooms, token,
};
use rustix::process::Signal;
use serde_json::json;

/// What the page keeps: every event, by name, with its data.
fn listen(browser: &mut Chromium, url: &str, options: &str) {
    let script = format!(
        "globalThis.seen = []; globalThis.opened = 0; globalThis.errors = 0;
         globalThis.source = new EventSource({url:?}, {options});
         source.onopen = () => opened++;
         source.onerror = () => errors++;
         for (const name of ['ready', 'message', 'gap', 'close', 'heartbeat', 'base64'])
           source.addEventListener(name, (event) => seen.push([name, event.data])); 1"
    );
    browser.value(&script);
}

fn settings(redis: &Redis, port: &HeldPort) -> Settings {
    Settings::new(redis)
        .set("server.listen", port.address().to_string())
        .endpoint(rooms().set("sse", true).set("heartbeat", "1s"))
        .endpoint(notifications().set("sse", true))
}

#[test]
fn an_event_source_comes_back_by_itself_after_a_crash_and_after_a_drain() {
    let redis = Redis::start();
    let port = HeldPort::new().expect("a free port");
    let settings = settings(&redis, &port);
    let mut gateway = Gateway::start(&settings);
    let mut browser = Chromium::start();
    listen(&mut browser, &format!("http://{}/ws/rooms/1", gateway.address), "{}");
    browser.wait("opened === 1 && seen[0][0] === 'ready'");
    for payload in ["hi", "two\nlines", "{\"a\": 1}", ""] {
        redis.publish("room:1", payload);
    }
    redis.publish("room:1", "a\rb");
    browser.wait("seen.some(([name]) => name === 'base64')");
    let said = browser.value("seen.filter(([name]) => name === 'message').map(([, data]) => data)");
    assert_eq!(said, json!(["hi", "two\nlines", "{\"a\": 1}", ""]));
    browser.wait("seen.some(([name]) => name === 'heartbeat')");

    gateway.process.signal(Signal::KILL);
    drop(gateway);
    browser.wait("errors > 0");
    gateway = Gateway::start(&settings);
    browser.wait("opened === 2 && seen.filter(([name]) => name === 'ready').length === 2");
    redis.publish("room:1", "after the crash");
    browser.wait("seen.some(([, data]) => data === 'after the crash')");

    gateway.terminate();
    browser.wait("seen.some(([name, data]) => name === 'close' && JSON.parse(data).code === 1012)");
    assert_eq!(gateway.process.exit_code(), 0);
    gateway = Gateway::start(&settings);
    browser.wait("opened === 3 && seen.filter(([name]) => name === 'ready').length === 3");
    redis.publish("room:1", "after the drain");
    browser.wait("seen.some(([, data]) => data === 'after the drain')");
    let doubled = browser.value("seen.filter(([name]) => name === 'message').length");
    assert_eq!(doubled, 6, "each message once");
    drop(gateway);
}

#[test]
fn an_event_source_that_is_revoked_is_told_so_and_does_not_come_back_by_itself() {
    let redis = Redis::start();
    let port = HeldPort::new().expect("a free port");
    let gateway = Gateway::start(&settings(&redis, &port));
    let mut browser = Chromium::start();
    let url = format!("http://{}/ws/me?token={}", gateway.address, token::of("ann"));
    listen(&mut browser, &url, "{}");
    browser.wait("seen.length === 1 && seen[0][0] === 'ready'");
    redis.publish("sockway:control", r#"{"disconnect":{"user":"ann"}}"#);
    browser.wait("seen.length === 2 && errors === 1");
    assert_eq!(browser.value("seen[1]"), json!(["close", r#"{"code":3000,"reason":"revoked"}"#]));
    assert_eq!(browser.value("source.readyState"), 0, "it waits, for a day");
    // A status that is refused ends it, which a page can see.
    listen(&mut browser, &format!("http://{}/ws/me", gateway.address), "{}");
    browser.wait("errors === 1 && source.readyState === 2");
}
