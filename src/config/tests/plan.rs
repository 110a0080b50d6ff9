//! What a reload may change: every key of the reference, changed alone.

use super::{SECRET, reference::whole_reference};
use crate::config::{Config, Plan, parse_with, plan};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};
use toml::{Table, Value};

/// Another secret, as long.
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

const HASH: &str = "ad328846aa18b32a335816374511cac1063c704b8c57999e51da9f908290a7a4";

enum Takes {
    Effect,
    Restart,
}
use Takes::{Effect, Restart};

/// A key, another value as TOML, what that takes, and the key as the log names it.
#[rustfmt::skip]
const KEYS: &[(&str, &str, Takes, &str)] = &[
    ("server.listen", r#""127.0.0.1:1""#, Restart, "server.listen"),
    ("server.socket_mode", r#""0600""#, Restart, "server.socket_mode"),
    ("server.shards", "63", Restart, "server.shards"),
    ("server.ring_bytes", r#""7MiB""#, Restart, "server.ring_bytes"),
    ("server.max_queue_memory", r#""7MiB""#, Restart, "server.max_queue_memory"),
    ("server.handshake_timeout", r#""7s""#, Effect, "server.handshake_timeout"),
    ("server.max_connections", "7", Effect, "server.max_connections"),
    ("server.max_pending_handshakes", "7", Effect, "server.max_pending_handshakes"),
    ("server.max_connections_per_ip", "7", Effect, "server.max_connections_per_ip"),
    ("server.max_sessions_per_user", "7", Effect, "server.max_sessions_per_user"),
    ("server.on_user_limit", r#""replace""#, Effect, "server.on_user_limit"),
    ("server.handshakes_per_second", "7", Effect, "server.handshakes_per_second"),
    ("server.allowed_origins", r#"["https://a.example"]"#, Effect, "server.allowed_origins"),
    ("admin.allowed_hosts", r#"["sockway.internal"]"#, Effect, "admin.allowed_hosts"),
    ("server.trusted_proxies", "[]", Effect, "server.trusted_proxies"),
    ("server.tls.cert_file", r#""renewed.pem""#, Effect, "server.tls.cert_file"),
    ("server.tls.key_file", r#""second.key""#, Effect, "server.tls.key_file"),
    ("admin.listen", r#""127.0.0.1:1""#, Restart, "admin.listen"),
    ("redis.url", r#""rediss://127.0.0.1:1/0""#, Restart, "redis.url"),
    ("redis.username", r#""someone""#, Restart, "redis.username"),
    ("redis.password_file", r#""secret""#, Effect, "redis.password"),
    ("redis.password", r#""hunter2""#, Effect, "redis.password"),
    ("redis.probe_interval", r#""7s""#, Restart, "redis.probe_interval"),
    ("redis.probe_timeout", r#""700ms""#, Restart, "redis.probe_timeout"),
    ("redis.reconnect_min", r#""700ms""#, Restart, "redis.reconnect_min"),
    ("redis.reconnect_max", r#""7s""#, Restart, "redis.reconnect_max"),
    ("redis.probe_channel", r#""other""#, Restart, "redis.probe_channel"),
    ("redis.linger", r#""7s""#, Restart, "redis.linger"),
    ("redis.control_channel", r#""other""#, Restart, "redis.control_channel"),
    ("redis.on_revocation_gap", r#""close""#, Restart, "redis.on_revocation_gap"),
    ("redis.max_payload", r#""7MiB""#, Restart, "redis.max_payload"),
    ("redis.channel_prefix", r#""p:""#, Restart, "redis.channel_prefix"),
    ("redis.max_patterns", "7", Restart, "redis.max_patterns"),
    ("redis.max_streams", "7", Restart, "redis.max_streams"),
    ("redis.stream_poll", r#""7s""#, Restart, "redis.stream_poll"),
    ("redis.stream_field", r#""payload""#, Restart, "redis.stream_field"),
    ("redis.tls.ca_file", r#""second.pem""#, Restart, "redis.tls.ca_file"),
    ("redis.tls.cert_file", r#""renewed.pem""#, Restart, "redis.tls.cert_file"),
    ("redis.tls.key_file", r#""second.key""#, Restart, "redis.tls.key_file"),
    ("auth.sources", r#"["header"]"#, Effect, "auth.sources"),
    ("auth.reject", r#""close""#, Effect, "auth.reject"),
    ("auth.jwt.algorithms", r#"["HS256", "HS512"]"#, Effect, "auth.jwt.algorithms"),
    ("auth.jwt.secret", r#""OTHER""#, Effect, "auth.jwt.secret"),
    ("auth.jwt.secret_file", r#""secret""#, Effect, "auth.jwt.secret"),
    ("auth.jwt.public_key_file", r#""public.pem""#, Effect, "auth.jwt.public_key_file"),
    ("auth.jwt.jwks_url", r#""https://id.example/keys""#, Effect, "auth.jwt.jwks_url"),
    ("auth.jwt.audience", r#"["a"]"#, Effect, "auth.jwt.audience"),
    ("auth.jwt.issuer", r#"["a"]"#, Effect, "auth.jwt.issuer"),
    ("auth.jwt.user_claim", r#""uid""#, Effect, "auth.jwt.user_claim"),
    ("auth.jwt.leeway", r#""7s""#, Effect, "auth.jwt.leeway"),
    ("auth.token.sha256", r#""HASH""#, Effect, "auth.token"),
    ("auth.token.user", r#""43""#, Effect, "auth.token"),
    ("auth.token.claims", r#"{ tenant = "other" }"#, Effect, "auth.token"),
    ("endpoint.name", r#""other""#, Effect, "endpoint.other (added)"),
    ("endpoint.path", r#""/other""#, Effect, "endpoint.notifications.path"),
    ("endpoint.channels", r#"["other"]"#, Effect, "endpoint.notifications.channels"),
    ("endpoint.streams", r#"["other"]"#, Effect, "endpoint.notifications.streams"),
    ("endpoint.patterns", r#"["other:*"]"#, Effect, "endpoint.notifications.patterns"),
    ("endpoint.subscribe", r#"["x:{any}"]"#, Effect, "endpoint.notifications.subscribe"),
    (
        "endpoint.subscribe_streams",
        r#"["x:{any}"]"#,
        Effect,
        "endpoint.notifications.subscribe_streams",
    ),
    ("endpoint.max_subscriptions", "7", Effect, "endpoint.notifications.max_subscriptions"),
    ("endpoint.replay_messages", "7", Effect, "endpoint.notifications.replay_messages"),
    ("endpoint.replay_bytes", r#""7KiB""#, Effect, "endpoint.notifications.replay_bytes"),
    ("endpoint.replay_last", "7", Effect, "endpoint.notifications.replay_last"),
    ("endpoint.sse", "true", Effect, "endpoint.notifications.sse"),
    ("endpoint.auth", r#""none""#, Effect, "endpoint.notifications.auth"),
    ("endpoint.format", r#""json""#, Effect, "endpoint.notifications.format"),
    ("endpoint.queue_messages", "7", Effect, "endpoint.notifications.queue_messages"),
    ("endpoint.queue_bytes", r#""7KiB""#, Effect, "endpoint.notifications.queue_bytes"),
    ("endpoint.on_slow", r#""skip""#, Effect, "endpoint.notifications.on_slow"),
    ("endpoint.on_gap", r#""close""#, Effect, "endpoint.notifications.on_gap"),
    ("endpoint.gap_notice", r#""gap""#, Effect, "endpoint.notifications.gap_notice"),
    ("endpoint.ping_interval", r#""7s""#, Effect, "endpoint.notifications.ping_interval"),
    ("endpoint.ping_timeout", r#""7s""#, Effect, "endpoint.notifications.ping_timeout"),
    ("endpoint.heartbeat", r#""7s""#, Effect, "endpoint.notifications.heartbeat"),
    ("endpoint.heartbeat_notice", r#""beat""#, Effect, "endpoint.notifications.heartbeat_notice"),
    ("endpoint.write_timeout", r#""7s""#, Effect, "endpoint.notifications.write_timeout"),
    ("endpoint.max_message", r#""7KiB""#, Effect, "endpoint.notifications.max_message"),
    ("endpoint.inbound", r#""close""#, Effect, "endpoint.notifications.inbound"),
    ("endpoint.publish.channel", r#""other""#, Effect, "endpoint.notifications.publish.channel"),
    ("endpoint.publish.stream", r#""other""#, Effect, "endpoint.notifications.publish.stream"),
    ("endpoint.publish.data", r#""json""#, Effect, "endpoint.notifications.publish.data"),
    ("endpoint.publish.stamp", "false", Effect, "endpoint.notifications.publish.stamp"),
    ("endpoint.publish.stamp_claims", r#"["name"]"#, Effect, "endpoint.notifications.publish.stamp_claims"),
    ("endpoint.publish.require_claim", r#""may""#, Effect, "endpoint.notifications.publish.require_claim"),
    ("endpoint.publish.per_second", "7", Effect, "endpoint.notifications.publish.per_second"),
    ("endpoint.publish.burst", "7", Effect, "endpoint.notifications.publish.burst"),
    ("endpoint.publish.keep_entries", "7", Effect, "endpoint.notifications.publish.keep_entries"),
    ("endpoint.publish.expire_after", r#""7s""#, Effect, "endpoint.notifications.publish.expire_after"),
    ("endpoint.publish.create", "false", Effect, "endpoint.notifications.publish.create"),
    ("http_publish.listen", r#""127.0.0.1:7""#, Restart, "http_publish.listen"),
    ("http_publish.path", r#""/other""#, Effect, "http_publish.path"),
    ("http_publish.max_body", r#""7KiB""#, Effect, "http_publish.max_body"),
    ("http_publish.max_batch", "7", Effect, "http_publish.max_batch"),
    ("http_publish.idle_timeout", r#""7s""#, Effect, "http_publish.idle_timeout"),
    ("http_publish.token.sha256", r#""HASH""#, Effect, "http_publish.token"),
    ("http_publish.token.channels", r#"["other"]"#, Effect, "http_publish.token"),
    ("http_publish.token.per_second", "7", Effect, "http_publish.token"),
    ("http_publish.stream.channels", r#"["other"]"#, Effect, "http_publish.stream"),
    ("http_publish.stream.keep_entries", "7", Effect, "http_publish.stream"),
    ("http_publish.stream.expire_after", r#""7s""#, Effect, "http_publish.stream"),
    ("http_publish.route.path", r#""/other/{user}""#, Effect, "http_publish.route"),
    ("http_publish.route.channel", r#""other:{path.user}""#, Effect, "http_publish.route"),
    ("log.format", r#""json""#, Restart, "log.format"),
    ("log.level", r#""debug""#, Effect, "log.level"),
    ("reload.poll", r#""7s""#, Effect, "reload.poll"),
    ("shutdown.readiness_delay", r#""7s""#, Effect, "shutdown.readiness_delay"),
    ("shutdown.spread", r#""7s""#, Effect, "shutdown.spread"),
    ("shutdown.timeout", r#""77s""#, Effect, "shutdown.timeout"),
];

/// In place of a value: the key is removed.
const NOT_THERE: &str = "";

/// What must change along with a key, so that the whole stays correct.
fn companions(key: &str) -> &'static [(&'static str, &'static str)] {
    match key {
        // The same key pair in another certificate needs no companion; another pair does.
        "server.tls.key_file" => &[("server.tls.cert_file", "\"second.pem\"")],
        "redis.tls.key_file" => &[("redis.tls.cert_file", "\"second.pem\"")],
        "redis.username" => &[("redis.password", "\"hunter2\"")],
        "auth.jwt.secret_file" => &[("auth.jwt.secret", "\"\"")],
        "auth.jwt.public_key_file" | "auth.jwt.jwks_url" => {
            &[("auth.jwt.secret", "\"\""), ("auth.jwt.algorithms", "[\"ES256\"]")]
        }
        "endpoint.auth" => {
            &[("endpoint.channels", "[\"notifications:global\"]"), ("endpoint.publish", NOT_THERE)]
        }
        // Every message of a raw endpoint with such a table is one to be published.
        "endpoint.inbound" => &[("endpoint.publish", NOT_THERE)],
        "endpoint.publish.channel" => &[("endpoint.publish.stream", "\"\"")],
        "endpoint.patterns" | "endpoint.subscribe" | "endpoint.subscribe_streams" => {
            &[("endpoint.format", "\"json\"")]
        }
        _ => &[],
    }
}

fn set(root: &mut Table, key: &str, value: &str) {
    let value = value.replace("OTHER", OTHER).replace("HASH", HASH);
    let mut parts: Vec<_> = key.split('.').collect();
    let last = parts.pop().unwrap();
    let table = parts.iter().fold(root, |table, part| {
        let entry = table.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        match entry {
            Value::Array(tables) => tables[0].as_table_mut().unwrap(),
            other => other.as_table_mut().unwrap(),
        }
    });
    if value == NOT_THERE {
        table.remove(last);
        return;
    }
    let value: Table = format!("it = {value}").parse().unwrap();
    table.insert(last.to_owned(), value["it"].clone());
}

fn leaves(prefix: &str, value: &Value, keys: &mut BTreeSet<String>) {
    let join =
        |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match value {
        Value::Table(table) if prefix != "auth.token.claims" => {
            table.iter().for_each(|(name, value)| leaves(&join(name), value, keys));
        }
        Value::Array(list) if list.first().is_some_and(Value::is_table) => {
            leaves(prefix, &list[0], keys);
        }
        _ => drop(keys.insert(prefix.to_owned())),
    }
}

/// A self-signed certificate, and one more of the same key.
fn make_certificate(directory: &Path, name: &str, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(["req", "-x509", "-nodes", "-subj", "/CN=test", "-out"]);
    command.arg(format!("{name}.pem")).args(arguments).stderr(Stdio::null());
    assert!(command.status().expect("openssl is installed").success());
}

fn make_files(directory: &Path) {
    let pair = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout"];
    make_certificate(directory, "first", &[&pair[..], &["first.key"]].concat());
    make_certificate(directory, "second", &[&pair[..], &["second.key"]].concat());
    make_certificate(directory, "renewed", &["-key", "first.key", "-days", "7"]);
    let public = ["ec", "-in", "first.key", "-pubout", "-out", "public.pem"];
    let made =
        Command::new("openssl").current_dir(directory).args(public).stderr(Stdio::null()).status();
    assert!(made.unwrap().success());
    fs::write(directory.join("secret"), OTHER).unwrap();
}

fn config(root: &Table, directory: &Path) -> Config {
    let environment = |name: &str| (name == "SOCKWAY_JWT_SECRET").then(|| SECRET.to_owned());
    let text = root.to_string();
    let name = directory.join("FILE");
    parse_with(&text, name.to_str().unwrap(), &environment)
        .unwrap_or_else(|error| panic!("{}\n---\n{text}", error.report()))
        .config
}

#[test]
fn every_key_takes_effect_at_once_or_needs_a_restart_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    make_files(directory.path());
    let mut root: Table = whole_reference().parse().unwrap();
    set(&mut root, "server.tls.cert_file", "\"first.pem\"");
    set(&mut root, "server.tls.key_file", "\"first.key\"");
    set(&mut root, "redis.url", "\"rediss://127.0.0.1:6379/0\"");
    set(&mut root, "redis.tls.ca_file", "\"first.pem\"");
    set(&mut root, "redis.tls.cert_file", "\"first.pem\"");
    set(&mut root, "redis.tls.key_file", "\"first.key\"");
    let old = config(&root, directory.path());
    for (key, value, takes, named) in KEYS {
        let mut changed = root.clone();
        companions(key).iter().for_each(|(key, value)| set(&mut changed, key, value));
        set(&mut changed, key, value);
        let Plan { live, restart } = plan(&old, &config(&changed, directory.path()));
        let (expected, other) = match takes {
            Effect => (&live, &restart),
            Restart => (&restart, &live),
        };
        assert!(expected.iter().any(|it| it == named), "{key}: {live:?} {restart:?}");
        if companions(key).is_empty() && *key != "endpoint.name" {
            assert_eq!((expected.len(), other.len()), (1, 0), "{key}: {live:?} {restart:?}");
        }
    }
}

#[test]
fn the_table_above_has_every_key() {
    let mut keys = BTreeSet::new();
    let reference: Table = whole_reference().parse().unwrap();
    leaves("", &Value::Table(reference), &mut keys);
    let files = ["redis.password_file", "auth.jwt.secret_file", "auth.jwt.public_key_file"];
    keys.extend(files.map(str::to_owned));
    keys.extend(["server.tls.cert_file", "server.tls.key_file"].map(str::to_owned));
    keys.extend(["ca_file", "cert_file", "key_file"].map(|key| format!("redis.tls.{key}")));
    let covered = KEYS.iter().map(|row| row.0.to_owned());
    assert_eq!(covered.collect::<BTreeSet<_>>(), keys);
}

#[test]
fn the_same_content_is_no_change_whatever_its_order_and_form() {
    let directory = tempfile::tempdir().unwrap();
    make_files(directory.path());
    let other = "[[endpoint]]\nname = \"b\"\npath = \"/b\"\nchannels = [\"b\"]\nauth = \"none\"\n";
    let text = |endpoints: &str| format!("[auth.jwt]\nsecret = \"{OTHER}\"\n{endpoints}");
    let one = "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nchannels = [\"a\"]\n";
    let first: Table = text(&format!("{one}{other}")).parse().unwrap();
    let mut second: Table = text(&format!("{other}{one}")).parse().unwrap();
    second["auth"]["jwt"] = Value::Table("secret_file = \"secret\"".parse().unwrap());
    let (first, second) = (config(&first, directory.path()), config(&second, directory.path()));
    assert!(plan(&first, &second).is_empty(), "{:?}", plan(&first, &second));
}

#[test]
fn what_comes_and_goes_whole_is_named_whole() {
    let directory = tempfile::tempdir().unwrap();
    let with =
        |text: &str| config(&format!("{}{text}", super::LEAST).parse().unwrap(), directory.path());
    let least = with("");
    let jwt = with(&format!("[auth.jwt]\nsecret = \"{OTHER}\"\n"));
    assert_eq!(plan(&least, &jwt).live, ["auth.jwt.secret"]);
    assert_eq!(plan(&jwt, &least).live, ["auth.jwt.secret"]);
    let more =
        with("[[endpoint]]\nname = \"b\"\npath = \"/b\"\nchannels = [\"b\"]\nauth = \"none\"\n");
    assert_eq!(plan(&least, &more).live, ["endpoint.b (added)"]);
    assert_eq!(plan(&more, &least).live, ["endpoint.b (removed)"]);
}

#[test]
fn the_order_of_a_set_and_the_form_of_an_amount_are_no_change() {
    let with = |text: &str| parse_with(&format!("{text}{}", super::LEAST), "FILE", &|_| None);
    let one = with(
        r#"
[server]
allowed_origins = ["https://a.example", "https://b.example"]
handshake_timeout = "60s"
[redis]
url = "redis://ann:hunter2@host/0"
max_payload = "1024KiB"
[auth.jwt]
algorithms = ["ES256", "EdDSA"]
jwks_url = "https://id.example/keys"
"#,
    );
    let other = with(
        r#"
[server]
allowed_origins = ["https://b.example", "https://a.example", "https://b.example"]
handshake_timeout = "1m"
[redis]
url = "redis://host:6379"
username = "ann"
password = "hunter2"
max_payload = "1MiB"
[auth.jwt]
algorithms = ["EdDSA", "ES256"]
jwks_url = "https://id.example/keys"
[server.tls]
cert_file = ""
"#,
    );
    let (one, other) = (one.unwrap().config, other.unwrap().config);
    assert_eq!(plan(&one, &other), Plan::default());
}

#[test]
fn the_order_of_a_list_that_has_one_is_a_change() {
    let with = |text: &str| {
        parse_with(&format!("{text}{}", super::LEAST), "FILE", &|_| None).unwrap().config
    };
    let one = with("[auth]\nsources = [\"header\", \"query:a\"]\n");
    let other = with("[auth]\nsources = [\"query:a\", \"header\"]\n");
    assert_eq!(plan(&one, &other).live, ["auth.sources"]);
}

#[test]
fn a_secret_behind_the_mask_is_compared_and_neither_it_nor_its_hash_is_printed() {
    let with = |url: &str, sha256: &str| {
        let text = format!(
            "[redis]\nurl = \"{url}\"\n[[auth.token]]\nsha256 = \"{sha256}\"\nuser = \"1\"\n{}",
            super::LEAST
        );
        parse_with(&text, "FILE", &|_| None).unwrap().config
    };
    let one = with("redis://:hunter2@host", HASH);
    let other = with("redis://:hunter3@host", &HASH.replace('a', "b"));
    let changed = plan(&one, &other);
    assert_eq!(
        (changed.live, changed.restart),
        (["auth.token", "redis.password"].map(str::to_owned).to_vec(), vec![])
    );
    let printed = format!("{:?}", one.effective);
    assert!(!printed.contains("hunter") && !printed.contains("Content"), "{printed}");
}
