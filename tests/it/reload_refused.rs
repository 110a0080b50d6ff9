//! Reloads that are refused: the old configuration stays in force, and no session is affected.

use crate::rig::{
    Client, Gateway, Redis, Settings,
    settings::{notifications, rooms},
};
use std::fs;

const SESSIONS: usize = 20;

/// A gateway with sessions, and a check at the end that none was lost.
struct Held {
    redis: Redis,
    gateway: Gateway,
    settings: Settings,
    clients: Vec<Client>,
}

impl Held {
    fn start() -> Self {
        let redis = Redis::start();
        let settings = Settings::new(&redis).endpoint(rooms()).endpoint(notifications());
        let gateway = Gateway::start(&settings);
        let clients = (0..SESSIONS).map(|_| gateway.open("/ws/rooms/1")).collect();
        Self { redis, gateway, settings, clients }
    }

    #[track_caller]
    fn nobody_was_closed(mut self) {
        self.redis.publish("room:1", "still here");
        self.clients.iter_mut().for_each(|client| assert_eq!(client.text(), "still here"));
        let metrics = self.gateway.metrics();
        assert_eq!(metrics.sum("sockway_sessions_closed_total"), 0.0);
        assert_eq!(metrics.sum("sockway_sessions_opened_total"), SESSIONS as f64);
    }
}

#[test]
fn what_needs_a_restart_refuses_the_whole_reload_and_names_every_such_key() {
    let held = Held::start();
    for (key, value, named) in [
        ("server.listen", "127.0.0.1:1".into(), "server.listen"),
        ("server.shards", toml::Value::from(3), "server.shards"),
        ("admin.listen", "127.0.0.1:1".into(), "admin.listen"),
        ("log.format", "text".into(), "log.format"),
        ("redis.url", "redis://127.0.0.1:1/0".into(), "redis.url"),
        ("redis.probe_timeout", "700ms".into(), "redis.probe_timeout"),
        ("redis.linger", "7s".into(), "redis.linger"),
        ("redis.channel_prefix", "p:".into(), "redis.channel_prefix"),
    ] {
        // Together with a change that would be accepted alone, and must not be applied.
        let changed = held.settings.clone().set(key, value).without("endpoint").endpoint(rooms());
        assert!(!held.gateway.reload(&changed), "{key}");
        held.gateway.refused_because(&format!("needs a restart: {named}"));
    }
    let two = held.settings.clone().set("redis.linger", "7s").set("server.shards", 3);
    assert!(!held.gateway.reload(&two));
    held.gateway.refused_because("needs a restart: server.shards, redis.linger");
    assert_eq!(held.gateway.send(&crate::rig::Request::upgrade("/ws/me")).status, 401);
    held.nobody_was_closed();
}

#[test]
fn thirty_broken_files_are_refused_and_drop_nobody() {
    let held = Held::start();
    let good = held.settings.text();
    let lines: Vec<_> = good.lines().filter(|line| !line.trim().is_empty()).collect();
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut broken: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        let at = random.usize(..broken.len());
        match random.u8(..4) {
            0 => broken.insert(at, "surprise".to_owned()),
            1 => broken.insert(at, "surprise = 1".to_owned()),
            2 => broken[at].push_str(" \u{1}"),
            _ => broken.insert(at, "[surprise]".to_owned()),
        }
        let text = broken.join("\n");
        assert!(!held.gateway.reload_text(&text), "seed {seed}:\n{text}");
    }
    assert_eq!(held.gateway.reloads(), (0.0, 30.0));
    held.nobody_was_closed();
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_named_and_the_next_good_one_is_taken() {
    let held = Held::start();
    let file = held.gateway.config_file();
    for (what, text) in [("is not UTF-8", &b"\xFF"[..]), ("at least one [[endpoint]]", b"")] {
        assert!(!held.gateway.reload_text(text), "{what}");
        held.gateway.refused_because(what);
    }
    fs::remove_file(&file).expect("removed");
    assert!(!held.gateway.hang_up());
    held.gateway.refused_because("cannot read");
    fs::create_dir(&file).expect("a directory in its place");
    assert!(!held.gateway.hang_up());
    fs::remove_dir(&file).expect("removed");
    let missing = held.settings.clone().without("auth.jwt.secret");
    assert!(!held.gateway.reload(&missing.set("auth.jwt.secret_file", "absent")));
    held.gateway.refused_because("auth.jwt.secret_file: cannot read");

    let better = held.settings.clone().set("server.allowed_origins", vec!["https://a.example"]);
    assert!(held.gateway.reload(&better));
    held.nobody_was_closed();
}
