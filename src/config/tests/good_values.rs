//! Every value that is written is in the `Config`.

use super::{LEAST, SECRET, loaded};
use crate::{
    auth::{KeySource, Reject, Source},
    bus::MAX_SHARDS,
    config::{
        ListenAddress, LogFormat, OnRevocationGap, OnUserLimit, OriginRule, RedisAddress,
        effective, load, parse_with,
    },
    endpoint::{Access, Format, Inbound, OnGap, OnSlow, ReplayLimits},
    wire::{GapNotice, HeartbeatNotice},
};
use std::{fs, num::NonZeroUsize, time::Duration};
use tracing::level_filters::LevelFilter;

/// Its private half was thrown away.
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHodX1152Q2v/pu+s4ZGhUItnry8L
MHxPENLtFkSFDOdEsoK36tBG86tpZA51wtApzF8decZUYrRXJrqVaFlPjw==
-----END PUBLIC KEY-----
";

#[test]
fn the_server_and_its_limits() {
    let text = r#"
[server]
listen = "unix:/run/ws.sock"
shards = 3
handshake_timeout = "250ms"
max_connections = 7
max_connections_per_ip = 2
allowed_origins = ["https://Example.com", "https://*.example.com"]
trusted_proxies = ["10.0.0.0/8"]
[admin]
listen = "[::1]:1"
"#;
    let config = loaded(&format!("{text}{LEAST}")).config;
    let server = config.server;
    assert_eq!(server.listen, ListenAddress::Unix("/run/ws.sock".into()));
    assert_eq!(server.shards.get(), 3);
    assert_eq!(server.handshake_timeout, Duration::from_millis(250));
    assert_eq!(server.max_connections.get(), 7);
    assert_eq!(server.max_connections_per_ip, NonZeroUsize::new(2));
    assert_eq!((server.max_sessions_per_user, server.handshakes_per_second), (None, None));
    assert_eq!(server.allowed_origins[0], OriginRule::Exact("https://example.com".to_owned()));
    assert!(server.allowed_origins[1].allows("https://a.example.com"));
    assert_eq!(server.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(config.admin.listen, "[::1]:1".parse().unwrap());
}

#[test]
fn the_rights_on_a_unix_socket_and_those_that_are_seldom_meant() {
    let with = |keys: &str| loaded(&format!("[server]\n{keys}\n{LEAST}"));
    let unix = "listen = \"unix:/run/ws.sock\"";
    let warned = |keys: &str| with(keys).warnings.iter().any(|it| it.contains("socket_mode"));
    assert_eq!(with(unix).config.server.socket_mode, 0o660);
    assert_eq!(with(&format!("{unix}\nsocket_mode = \"0600\"")).config.server.socket_mode, 0o600);
    assert!(!warned(unix) && !warned("socket_mode = \"0660\""));
    assert!(warned("socket_mode = \"0600\""), "it has no effect, and nobody says so");
    assert!(warned(&format!("{unix}\nsocket_mode = \"0666\"")));
}

#[test]
fn what_becomes_of_a_user_s_session_too_many() {
    let with = |keys: &str| loaded(&format!("[server]\n{keys}\n{LEAST}"));
    assert_eq!(with("").config.server.on_user_limit, OnUserLimit::Refuse);
    let replaces = "on_user_limit = \"replace\"";
    let useful = with(&format!("{replaces}\nmax_sessions_per_user = 1"));
    assert_eq!(useful.config.server.on_user_limit, OnUserLimit::Replace);
    let about_it = |warnings: &[String]| warnings.iter().any(|it| it.contains("on_user_limit"));
    assert!(!about_it(&useful.warnings));
    assert!(about_it(&with(replaces).warnings), "it has no effect, and nobody says so");
}

#[test]
fn zero_shards_are_as_many_as_there_are_cores() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(loaded(LEAST).config.server.shards.get(), cores.min(MAX_SHARDS));
}

#[test]
fn the_redis_link() {
    let text = r#"
[redis]
url = "rediss://cache:6380/2"
username = "gateway"
password = "${SHORT}"
probe_channel = ""
channel_prefix = "app:"
linger = "0s"
on_revocation_gap = "close"
max_payload = "1KiB"
max_streams = 7
stream_poll = "0s"
stream_field = "payload"
"#;
    let redis = loaded(&format!("{text}{LEAST}")).config.redis;
    assert_eq!(
        redis.address,
        RedisAddress::Tcp { host: "cache".to_owned(), port: 6380, tls: true }
    );
    assert_eq!((redis.database, redis.username.as_deref()), (2, Some("gateway")));
    assert_eq!(redis.password.unwrap().expose(), "hunter2");
    assert_eq!(redis.probe_channel, None);
    assert_eq!(redis.control_channel.as_deref(), Some("sockway:control"));
    assert_eq!((redis.channel_prefix.as_str(), redis.max_payload.get()), ("app:", 1024));
    assert_eq!(redis.on_revocation_gap, OnRevocationGap::Close);
    assert_eq!(redis.linger, Duration::ZERO);
    assert_eq!((redis.max_streams.get(), redis.stream_poll), (7, None));
    assert_eq!(redis.stream_field, "payload");
}

#[test]
fn user_and_password_of_the_url_are_used_and_masked() {
    let loaded = loaded(&format!("[redis]\nurl = \"redis://ann:hunter%402@host/1\"\n{LEAST}"));
    let printed = effective(&loaded);
    assert!(printed.contains("url = \"redis://ann:***@host/1\"\n"), "{printed}");
    let redis = loaded.config.redis;
    assert_eq!(redis.username.as_deref(), Some("ann"));
    assert_eq!(redis.password.as_ref().unwrap().expose(), "hunter@2");
    assert!(!format!("{redis:?}").contains("hunter"));
}

#[test]
fn authentication() {
    let text = r#"
[server]
allowed_origins = ["https://example.com"]
[auth]
sources = ["cookie:session"]
reject = "close"
[auth.jwt]
secret = "${SOCKWAY_JWT_SECRET}"
algorithms = ["HS512"]
audience = ["a"]
issuer = ["i"]
user_claim = "uid"
leeway = "0s"
[[auth.token]]
sha256 = "9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
user = "42"
claims = { tenant = "${SHORT}" }
"#;
    let loaded = loaded(&format!("{text}{LEAST}"));
    assert_eq!(loaded.warnings, [""; 0]);
    let auth = loaded.config.auth;
    assert_eq!(auth.sources, [Source::Cookie("session".to_owned())]);
    assert_eq!(auth.reject, Reject::Close);
    let jwt = auth.jwt_settings().unwrap();
    assert_eq!(jwt.algorithms.iter().map(|it| it.name()).collect::<Vec<_>>(), ["HS512"]);
    assert_eq!((jwt.audience[0].as_str(), jwt.issuer[0].as_str()), ("a", "i"));
    assert_eq!((jwt.user_claim.as_str(), jwt.leeway), ("uid", Duration::ZERO));
    assert!(matches!(&jwt.key, KeySource::HmacSecret(secret) if secret.expose() == SECRET));
}

#[test]
fn an_endpoint() {
    let text = r#"
[auth.jwt]
secret = "${SOCKWAY_JWT_SECRET}"
[[endpoint]]
name = "rooms"
path = "/rooms/{room}"
channels = ["{user}:{claim.tenant}:{path.room}:{query.q}"]
format = "json"
queue_messages = 1
queue_bytes = "1B"
on_slow = "skip"
on_gap = "ignore"
gap_notice = "lost"
heartbeat = "9s"
heartbeat_notice = "alive"
inbound = "close"
"#;
    let config = loaded(text).config;
    let endpoint = &config.endpoints[0];
    assert_eq!((&*endpoint.name, endpoint.path.as_str()), ("rooms", "/rooms/{room}"));
    assert_eq!(endpoint.channels[0].as_str(), "{user}:{claim.tenant}:{path.room}:{query.q}");
    assert_eq!((endpoint.access, endpoint.format), (Access::Required, Format::Json));
    assert_eq!((endpoint.on_slow, endpoint.on_gap), (OnSlow::Skip, OnGap::Ignore));
    assert_eq!(endpoint.inbound, Inbound::Close);
    assert_eq!((endpoint.queue_messages.get(), endpoint.queue_bytes.get()), (1, 1));
    assert_eq!(endpoint.gap_notice, GapNotice::new("lost"));
    assert_eq!(endpoint.ping_interval, Duration::from_secs(25));
    assert_eq!(endpoint.heartbeat, Some(Duration::from_secs(9)));
    assert_eq!(endpoint.heartbeat_notice, Some(HeartbeatNotice::new("alive")));
}

#[test]
fn an_endpoint_of_binary_frames_has_a_heartbeat_only_by_a_notice() {
    let text = |keys: &str| {
        format!(
            "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nauth = \"none\"\n\
             channels = [\"{{{{a}}}}:x\"]\nformat = \"binary\"\n{keys}"
        )
    };
    let without = loaded(&text("")).config;
    assert_eq!(without.endpoints[0].format, Format::Binary);
    let shown = without.effective.tables.iter().flat_map(|table| &table.entries);
    let heartbeat: Vec<_> = shown.filter(|entry| entry.key == "heartbeat").collect();
    assert_eq!(heartbeat[0].shown.as_str(), Some("0s"));
    let with = loaded(&text("heartbeat_notice = \"alive\"")).config;
    let endpoint = &with.endpoints[0];
    let codec = endpoint.format.over_websocket();
    assert_eq!(endpoint.heartbeat_over(codec), Some(Duration::from_secs(25)));
}

#[test]
fn a_template_that_a_value_could_make_reserved_is_no_problem_of_the_configuration() {
    let text = "[[endpoint]]\nname = \"a\"\npath = \"/{a}/{b}\"\nauth = \"none\"\n\
                channels = [\"{path.a}:{path.b}\", \"sock{path.a}\"]";
    assert!(loaded(text).warnings.is_empty());
}

#[test]
fn an_endpoint_with_a_stream_and_server_sent_events() {
    let text = r#"
[[endpoint]]
name = "orders"
path = "/orders"
auth = "none"
streams = ["orders:events"]
replay_messages = 20
replay_bytes = "1KiB"
replay_last = 20
sse = true
"#;
    let loaded = loaded(text);
    assert_eq!(loaded.warnings, [""; 0]);
    let endpoint = &loaded.config.endpoints[0];
    assert_eq!((endpoint.channels.len(), endpoint.streams[0].as_str()), (0, "orders:events"));
    assert_eq!(endpoint.replay, ReplayLimits { messages: 20, bytes: 1024, last: 20 });
    assert!(endpoint.sse);
}

#[test]
fn a_page_that_could_carry_no_token_in_its_event_source_is_warned_about() {
    let with = |sources: &str, auth: &str| {
        let jwt = format!("[auth.jwt]\nsecret = {SECRET:?}\naudience = [\"a\"]");
        let endpoint = "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nchannels = [\"a\"]\nsse = true";
        loaded(&format!("[auth]\n{sources}\n{jwt}\n{endpoint}\nauth = \"{auth}\"")).warnings
    };
    let warnings = with("sources = [\"header\", \"subprotocol\"]", "required");
    assert_eq!(
        warnings,
        [
            "FILE:10:1 endpoint[0].sse: auth.sources has neither \"query:NAME\" nor \"cookie:NAME\", and a browser's EventSource can carry a token in no other way"
        ]
    );
    assert_eq!(with("", "required"), [""; 0]);
    assert_eq!(with("sources = [\"header\", \"query:t\"]", "required"), [""; 0]);
    assert_eq!(with("sources = [\"header\"]", "none"), [""; 0]);
}

#[test]
fn streams_that_anyone_may_name_are_warned_about() {
    let warnings = |streams: &str, auth: &str| {
        let jwt = format!("[auth.jwt]\nsecret = {SECRET:?}\naudience = [\"a\"]\n");
        let endpoint = "[[endpoint]]\nname = \"a\"\npath = \"/a/{room}\"";
        loaded(&format!("{jwt}{endpoint}\nauth = \"{auth}\"\nstreams = [{streams}]")).warnings
    };
    let said =
        "with auth = \"none\" anyone can have any number of streams followed (redis.max_streams)";
    assert_eq!(
        warnings("\"all\", \"chat:{path.room}\", \"{query.q}\"", "none"),
        [
            format!("FILE:8:19 endpoint[0].streams[1]: {{path.room}} {said}"),
            format!("FILE:8:39 endpoint[0].streams[2]: {{query.q}} {said}")
        ]
    );
    assert_eq!(warnings("\"chat:{path.room}\"", "required"), [""; 0]);
}

#[test]
fn memory_of_queues_that_is_too_small_is_warned_about() {
    let warnings = |memory: &str, keys: &str| {
        let server = format!("[server]\nshards = 4\nmax_queue_memory = \"{memory}\"");
        let redis = "[redis]\nmax_payload = \"8MiB\"";
        let endpoint = "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nauth = \"none\"";
        loaded(&format!("{server}\n{redis}\n{endpoint}\n{keys}")).warnings
    };
    let streams = "streams = [\"a\"]\n";
    let payload = "FILE:5:1 redis.max_payload: is more than a shard's part of server.max_queue_memory, 4194304 bytes: a session that does not take such a message at once is closed";
    assert_eq!(warnings("32MiB", streams), [""; 0]);
    assert_eq!(warnings("16MiB", streams), [payload]);
    let replay = "FILE:11:1 endpoint[0].replay_bytes: in frames, it is more than replays may hold: half of a shard's part of server.max_queue_memory, 4194304 bytes; a client that missed more than fits there is told too_many";
    for (keys, expected) in [
        ("replay_bytes = \"4MiB\"", None),
        ("replay_bytes = \"5MiB\"", Some(replay)),
        ("replay_bytes = \"2MiB\"\nformat = \"json\"", None),
        ("replay_bytes = \"3MiB\"\nformat = \"json\"", Some(replay)),
        ("replay_bytes = \"5MiB\"\nreplay_messages = 0", None),
    ] {
        let warnings = warnings("32MiB", &format!("{streams}{keys}"));
        assert_eq!(warnings, expected.into_iter().collect::<Vec<_>>(), "{keys}");
    }
    assert_eq!(warnings("32MiB", "channels = [\"a\"]\nreplay_bytes = \"9MiB\""), [""; 0]);
}

#[test]
fn the_heartbeat_that_is_printed_is_the_one_that_is_sent() {
    let notice = "heartbeat_notice = \"alive\"\n";
    for (keys, printed) in [
        ("", "0s"),
        ("heartbeat = \"9s\"\n", "0s"),
        (notice, "25s"),
        ("sse = true\n", "25s"),
        ("format = \"json\"\n", "25s"),
        ("format = \"json\"\nheartbeat = \"0s\"\n", "0s"),
        ("format = \"json\"\nheartbeat = \"9s\"\n", "9s"),
    ] {
        let effective = effective(&loaded(&format!("{LEAST}{keys}")));
        let line = format!("heartbeat = {printed:?}\n");
        assert!(effective.contains(&line), "{keys}: no {line} in {effective}");
    }
}

#[test]
fn log_and_shutdown() {
    let text = "[log]\nformat = \"json\"\nlevel = \"debug\"\n[shutdown]\nspread = \"19s\"\nreadiness_delay = \"1s\"\n";
    let config = loaded(&format!("{text}{LEAST}")).config;
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LevelFilter::DEBUG));
    let shutdown = config.shutdown;
    assert_eq!((shutdown.readiness_delay.as_secs(), shutdown.spread.as_secs()), (1, 19));
}

#[test]
fn an_unchecked_audience_is_warned_about() {
    let loaded = loaded(&format!("[auth.jwt]\nsecret = \"{SECRET}\"\n{LEAST}"));
    assert_eq!(
        loaded.warnings,
        ["FILE:1:1 auth.jwt.audience: is empty: tokens made for other services are accepted too"]
    );
}

#[test]
fn files_are_found_beside_the_configuration_and_lose_their_last_newline() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sockway.toml");
    fs::write(directory.path().join("password"), "hunter2\n").unwrap();
    fs::write(directory.path().join("jwt"), format!("{SECRET}\n")).unwrap();
    let text = "[redis]\npassword_file = \"password\"\n[auth.jwt]\nsecret_file = \"jwt\"\n";
    fs::write(&file, format!("{text}{LEAST}")).unwrap();

    let loaded = load(&file).unwrap();

    assert_eq!(loaded.config.redis.password.as_ref().unwrap().expose(), "hunter2");
    let jwt = loaded.config.auth.jwt_settings().unwrap();
    assert!(matches!(&jwt.key, KeySource::HmacSecret(secret) if secret.expose() == SECRET));
    assert!(!format!("{loaded:?}").contains("hunter2"), "no secret in Debug");
}

#[test]
fn a_public_key_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("jwt.pem");
    fs::write(&key, PUBLIC_KEY).unwrap();
    let text = format!("[auth.jwt]\nalgorithms = [\"ES256\"]\npublic_key_file = {key:?}\n{LEAST}");
    let auth = loaded(&text).config.auth;
    let key = &auth.jwt_settings().unwrap().key;
    assert!(matches!(key, KeySource::PublicKeyPem(pem) if pem == PUBLIC_KEY.as_bytes()));
}

#[test]
fn keys_of_an_issuer_may_be_of_several_kinds_and_are_not_fetched_by_a_check() {
    let jwt = "[auth.jwt]\nalgorithms = [\"RS256\", \"ES256\"]\njwks_url = \"https://192.0.2.1/keys?k=1\"";
    let auth = loaded(&format!("{jwt}\n{LEAST}")).config.auth;
    let key = &auth.jwt_settings().unwrap().key;
    assert!(matches!(key, KeySource::Jwks(url) if url.target == "/keys?k=1" && url.tls));
    assert_eq!(auth.key_set().unwrap().missing().as_deref(), Some("not fetched yet"));
}

#[test]
fn one_newline_at_the_end_of_a_secret_is_no_part_of_it_wherever_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    for (end, kept) in
        [("", ""), ("\n", ""), ("\r\n", ""), ("\n\n", "\n"), ("\r", "\r"), (" ", " ")]
    {
        let expected = format!("{SECRET}{kept}");
        let environment = |name: &str| match name {
            "SECRET" => Some(format!("{SECRET}{end}")),
            "URL" => Some(format!("redis://:{SECRET}@host/0{end}")),
            "HASH" => Some(format!(
                "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08{end}"
            )),
            _ => None,
        };
        fs::write(directory.path().join("secret"), format!("{SECRET}{end}")).unwrap();
        let plain = toml::Value::from(format!("{SECRET}{end}"));
        let read = |jwt: &str, redis: &str| {
            let text = format!("[auth.jwt]\n{jwt}\n[redis]\n{redis}\n{LEAST}");
            let name = directory.path().join("FILE");
            let config = parse_with(&text, name.to_str().unwrap(), &environment).unwrap().config;
            let KeySource::HmacSecret(secret) = config.auth.jwt_settings().unwrap().key.clone()
            else {
                panic!("not a secret")
            };
            (secret.expose().to_owned(), config.redis.password.unwrap().expose().to_owned())
        };
        let all = (expected.clone(), expected.clone());
        assert_eq!(read("secret_file = \"secret\"", "password_file = \"secret\""), all, "{end:?}");
        assert_eq!(read("secret = \"${SECRET}\"", "password = \"${SECRET}\""), all, "{end:?}");
        assert_eq!(
            read(&format!("secret = {plain}"), &format!("password = {plain}")),
            all,
            "{end:?}"
        );
        assert_eq!(
            read("secret = \"${SECRET}\"", "url = \"redis://:${SECRET}@host\""),
            all,
            "{end:?}"
        );
        if kept.is_empty() {
            let text = format!(
                "[redis]\nurl = \"${{URL}}\"\n[[auth.token]]\nsha256 = \"${{HASH}}\"\nuser = \"1\"\n{LEAST}"
            );
            let config = parse_with(&text, "FILE", &environment).unwrap().config;
            assert_eq!(config.redis.password.unwrap().expose(), SECRET, "{end:?}");
        }
    }
}

#[test]
fn no_password_is_what_is_written_so() {
    for none in ["\"\"", "\"${UNSET:-}\"", "\"${EMPTY:-}\""] {
        let text = format!("[redis]\npassword = {none}\n{LEAST}");
        assert!(loaded(&text).config.redis.password.is_none(), "{none}");
    }
}

#[test]
fn the_user_of_a_token_is_one_text_however_its_number_is_written() {
    for (written, user) in
        [("42", "42"), ("42.0", "42"), ("4.2e1", "42"), ("-0", "0"), ("-0.0", "0"), ("0x2a", "42")]
    {
        let text = format!(
            "[[auth.token]]\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
             user = {written}\n{LEAST}"
        );
        let now = std::time::SystemTime::now();
        let identity = loaded(&text).config.auth.verify("test", now).unwrap();
        assert_eq!(&*identity.user, user, "{written}");
    }
}

#[test]
fn the_url_of_an_issuer_is_shown_without_its_query() {
    let text = format!(
        "[auth.jwt]\nalgorithms = [\"ES256\"]\njwks_url = \"https://id.example/keys?key=hunter2\"\n{LEAST}"
    );
    let printed = effective(&loaded(&text));
    assert!(printed.contains("jwks_url = \"https://id.example/keys\"\n"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn the_user_and_the_claims_of_a_token_may_be_numbers_and_booleans() {
    let text = format!(
        "[[auth.token]]\nsha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
         user = 42\nclaims = {{ level = -7, admin = true, tenant = \"acme\", groups = [\"a\", 2], realm = {{ ratio = 1.5 }} }}\n{LEAST}"
    );
    let identity = loaded(&text).config.auth.verify("test", std::time::SystemTime::now()).unwrap();
    assert_eq!(&*identity.user, "42");
    for (name, texts) in [
        ("admin", vec!["true"]),
        ("level", vec!["-7"]),
        ("tenant", vec!["acme"]),
        ("groups", vec!["a", "2"]),
        ("realm.ratio", vec!["1.5"]),
    ] {
        assert_eq!(identity.claims.texts(name).unwrap(), texts, "{name}");
    }
}
