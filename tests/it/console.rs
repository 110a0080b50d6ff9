//! The console in a browser: the real page of `sockway dev`, in a headless Chromium.
//!
//! With `SOCKWAY_SCREENSHOTS=DIRECTORY` the tests' screenshots are kept in that directory.

use crate::rig::{
    Client, Gateway, Redis, Request, Settings,
    chromium::Chromium,
    process::{Process, sockway},
    settings::rooms,
};
use rustix::process::Signal;
use std::{env, fs, net::SocketAddr, path::Path};
use tempfile::TempDir;

struct Dev {
    process: Process,
    page: String,
    public: SocketAddr,
    _temporary: TempDir,
}

impl Dev {
    fn start() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let mut command = sockway();
        command.args(["dev", "--port", "0", "--admin-port", "0"]).env("TMPDIR", temporary.path());
        let process = Process::start(&mut command);
        process.stdout.wait_for("it says ready", |line| (line == "ready").then_some(()));
        let text = process.stdout.text();
        let word = |start: &str| {
            text.split_whitespace().find(|word| word.starts_with(start)).expect(start).to_owned()
        };
        let public = word("ws://").split('/').nth(2).and_then(|host| host.parse().ok());
        let public = public.expect("the public address");
        Self { page: word("http://"), public, process, _temporary: temporary }
    }

    fn admin(&self) -> SocketAddr {
        self.page.split('/').nth(2).and_then(|host| host.parse().ok()).expect("an address")
    }
}

fn text(id: &str) -> String {
    format!("document.getElementById({id:?}).textContent")
}

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name} shows nothing");
    if let Ok(directory) = env::var("SOCKWAY_SCREENSHOTS") {
        fs::write(Path::new(&directory).join(format!("{name}.png")), picture).expect("a file");
    }
}

#[test]
fn a_newcomer_connects_publishes_and_sees_it_arrive_without_a_complaint_of_the_browser() {
    let dev = Dev::start();
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait("!document.getElementById('try').hidden");
    browser.wait(&format!("{} === 'running'", text("phase")));
    browser.wait(&format!("{}.startsWith('last proof of life')", text("proof")));

    browser.value("document.getElementById('try-open').click()");
    browser.wait(&format!("{} === 'connected'", text("try-state")));
    browser.value("document.getElementById('try-message').value = '{\"hello\":\"<b>world</b>\"}'");
    browser.value("document.getElementById('try-publish').requestSubmit()");
    browser.wait(&format!("{}.includes('{{\"hello\":\"<b>world</b>\"}}')", text("try-log")));
    browser.wait(&format!("{} === '1'", text("sessions")));
    browser.wait(&format!("{}.includes('user:42:notifications')", text("busiest")));
    browser.wait("document.querySelector('#deliveries-chart path.series') !== null");

    for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)] {
        browser.prefers(scheme);
        browser.width(width);
        let wide = browser.value("document.documentElement.scrollWidth").as_u64();
        assert!(wide.is_some_and(|wide| wide <= u64::from(width)), "{width}: {wide:?}");
        let dark = browser
            .value("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 128");
        assert_eq!(dark, scheme == "dark");
        keep(&format!("{scheme}-{width}"), &browser.screenshot());
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_was_written_while_nobody_was_connected_comes_with_the_next_connection_and_once() {
    let dev = Dev::start();
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait("!document.getElementById('try').hidden");
    browser.value("document.getElementById('try-endpoint').selectedIndex = 2");
    browser.value("document.getElementById('try-endpoint').dispatchEvent(new Event('change'))");
    assert_eq!(browser.value(&text("try-channel-label")), "Stream");
    let write = |browser: &mut Chromium, number: u8| {
        browser.value("document.getElementById('try-result').textContent = ''");
        browser
            .value(&format!("document.getElementById('try-message').value = '{{\"n\":{number}}}'"));
        browser.value("document.getElementById('try-publish').requestSubmit()");
        browser.wait(&format!("{}.startsWith('Redis keeps it as ')", text("try-result")));
    };
    let toggle = |browser: &mut Chromium, state: &str| {
        browser.value("document.getElementById('try-open').click()");
        browser.wait(&format!("{} === '{state}'", text("try-state")));
    };
    write(&mut browser, 1);
    toggle(&mut browser, "connected");
    browser.wait(&format!("{}.includes('\"data\":{{\"n\":1}}')", text("try-log")));
    toggle(&mut browser, "not connected");
    write(&mut browser, 2);
    toggle(&mut browser, "connected");
    browser.wait(&format!("{}.includes('\"data\":{{\"n\":2}}')", text("try-log")));
    let first = format!("{}.split('\"data\":{{\"n\":1}}').length", text("try-log"));
    assert_eq!(browser.value(&first), 2, "the first came once");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_client_writes_sees_who_is_there_and_is_told_what_became_of_it() {
    let dev = Dev::start();
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait("!document.getElementById('try').hidden");
    let hidden = |id: &str| format!("document.getElementById({id:?}).hidden");
    assert_eq!(browser.value(&hidden("try-write")), true, "nothing may be written there");
    browser.value("document.getElementById('try-endpoint').selectedIndex = 2");
    browser.value("document.getElementById('try-endpoint').dispatchEvent(new Event('change'))");
    assert_eq!(browser.value(&hidden("try-write")), false);
    let send = "document.getElementById('try-write').requestSubmit()";
    browser.value(send);
    assert_eq!(browser.value(&text("try-answer")), "connect first");

    browser.value("document.getElementById('try-open').click()");
    browser.wait(&format!("{} === '1 here: 42'", text("try-present")));
    browser.value("document.getElementById('try-written').value = '<b>no JSON</b>'");
    browser.value(send);
    browser.wait(&format!("/^published, kept as [0-9]+-[0-9]+$/.test({})", text("try-answer")));
    browser.wait(&format!("/\"user\":\"42\".*<b>no JSON/.test({})", text("try-log")));
    for width in [1280, 390] {
        browser.width(width);
        let wide = browser.value("document.documentElement.scrollWidth").as_u64();
        assert!(wide.is_some_and(|wide| wide <= u64::from(width)), "{width}: {wide:?}");
        keep(&format!("write-{width}"), &browser.screenshot());
    }
    browser.value(&format!("for (let count = 0; count < 60; count += 1) {send}"));
    browser.wait(&format!(
        "/^refused rate_limited: again in [0-9]+ ms$/.test({})",
        text("try-answer")
    ));
    browser.value("document.getElementById('try-open').click()");
    browser.wait(&hidden("try-present"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_script_in_a_channel_name_or_a_message_stays_text() {
    let dev = Dev::start();
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait("!document.getElementById('try').hidden");
    let room = "<script>alert(1)</script>";
    let svg = "<svg/onload=alert(2)>";
    let _svg = Client::open(dev.public, &Request::upgrade("/ws/rooms/%3Csvg%2Fonload=alert(2)%3E"));

    browser.value("document.getElementById('try-endpoint').selectedIndex = 1");
    browser.value("document.getElementById('try-endpoint').dispatchEvent(new Event('change'))");
    browser.value(&format!(
        "document.getElementById('try-room').value = '{}'",
        room.replace('/', "\\/")
    ));
    browser.value("document.getElementById('try-room').dispatchEvent(new Event('input'))");
    browser.value("document.getElementById('try-open').click()");
    browser.wait(&format!("{} === 'connected'", text("try-state")));
    browser.value("document.getElementById('try-message').value = '<img src=x onerror=alert(3)>'");
    browser.value("document.getElementById('try-publish').requestSubmit()");

    browser.wait(&format!("{}.includes('<img src=x onerror=alert(3)>')", text("try-log")));
    browser.wait(&format!("{}.includes('room:{}')", text("busiest"), room.replace('/', "\\/")));
    browser.wait(&format!("{}.includes('room:{svg}')", text("busiest")));
    let made = "document.querySelectorAll('main script, main img, td svg, li *:not(time)').length";
    assert_eq!(browser.value(made), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn channels_are_searched_by_prefix() {
    let dev = Dev::start();
    let _clients = ["apple", "pear"]
        .map(|room| Client::open(dev.public, &Request::upgrade(&format!("/ws/rooms/{room}"))));
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait(&format!("{}.includes('room:pear')", text("busiest")));
    browser.value("document.getElementById('prefix').value = 'room:app'");
    browser.value("document.getElementById('prefix').dispatchEvent(new Event('input'))");
    browser.wait(&format!("!{}.includes('room:pear')", text("busiest")));
    assert_eq!(browser.value(&text("busiest")), "room:apple1");
}

#[test]
fn streams_are_shown_beside_channels_with_what_became_of_positions() {
    let redis = Redis::start();
    let streams = rooms().set("streams", vec!["chat:{path.room}"]);
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(streams));
    let mut browser = Chromium::start();
    browser.visit(&format!("http://{}/", gateway.admin));
    browser.wait(&format!("{} === 'no client has come back with a position'", text("replays")));

    let _clients = ["/ws/rooms/7", "/ws/rooms/7?since=0-0"].map(|target| gateway.open(target));
    browser.wait(&format!("{}.includes('chat:72')", text("busiest")));
    browser.wait(&format!("{}.includes('room:72')", text("busiest")));
    browser.wait(&format!("{} === '1 · 1'", text("channels")));
    assert_eq!(browser.value(&text("channels-title")), "Channels and streams");
    browser.wait(&format!("{} === 'all confirmed by Redis'", text("unconfirmed")));
    browser.wait(&format!("{}.startsWith('recovered')", text("replays")));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_gateway_that_does_not_answer_is_called_unreachable_and_welcomed_back() {
    let dev = Dev::start();
    let mut browser = Chromium::start();
    browser.visit(&dev.page);
    browser.wait(&format!("{} === 'running'", text("phase")));
    assert_eq!(browser.value("document.getElementById('stale').hidden"), true);

    dev.process.signal(Signal::STOP);
    browser.wait(&format!("{} === 'unreachable'", text("phase")));
    browser.wait(&format!("/^The gateway does not answer.* [0-9]+ s old/.test({})", text("stale")));
    assert_eq!(browser.value("document.body.classList.contains('stale')"), true);

    dev.process.signal(Signal::CONT);
    browser.wait(&format!("{} === 'running'", text("phase")));
    browser.wait("document.getElementById('stale').hidden");
}

#[test]
fn delivery_times_are_interpolated_between_the_bounds_of_the_histogram() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let mut browser = Chromium::start();
    browser.visit(&format!("http://{}/", gateway.admin));
    browser.wait(&format!("{} === 'running'", text("phase")));
    let quantile = r#"(async (q, before, now) => {
        const { parse, quantile } = await import("/console/metrics.js");
        const scrape = (counts) => parse(["0.1", "0.2", "+Inf"].map((le, at) =>
            `h_bucket{le="${le}"} ${counts[at]}`).join("\n"));
        return quantile(scrape(before), scrape(now), "h", q);
    })"#;
    let mut of = |q: &str, before: &str, now: &str| {
        browser.value(&format!("{quantile}({q}, {before}, {now})"))
    };
    for (q, now, expected) in [
        ("0.5", "[14, 24, 24]", 0.13), // 4 below 0.1 and 10 above: the 7th of 14 is the 3rd of those 10.
        ("0.5", "[20, 20, 20]", 0.05),
        ("0.99", "[10, 10, 20]", 0.2), // Beyond the last bound: at least that.
    ] {
        let seconds = of(q, "[10, 10, 10]", now).as_f64().expect("a number");
        assert!((seconds - expected).abs() < 0.006, "{q} {now}: {seconds}");
    }
    assert!(of("0.5", "[10, 10, 10]", "[10, 10, 10]").is_null(), "nothing was delivered");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn only_dev_can_be_tried() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(rooms()));
    let page = gateway.admin("/").text();
    assert!(page.contains("<body>") && !page.contains("data-try"));
    for line in ["GET /try HTTP/1.1", "POST /try/publish HTTP/1.1"] {
        let host = gateway.admin.to_string();
        let request = Request::line(line)
            .replace("Host", &host)
            .header("Origin", &format!("http://{host}"))
            .header("Content-Type", "application/json")
            .header("Connection", "close");
        assert_eq!(request.send(gateway.admin).status, 404, "{line}");
    }
}

#[test]
fn dev_is_not_tried_by_another_page() {
    let dev = Dev::start();
    let get = |host: &str| {
        let request = Request::get("/try").replace("Host", host).header("Connection", "close");
        request.send(dev.admin()).status
    };
    assert_eq!(get(&dev.admin().to_string()), 200);
    assert_eq!(get("rebound.example"), 403);
    let foreign = Request::line("POST /try/publish HTTP/1.1")
        .replace("Host", &dev.admin().to_string())
        .header("Origin", "http://evil.example")
        .header("Content-Type", "application/json")
        .header("Content-Length", "0")
        .header("Connection", "close");
    assert_eq!(foreign.send(dev.admin()).status, 403);
}
