//! Every value that is refused, with the position and the words of its refusal.

use super::{LEAST, SECRET, problems};

/// Each text is the head of a configuration that is complete but for this; the problem must be
/// the only one.
fn refuses(cases: &[(&str, &str)]) {
    for (head, problem) in cases {
        assert_eq!(problems(&format!("{head}\n{LEAST}")), [format!("FILE:{problem}")], "{head}");
    }
}

const DURATION: &str =
    "must be a duration: a whole number and a unit, such as \"250ms\", \"10s\", \"5m\" or \"1h\"";
const SIZE: &str =
    "must be a size: a whole number and a unit, such as \"512B\", \"64KiB\" or \"1MiB\"";

#[test]
fn wrong_server_values() {
    let listen = "must be an IP address and a port such as";
    let origin = "must be an origin such as \"https://example.com\", \"http://localhost:3000\" or \
         \"https://*.example.com\": scheme, host, port if it is not the usual one, no path";
    refuses(&[
        (
            "server.listen = \"localhost\"",
            &format!("1:8 server.listen: {listen} \"0.0.0.0:8080\", or \"unix:/path\""),
        ),
        (
            "[server]\nlisten = \"unix:ws\"",
            "2:1 server.listen: must name its unix socket by an absolute path",
        ),
        (
            "[server]\nsocket_mode = \"rw-rw----\"",
            "2:1 server.socket_mode: must be rights in octal such as \"0660\", without setuid, setgid and sticky",
        ),
        (
            "[server]\nsocket_mode = 660",
            "2:1 server.socket_mode: must be a string such as \"0660\", not an integer",
        ),
        (
            "[server]\nsocket_mode = \"0440\"",
            "2:1 server.socket_mode: lets nobody connect, for which a socket must be writable",
        ),
        ("[server]\nshards = 64", "2:1 server.shards: must be a whole number from 0 to 63"),
        ("[server]\nshards = -1", "2:1 server.shards: must be a whole number from 0 to 63"),
        (
            "[server]\nmax_connections = 0",
            "2:1 server.max_connections: must be a whole number from 1 to 10000000",
        ),
        (
            "[server]\nmax_pending_handshakes = 0",
            "2:1 server.max_pending_handshakes: must be a whole number from 1 to 10000000",
        ),
        (
            "[server]\nhandshakes_per_second = 99999999999999999999999",
            "2:1 server.handshakes_per_second: must be a whole number from 0 to 10000000",
        ),
        (
            "[server]\nhandshake_timeout = \"0s\"",
            "2:1 server.handshake_timeout: must be longer than zero",
        ),
        (
            "[server]\nhandshake_timeout = \"10\"",
            &format!("2:1 server.handshake_timeout: {DURATION}"),
        ),
        (
            "[server]\nhandshake_timeout = \"25h\"",
            "2:1 server.handshake_timeout: must be at most \"24h\"",
        ),
        (
            "[server]\nallowed_origins = [\n  \"https://a.com\",\n  \"a.com\",\n]",
            &format!("4:3 server.allowed_origins[1]: {origin}"),
        ),
        (
            "[server]\nallowed_origins = [\"*\"]",
            "2:20 server.allowed_origins[0]: an empty list already allows every origin; \"*\" is not needed",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "2:20 server.trusted_proxies[0]: must be a network such as \"10.0.0.0/8\" or \"::1/128\"",
        ),
        (
            "[server]\ntrusted_proxies = [\"::1\", 1]",
            "2:27 server.trusted_proxies[1]: must be a string, not an integer",
        ),
        (
            "[admin]\nlisten = \"unix:/a\"",
            &format!("2:1 admin.listen: {listen} \"127.0.0.1:9090\""),
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8080\"",
            "2:1 admin.listen: must not be the port of server.listen: this one stays private",
        ),
    ]);
}

#[test]
fn a_poll_that_would_be_busy_is_refused() {
    for poll in ["1ms", "999ms"] {
        let text = format!("[reload]\npoll = \"{poll}\"");
        refuses(&[(&text, "2:1 reload.poll: must be \"0s\" or at least \"1s\"")]);
    }
}

#[test]
fn wrong_places_of_an_issuers_keys() {
    let url = "must be a URL such as \"https://id.example.com/.well-known/jwks.json\"";
    let secure = "must begin with https://; http:// is for localhost and loopback addresses only, \
         since someone who can change the keys on their way can make tokens";
    let jwt = |url: &str| format!("[auth.jwt]\nalgorithms = [\"ES256\"]\njwks_url = \"{url}\"");
    refuses(&[
        (&jwt("keys.json"), &format!("3:1 auth.jwt.jwks_url: {url}")),
        (&jwt("http://id.example.com/keys"), &format!("3:1 auth.jwt.jwks_url: {secure}")),
        (
            &jwt("https://user:hunter2@id.example.com/keys"),
            "3:1 auth.jwt.jwks_url: must not hold a user, a password or a fragment",
        ),
        (
            "[auth.jwt]\njwks_url = \"https://id.example.com/keys\"",
            "1:1 auth.jwt.algorithms: HS256 needs secret_file, not a public key",
        ),
        (
            &format!("{}\nsecret = \"{SECRET}\"", jwt("https://id.example.com/keys")),
            "3:1 auth.jwt.jwks_url: give either this or secret, not both",
        ),
    ]);
}

#[test]
fn what_this_version_lacks_is_refused_as_such() {
    let yet = "is not supported by this version of Sockway yet";
    refuses(&[
        (
            "[redis]\nurl = \"redis-sentinel://a:1,b:2/x\"",
            &format!(
                "2:1 redis.url: redis-sentinel:// {yet}; redis://, rediss:// and redis+unix:// are"
            ),
        ),
        (
            "[redis]\nurl = \"redis-cluster://a:1\"",
            &format!(
                "2:1 redis.url: redis-cluster:// {yet}; redis://, rediss:// and redis+unix:// are"
            ),
        ),
    ]);
}

#[test]
fn wrong_redis_values() {
    let channel =
        "must be printable ASCII without space and the pattern characters * ? [ ] \\; it has";
    refuses(&[
        (
            "[redis]\nurl = \"http://a\"",
            "2:1 redis.url: must begin with redis://, rediss:// or redis+unix://",
        ),
        (
            "[redis]\nurl = \"\"",
            "2:1 redis.url: must begin with redis://, rediss:// or redis+unix://",
        ),
        (
            "[redis]\nusername = \"ann\"",
            "2:1 redis.username: a user needs a password (password_file)",
        ),
        (
            "[redis]\nusername = \"ann\"\nurl = \"redis://bob:x@a\"",
            "2:1 redis.username: redis.url already names a user",
        ),
        (
            "[redis]\npassword = \"hunter2\"\nurl = \"redis://:x@a\"",
            "2:1 redis.password: redis.url already has a password",
        ),
        ("[redis]\npassword = \"${EMPTY}\"", "2:1 redis.password: is empty, as its variable is"),
        (
            "[redis]\nurl = \"redis://:${EMPTY}@a\"",
            "2:1 redis.url: has a \":\" before its \"@\" and no password between them",
        ),
        (
            "[redis]\nprobe_timeout = \"5s\"",
            "2:1 redis.probe_timeout: must be less than probe_interval",
        ),
        (
            "[redis]\nprobe_interval = \"1s\"",
            "1:1 redis.probe_timeout: must be less than probe_interval",
        ),
        ("[redis]\nprobe_interval = \"0s\"", "2:1 redis.probe_interval: must be longer than zero"),
        ("[redis]\nprobe_timeout = \"0s\"", "2:1 redis.probe_timeout: must be longer than zero"),
        (
            "[redis]\nreconnect_min = \"6s\"",
            "2:1 redis.reconnect_min: must be at most reconnect_max",
        ),
        ("[redis]\nreconnect_min = \"0s\"", "2:1 redis.reconnect_min: must be longer than zero"),
        ("[redis]\nreconnect_max = \"0s\"", "2:1 redis.reconnect_max: must be longer than zero"),
        ("[redis]\nlinger = \"soon\"", &format!("2:1 redis.linger: {DURATION}")),
        ("[redis]\nmax_payload = \"8MB\"", &format!("2:1 redis.max_payload: {SIZE}")),
        ("[redis]\nmax_payload = \"0B\"", "2:1 redis.max_payload: must be more than zero"),
        ("[redis]\nmax_payload = \"2GiB\"", "2:1 redis.max_payload: must be at most \"1GiB\""),
        ("[redis]\nprobe_channel = \"a b\"", &format!("2:1 redis.probe_channel: {channel} ' '")),
        ("[redis]\ncontrol_channel = \"a*\"", &format!("2:1 redis.control_channel: {channel} '*'")),
        (
            "[redis]\ncontrol_channel = \"sockway:probe\"",
            "2:1 redis.control_channel: must not be the same as probe_channel",
        ),
        (
            "[server]\non_user_limit = \"close\"",
            "2:1 server.on_user_limit: must be \"refuse\" or \"replace\"",
        ),
        (
            "[redis]\non_revocation_gap = \"ignore\"",
            "2:1 redis.on_revocation_gap: must be \"warn\" or \"close\"",
        ),
        ("[redis]\nchannel_prefix = \"ä\"", &format!("2:1 redis.channel_prefix: {channel} 'ä'")),
        (
            "[redis]\nchannel_prefix = \"__keyspace@0__:\"",
            "2:1 redis.channel_prefix: must not start with \"__keyspace@\": Redis keeps it for itself",
        ),
        (
            "[redis]\nmax_streams = 0",
            "2:1 redis.max_streams: must be a whole number from 1 to 10000000",
        ),
        ("[redis]\nstream_poll = \"30\"", &format!("2:1 redis.stream_poll: {DURATION}")),
        ("[redis]\nstream_field = \"\"", "2:1 redis.stream_field: must not be empty"),
    ]);
}

#[test]
fn wrong_auth_values() {
    let sha256 = "must be 64 hexadecimal digits: the SHA-256 of the token";
    let good = "0".repeat(64);
    refuses(&[
        ("[auth]\nsources = []", "2:1 auth.sources: must have at least one element"),
        (
            "[auth]\nsources = [\"header\", \"header\"]",
            "2:22 auth.sources[1]: is in the list already",
        ),
        (
            "[auth]\nsources = [\"cookie:a\"]",
            "2:12 auth.sources[0]: a cookie as token demands server.allowed_origins",
        ),
        ("[auth]\nreject = \"no\"", "2:1 auth.reject: must be \"status\" or \"close\""),
        (
            "[auth.jwt]",
            "1:1 auth.jwt.secret_file: a key is missing: give secret_file, public_key_file or jwks_url",
        ),
        (
            "[auth.jwt]\nsecret = \"\"",
            "1:1 auth.jwt.secret_file: a key is missing: give secret_file, public_key_file or jwks_url",
        ),
        ("[auth.jwt]\nsecret = \"${EMPTY}\"", "2:1 auth.jwt.secret: is empty, as its variable is"),
        (
            "[auth.jwt]\nsecret = \"${NEWLINE}\"",
            "2:1 auth.jwt.secret: is empty, as its variable is",
        ),
        (
            "[auth.jwt]\nsecret = \"${UNSET}\"",
            "2:1 auth.jwt.secret: environment variable UNSET is not set (or is not UTF-8), and ${UNSET} has no default",
        ),
        (
            "[auth.jwt]\nsecret = \"${SHORT}\"",
            "2:1 auth.jwt.secret: HS256 needs a secret of at least 32 bytes",
        ),
        (
            "[auth.jwt]\nalgorithms = [\"HS256\", \"HS384\"]\nsecret = \"0123456789012345678901234567890123456789\"",
            "3:1 auth.jwt.secret: HS384 needs a secret of at least 48 bytes",
        ),
        (
            "[auth.jwt]\nalgorithms = [\"HS512\"]\nsecret = \"0123456789012345678901234567890123456789\"",
            "3:1 auth.jwt.secret: HS512 needs a secret of at least 64 bytes",
        ),
        (
            "[auth.jwt]\nalgorithms = [\"ES256\"]\nsecret = \"${SOCKWAY_JWT_SECRET}\"",
            "2:15 auth.jwt.algorithms[0]: ES256 needs public_key_file or jwks_url, not a secret",
        ),
        (
            "[auth.jwt]\nalgorithms = []\nsecret = \"${SOCKWAY_JWT_SECRET}\"",
            "2:1 auth.jwt.algorithms: must have at least one element",
        ),
        (
            "[auth.jwt]\naudience = [\"\"]\nsecret = \"${SOCKWAY_JWT_SECRET}\"",
            "2:13 auth.jwt.audience[0]: must not be empty",
        ),
        (
            "[auth.jwt]\nuser_claim = \"\"\nsecret = \"${SOCKWAY_JWT_SECRET}\"",
            "2:1 auth.jwt.user_claim: must not be empty",
        ),
        ("[[auth.token]]\nuser = \"42\"", "1:1 auth.token[0].sha256: is missing"),
        (&format!("[[auth.token]]\nsha256 = \"{good}\""), "1:1 auth.token[0].user: is missing"),
        (
            &format!("[[auth.token]]\nuser = 1.5\nsha256 = \"{good}\""),
            "2:1 auth.token[0].user: must be a string or a whole number, not a float",
        ),
        (
            &format!("[[auth.token]]\nuser = 1e20\nsha256 = \"{good}\""),
            "2:1 auth.token[0].user: must be a string or a whole number, not a float",
        ),
        (
            &format!("[[auth.token]]\nuser = true\nsha256 = \"{good}\""),
            "2:1 auth.token[0].user: must be a string, not a boolean",
        ),
        (
            &format!("[[auth.token]]\nuser = \"\"\nsha256 = \"{good}\""),
            "2:1 auth.token[0].user: must not be empty",
        ),
        (
            "[[auth.token]]\nuser = \"42\"\nsha256 = \"12\"",
            &format!("3:1 auth.token[0].sha256: {sha256}"),
        ),
        (
            &format!("[[auth.token]]\nuser = \"42\"\nsha256 = \"g{}\"", &good[1..]),
            &format!("3:1 auth.token[0].sha256: {sha256}"),
        ),
        (
            &format!("[[auth.token]]\nuser = \"42\"\nsha256 = \"{}\"", "ä".repeat(32)),
            &format!("3:1 auth.token[0].sha256: {sha256}"),
        ),
        (
            &format!(
                "[[auth.token]]\nuser = \"1\"\nsha256 = \"{good}\"\n[[auth.token]]\nuser = \"2\"\nsha256 = \"{good}\""
            ),
            "6:1 auth.token[1].sha256: is the token of an earlier [[auth.token]]",
        ),
        (
            &format!(
                "[[auth.token]]\nuser = \"1\"\nsha256 = \"{good}\"\nclaims = {{ a = \"x\", b = 2026-01-01 }}"
            ),
            "4:21 auth.token[0].claims.b: must be a string, a number, a boolean, a list or a table, not a date or time",
        ),
    ]);
    let unknown =
        problems(&format!("[auth.jwt]\nalgorithms = [\"none\"]\nsecret = \"{SECRET}\"\n{LEAST}"));
    assert!(
        unknown.len() == 1 && unknown[0].starts_with("FILE:2:15 auth.jwt.algorithms[0]: "),
        "{unknown:?}"
    );
    let unknown = problems(&format!("[auth]\nsources = [\"header\", \"body\"]\n{LEAST}"));
    assert!(
        unknown.len() == 1 && unknown[0].starts_with("FILE:2:22 auth.sources[1]: "),
        "{unknown:?}"
    );
}

#[test]
fn wrong_log_and_shutdown_values() {
    refuses(&[
        ("[log]\nformat = \"xml\"", "2:1 log.format: must be \"text\" or \"json\""),
        (
            "[log]\nlevel = \"INFO\"",
            "2:1 log.level: must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        ),
        (
            "[shutdown]\ntimeout = \"4s\"",
            "2:1 shutdown.timeout: must be at least readiness_delay + spread",
        ),
        (
            "[shutdown]\nreadiness_delay = \"16s\"",
            "1:1 shutdown.timeout: must be at least readiness_delay + spread",
        ),
        (
            "[shutdown]\nspread = \"0s\"\ntimeout = \"0s\"",
            "3:1 shutdown.timeout: must be longer than zero",
        ),
    ]);
}

#[test]
fn tables_of_the_wrong_kind() {
    refuses(&[
        ("server = 1", "1:1 server: must be a table, not an integer"),
        ("[[redis]]", "1:1 redis: must be a table, not a list"),
        ("[auth]\ntoken = [1]", "2:10 auth.token[0]: must be a table, not an integer"),
        ("[auth.token]", "1:1 auth.token: must be [[auth.token]] tables, not a table"),
        ("[sever]\nlisten = 1", "1:1 sever: unknown key; did you mean \"server\"?"),
    ]);
    assert_eq!(
        problems("[endpoint]\n"),
        ["FILE:1:1 endpoint: must be [[endpoint]] tables, not a table"]
    );
    assert_eq!(
        problems("endpoint = []\n"),
        ["FILE:1:1 endpoint: at least one [[endpoint]] is needed"]
    );
}

#[test]
fn problems_of_every_kind_are_told_in_one_report_by_position() {
    let text = r#"
sevrer = 1
[server]
listen = 8080
shards = "two"
listne = ""
tls.cert = ""
[redis]
url = "${REDIS_URL}${OTHER}"
probe_interval = "x"
unknown = { a = 1 }
[[endpoint]]
path = "a"
channels = ["{nobody}", 5, "a b"]
colour = true
[[endpoint]]
name = "B"
"#;
    let report = problems(text);
    let places: Vec<_> = report.iter().map(|it| it.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "FILE:2:1 sevrer",
            "FILE:4:1 server.listen",
            "FILE:5:1 server.shards",
            "FILE:6:1 server.listne",
            "FILE:7:5 server.tls.cert",
            "FILE:9:1 redis.url",
            "FILE:9:1 redis.url",
            "FILE:10:1 redis.probe_interval",
            "FILE:11:1 redis.unknown",
            "FILE:12:1 endpoint[0].auth",
            "FILE:12:1 endpoint[0].name",
            "FILE:13:1 endpoint[0].path",
            "FILE:14:13 endpoint[0].channels[0]",
            "FILE:14:25 endpoint[0].channels[1]",
            "FILE:14:28 endpoint[0].channels[2]",
            "FILE:15:1 endpoint[0].colour",
            "FILE:16:1 endpoint[1].auth",
            "FILE:16:1 endpoint[1].channels",
            "FILE:16:1 endpoint[1].path",
            "FILE:17:1 endpoint[1].name",
        ],
        "{report:#?}"
    );
}

#[test]
fn no_report_repeats_a_secret() {
    for text in [
        "[redis]\npassword = \"hunter2\"\nurl = \"redis://ann:hunter2@host:port/x\"",
        "[redis]\nurl = \"redis://ann:hunter2/x@host\"\npassword_file = \"hunter\"",
        "[redis]\nurl = \"redis-sentinel://:hunter2@host\"",
        "[redis]\npassword = \"hunter2${UNSET}\"",
        "[auth.jwt]\nsecret = \"${SHORT}\"",
        "[auth.jwt]\nsecret = hunter2",
        "[auth.jwt]\nsecret = \"hunter2",
        "[[auth.token]]\nsha256 = \"hunter2\"",
    ] {
        let report = problems(&format!("{text}\n{LEAST}")).join("\n");
        assert!(!report.contains("hunter2"), "{report}");
    }
}
