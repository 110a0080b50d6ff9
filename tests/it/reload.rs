//! Reloads that are applied: each key takes effect, and only the affected sessions are closed.

use crate::rig::{
    Client, Endpoint, Gateway, Redis, Request, Settings,
    settings::{notifications, rooms},
    token, wait,
};
use serde_json::json;
use std::{
    fs,
    os::unix::{fs::symlink, net::UnixDatagram},
};

fn closed(client: &mut Client) -> (u16, String) {
    client.until_closed().1
}

fn reconfigured() -> (u16, String) {
    (4010, "reconfigured".to_owned())
}

/// The session is open and gets a message published now.
#[track_caller]
fn hears(client: &mut Client, redis: &Redis, channel: &str) {
    redis.publish(channel, "still here");
    assert_eq!(client.text(), "still here");
}

fn status(gateway: &Gateway, request: &Request) -> u16 {
    Client::try_open(gateway.address, request).map_or_else(|answer| answer.status, |_| 101)
}

fn feed(channels: &[&str]) -> Endpoint {
    Endpoint::new("feed", "/ws/feed", channels).open()
}

#[test]
fn endpoints_come_change_and_go_and_only_their_own_sessions_are_closed() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms());
    let gateway = Gateway::start(&settings.clone().endpoint(feed(&["news"])));
    let mut untouched = gateway.open("/ws/rooms/1");

    let mut first = gateway.open("/ws/feed");
    assert!(gateway.reload(&settings.clone().endpoint(feed(&["sport"]))));
    assert_eq!(closed(&mut first), reconfigured());
    let mut second = gateway.open("/ws/feed");
    hears(&mut second, &redis, "sport");

    assert!(gateway.reload(&settings.clone()));
    assert_eq!(closed(&mut second), reconfigured());
    assert_eq!(gateway.send(&Request::upgrade("/ws/feed")).status, 404);

    let added = Endpoint::new("added", "/ws/added", &["added"]).open();
    assert!(gateway.reload(&settings.endpoint(added)));
    assert_eq!(
        gateway
            .metrics()
            .get("sockway_sessions_opened_total{endpoint=\"added\",transport=\"websocket\"}"),
        0.0
    );
    assert!(gateway.admin("/status").text().contains("\"added\":0"));
    hears(&mut gateway.open("/ws/added"), &redis, "added");

    hears(&mut untouched, &redis, "room:1");
    let reason = "sockway_sessions_closed_total{endpoint=\"rooms\",reason=\"reconfigured\"}";
    assert_eq!(gateway.metrics().get(reason), 0.0);
}

#[test]
fn what_an_open_session_was_promised_closes_it_and_what_it_was_tuned_by_does_not() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms());
    for (key, value, closes) in [
        ("path", json!("/ws/other"), true),
        ("format", json!("json"), true),
        ("auth", json!("required"), true),
        ("queue_messages", json!(7), false),
        ("queue_bytes", json!("7KiB"), false),
        ("on_slow", json!("skip"), false),
        ("on_gap", json!("ignore"), false),
        ("gap_notice", json!("gap"), false),
        ("ping_interval", json!("7s"), false),
        ("ping_timeout", json!("7s"), false),
        ("heartbeat", json!("7s"), false),
        ("heartbeat_notice", json!("beat"), false),
        ("write_timeout", json!("7s"), false),
        ("max_message", json!("7KiB"), false),
        ("inbound", json!("close"), false),
    ] {
        let gateway = Gateway::start(&settings.clone().endpoint(feed(&["news"])));
        let mut client = gateway.open("/ws/feed");
        let value: toml::Value = serde_json::from_value(value).expect("a TOML value");
        let changed = settings.clone().endpoint(feed(&["news"]).set(key, value));
        assert!(gateway.reload(&changed), "{key}");
        if closes {
            assert_eq!(closed(&mut client), reconfigured(), "{key}");
        } else {
            hears(&mut client, &redis, "news");
        }
        gateway.process.stderr.wait_for(key, |line| {
            let named = format!("\"keys\":\"endpoint.feed.{key}\"");
            line.contains(&named).then_some(())
        });
    }
}

#[test]
fn sessions_that_open_after_a_reload_are_treated_by_it() {
    let redis = Redis::start();
    let settings = Settings::new(&redis);
    let gateway = Gateway::start(&settings.clone().endpoint(feed(&["news"])));
    let mut old = gateway.open("/ws/feed");
    assert!(gateway.reload(&settings.endpoint(feed(&["news"]).set("inbound", "close"))));
    let mut new = gateway.open("/ws/feed");
    new.send(crate::rig::client::TEXT, b"hello");
    assert_eq!(closed(&mut new), (1003, "unexpected_message".to_owned()));
    old.send(crate::rig::client::TEXT, b"hello");
    hears(&mut old, &redis, "news");
}

#[test]
fn a_static_token_that_is_taken_away_takes_its_sessions_along_and_no_others() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(notifications());
    let both = settings.clone().static_token("alpha", "1").static_token("beta", "2");
    let gateway = Gateway::start(&both);
    let mut alpha = gateway.open_with("alpha", "/ws/me");
    let mut beta = gateway.open_with("beta", "/ws/me");
    let mut by_jwt = gateway.open_as("1", "/ws/me");

    assert!(gateway.reload(&settings.clone().static_token("beta", "2")));
    assert_eq!(closed(&mut alpha), (3000, "revoked".to_owned()));
    assert_eq!(gateway.send(&Request::upgrade("/ws/me").bearer("alpha")).status, 401);
    hears(&mut beta, &redis, "user:2");
    hears(&mut by_jwt, &redis, "user:1");

    assert!(gateway.reload(&settings.static_token("beta", "3")));
    assert_eq!(closed(&mut beta), reconfigured());
    hears(&mut gateway.open_with("beta", "/ws/me"), &redis, "user:3");
    hears(&mut by_jwt, &redis, "user:1");
}

#[test]
fn a_new_key_counts_for_new_tokens_and_refreshes_and_closes_nobody() {
    const OTHER: &str = "another secret that only this test knows";
    let redis = Redis::start();
    let json = notifications().set("format", "json");
    let settings = Settings::new(&redis).endpoint(json).without("auth.jwt.secret");
    let keys = tempfile::tempdir().expect("a directory");
    let file = keys.path().join("secret");
    fs::write(&file, token::SECRET).expect("written");
    let gateway = Gateway::start(&settings.set("auth.jwt.secret_file", file.to_str().unwrap()));
    let mut client = gateway.open_as("1", "/ws/me");
    assert_eq!(client.json()["type"], "ready");

    // The configuration is the same; only a file that it names has changed.
    fs::write(&file, format!("{OTHER}\n")).expect("written");
    assert!(gateway.hang_up());

    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let claims = json!({ "sub": "1", "exp": token::now() + 7200 });
    let new = token::made(&header, &claims, OTHER.as_bytes());
    assert_eq!(status(&gateway, &Request::upgrade("/ws/me").bearer(&token::of("1"))), 401);
    assert_eq!(status(&gateway, &Request::upgrade("/ws/me").bearer(&new)), 101);
    let refresh = json!({ "type": "refresh", "token": new }).to_string();
    client.send(crate::rig::client::TEXT, refresh.as_bytes());
    redis.publish("user:1", "7");
    assert_eq!(client.json()["data"], 7);
}

#[test]
fn origins_limits_and_where_tokens_are_looked_for_change_live() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    let open = || Request::upgrade("/ws/rooms/1");
    let mut held = gateway.open("/ws/rooms/1");

    let from = |origin: &str| open().header("Origin", origin);
    let origins = settings.clone().set("server.allowed_origins", vec!["https://a.example"]);
    assert_eq!(status(&gateway, &from("https://b.example")), 101);
    assert!(gateway.reload(&origins));
    assert_eq!(status(&gateway, &from("https://b.example")), 403);
    assert_eq!(status(&gateway, &from("https://a.example")), 101);

    gateway.wait_metric("sockway_sessions{endpoint=\"rooms\"}", 1.0);
    assert!(gateway.reload(&settings.clone().set("server.max_connections", 1)));
    assert_eq!(status(&gateway, &open()), 503, "the connection held from before counts");
    assert!(gateway.reload(&settings.clone().set("server.handshakes_per_second", 1)));
    let answers: Vec<_> = (0..5).map(|_| status(&gateway, &open())).collect();
    assert!(answers.contains(&503) || answers.contains(&429), "{answers:?}");

    let by_query = settings.clone().set("auth.sources", vec!["query:token"]);
    assert!(gateway.reload(&by_query));
    assert_eq!(status(&gateway, &Request::upgrade("/ws/me").bearer(&token::of("1"))), 401);
    let query = format!("/ws/me?token={}", token::of("1"));
    assert_eq!(status(&gateway, &Request::upgrade(&query)), 101);
    hears(&mut held, &redis, "room:1");
}

#[test]
fn the_log_level_and_the_stop_s_timing_change_live() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(rooms());
    let slow = settings.clone().set("shutdown.spread", "60s").set("shutdown.timeout", "120s");
    let mut gateway = Gateway::start(&slow);
    let refused_at_debug = |gateway: &Gateway| {
        assert_eq!(gateway.send(&Request::upgrade("/nowhere")).status, 404);
        gateway.process.stderr.text().contains("handshake refused")
    };
    assert!(!refused_at_debug(&gateway));
    let debug = settings.set("log.level", "debug").set("shutdown.spread", "0s");
    assert!(gateway.reload(&debug));
    wait::until("debug records are written", || refused_at_debug(&gateway));

    let mut client = gateway.open("/ws/rooms/1");
    let start = std::time::Instant::now();
    gateway.terminate();
    assert_eq!(closed(&mut client), (1012, "restarting".to_owned()));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert_eq!(gateway.process.exit_code(), 0);
}

#[test]
fn systemd_is_told_when_a_reload_begins_and_ends_whatever_comes_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings::with_url("redis://127.0.0.1:1/0").endpoint(rooms());
    let file = directory.path().join("sockway.toml");
    fs::write(&file, settings.text()).expect("written");
    let path = directory.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(wait::LIMIT)).expect("a socket option");
    let told = || {
        let mut buffer = [0; 200];
        let len = systemd.recv(&mut buffer).expect("a message in time");
        String::from_utf8(buffer[..len].to_vec()).expect("text")
    };
    let mut command = crate::rig::process::sockway();
    command.env("NOTIFY_SOCKET", &path).arg("serve").arg("--config").arg(&file);
    let gateway = Gateway::from_command(&mut command, directory);
    assert_eq!(told(), "READY=1");
    let mut latest = 0;
    for (text, applied) in [(settings.text(), true), ("nonsense".to_owned(), false)] {
        assert_eq!(gateway.reload_text(text), applied);
        let reloading = told();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("as demanded");
        let time: u64 = time.parse().expect("microseconds");
        assert!(time > latest, "{time} after {latest}");
        latest = time;
        assert_eq!(told(), "READY=1");
    }
}

#[test]
fn a_poll_finds_the_swap_of_a_symlink_as_kubernetes_does_it() {
    let redis = Redis::start();
    let settings = Settings::new(&redis).set("reload.poll", "1s").endpoint(rooms());
    let volume = tempfile::tempdir().expect("a directory");
    let at = |name: &str| volume.path().join(name);
    let put = |version: &str, settings: &Settings| {
        fs::create_dir(at(version)).expect("a new directory");
        fs::write(at(version).join("sockway.toml"), settings.text()).expect("written");
        symlink(version, at("..tmp")).expect("a link");
        fs::rename(at("..tmp"), at("..data")).expect("swapped");
    };
    put("..1", &settings);
    symlink("..data/sockway.toml", at("sockway.toml")).expect("a link");
    let mut command = crate::rig::process::sockway();
    command.arg("serve").arg("--config").arg(at("sockway.toml"));
    let gateway = Gateway::from_command(&mut command, tempfile::tempdir().expect("unused"));
    gateway.wait_ready();
    let mut untouched = gateway.open("/ws/rooms/1");

    put("..2", &settings.clone().endpoint(feed(&["news"])));
    wait::until("the change is found", || gateway.reloads() == (1.0, 0.0));
    hears(&mut gateway.open("/ws/feed"), &redis, "news");

    // A refusal is logged once, not at each poll; the next good content is still found.
    put("..3", &settings.clone().set("redis.linger", "7s"));
    wait::until("the change is refused", || gateway.reloads() == (1.0, 1.0));
    put("..4", &settings);
    wait::until("the change is found", || gateway.reloads() == (2.0, 1.0));
    assert_eq!(gateway.send(&Request::upgrade("/ws/feed")).status, 404);
    hears(&mut untouched, &redis, "room:1");
}

#[test]
fn a_password_of_redis_that_changes_is_used_at_the_next_dial_and_closes_nobody() {
    let redis = Redis::start();
    let account = |password: &str| {
        let rule = format!(">{password}");
        redis.command(&["ACL", "SETUSER", "sockway", "reset", "on", &rule, "+@all", "&*"]);
    };
    account("unmistakable");
    let settings = Settings::new(&redis).endpoint(rooms()).set("redis.username", "sockway");
    let gateway = Gateway::start(&settings.clone().set("redis.password", "unmistakable"));
    let mut client = gateway.open("/ws/rooms/1");
    assert!(gateway.reload(&settings.set("redis.password", "new")));
    account("new");
    redis.command(&["CLIENT", "KILL", "USER", "sockway"]);
    assert_eq!(client.text(), r#"{"type":"gap"}"#);
    hears(&mut client, &redis, "room:1");
    gateway.wait_ready();
    assert!(!gateway.process.stderr.text().contains("unmistakable"));
}
