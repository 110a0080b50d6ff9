//! Permissions in Redis: a refused channel affects only the sessions of that channel, a refused
//! password makes the gateway not ready, and it recovers from both by itself.

use crate::rig::{Client, Endpoint, Gateway, Redis, Request, Settings, resp::Reply, wait::until};

/// The fewest rights that a gateway needs: no other channel, no other command.
const RIGHTS: [&str; 14] = [
    "resetchannels",
    "&allowed:*",
    "&sockway:*",
    "-@all",
    "+subscribe",
    "+unsubscribe",
    "+ping",
    "+hello",
    "+auth",
    "+quit",
    "+reset",
    "+client|setname",
    "+client|id",
    "+publish",
];

fn set_user(redis: &Redis, rules: &[&str]) {
    redis.command(&[&["ACL", "SETUSER", "gateway"], rules].concat());
}

fn start(redis: &Redis, password: &str) -> (Gateway, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), format!("{password}\n")).expect("written");
    let room = |name: &str| {
        let (path, channel) = (format!("/ws/{name}/{{room}}"), format!("{name}:{{path.room}}"));
        Endpoint::new(name, &path, &[&channel]).open()
    };
    let settings = Settings::new(redis)
        .set("redis.username", "gateway")
        .set("redis.password_file", file.path().to_str().expect("UTF-8"))
        .endpoint(room("allowed"))
        .endpoint(room("denied"));
    (Gateway::start_unready(&settings), file)
}

#[test]
fn a_channel_that_redis_refuses_is_503_for_its_sessions_and_nobody_else() {
    let redis = Redis::start();
    set_user(&redis, &[&["on", ">right"], &RIGHTS[..]].concat());
    let (gateway, _file) = start(&redis, "right");
    gateway.wait_ready();
    let mut neighbour = gateway.open("/ws/allowed/1");
    let request = Request::upgrade("/ws/denied/1");
    for _ in 0..3 {
        gateway.send(&request).assert_refused(503, "channel_refused");
        redis.publish("allowed:1", "still here");
        assert_eq!(neighbour.text(), "still here");
    }
    assert!(gateway.is_ready());
    assert_eq!(gateway.metrics().get("sockway_redis_reconnects_total"), 0.0);

    redis.command(&["ACL", "SETUSER", "gateway", "&denied:*"]);
    let mut admitted = None;
    until("the channel is permitted now", || {
        admitted = Client::try_open(gateway.address, &request).ok();
        admitted.is_some()
    });
    redis.publish("denied:1", "no longer denied");
    assert_eq!(admitted.expect("just seen").text(), "no longer denied");
}

#[test]
fn a_channel_that_redis_takes_away_closes_its_sessions_once_and_tells_no_gap_of_it() {
    let redis = Redis::start();
    set_user(&redis, &[&["on", ">right"], &RIGHTS[..], &["&denied:*"]].concat());
    let (gateway, _file) = start(&redis, "right");
    gateway.wait_ready();
    let mut neighbour = gateway.open("/ws/allowed/1");
    let mut clients = [gateway.open("/ws/denied/1"), gateway.open("/ws/denied/2")];
    // Redis itself ends a connection that has a channel which its user may not have any more.
    set_user(&redis, &RIGHTS);
    for client in &mut clients {
        client.assert_closed(4012, "channel_refused");
    }
    assert_eq!(neighbour.text(), r#"{"type":"gap"}"#);
    redis.publish("allowed:1", "still here");
    assert_eq!(neighbour.text(), "still here");
    gateway.send(&Request::upgrade("/ws/denied/1")).assert_refused(503, "channel_refused");
    let closed = r#"sockway_sessions_closed_total{endpoint="denied",reason="channel_refused"}"#;
    gateway.wait_metric(closed, 2.0);
    assert_eq!(gateway.metrics().sum("sockway_gaps_total"), 1.0, "of the neighbour alone");
}

#[test]
fn allowed_and_refused_channels_that_come_at_once_do_not_hurt_each_other() {
    let redis = Redis::start();
    set_user(&redis, &[&["on", ">right"], &RIGHTS[..]].concat());
    let (gateway, _file) = start(&redis, "right");
    gateway.wait_ready();
    std::thread::scope(|scope| {
        for turn in 0..30 {
            let (redis, gateway) = (&redis, &gateway);
            scope.spawn(move || {
                if turn % 3 == 0 {
                    let request = Request::upgrade(&format!("/ws/denied/{turn}"));
                    gateway.send(&request).assert_refused(503, "channel_refused");
                } else {
                    let mut client = gateway.open(&format!("/ws/allowed/{turn}"));
                    redis.connect().publish(&format!("allowed:{turn}"), b"here");
                    assert_eq!(client.text(), "here");
                }
            });
        }
    });
}

#[test]
fn a_refused_password_is_a_reason_not_to_be_ready_and_heals_when_redis_is_put_right() {
    let redis = Redis::start();
    set_user(&redis, &[&["on", ">right"], &RIGHTS[..]].concat());
    let (gateway, _file) = start(&redis, "wrong-password");
    until("the refusal is told as a reason", || {
        let readiness = gateway.admin("/readyz");
        assert_eq!(readiness.status, 503);
        readiness.text().to_ascii_lowercase().contains("password")
            || readiness.text().contains("WRONGPASS")
    });
    gateway.send(&Request::upgrade("/ws/allowed/1")).assert_refused(503, "redis_unavailable");
    redis.command(&["ACL", "SETUSER", "gateway", ">wrong-password"]);
    gateway.wait_ready();
    let mut client = gateway.open("/ws/allowed/1");
    redis.publish("allowed:1", "hello");
    assert_eq!(client.text(), "hello");
    assert!(!gateway.process.stderr.text().contains("wrong-password"), "a secret was logged");
}

#[test]
fn a_redis_that_wants_a_password_and_gets_none_is_a_reason_not_to_be_ready() {
    let redis = Redis::start();
    // The test's own connection was made before, and stays open.
    redis.command(&["ACL", "SETUSER", "default", "resetpass", ">needed"]);
    let endpoint = crate::rig::settings::rooms();
    let gateway = Gateway::start_unready(&Settings::new(&redis).endpoint(endpoint));
    until("NOAUTH is told", || gateway.admin("/readyz").text().contains("NOAUTH"));
    redis.command(&["ACL", "SETUSER", "default", "nopass"]);
    gateway.wait_ready();
}

/// The `ACL SETUSER` lines of `docs/security.md`, word by word, in their order; the first one with this password is
/// what every gateway needs, the others what is needed beside that.
pub(crate) fn lines_of_the_page(password: &str) -> Vec<Vec<String>> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let words = |line: &str| line.split(' ').map(|it| it.replace("PASSWORD", password)).collect();
    page.lines().filter(|line| line.starts_with("ACL SETUSER ")).map(words).collect()
}

/// The first line, and the one for streams.
fn lines_for_streams(password: &str) -> [Vec<String>; 2] {
    let mut lines = lines_of_the_page(password).into_iter();
    let first = lines.next().expect("a first line");
    let streams = lines.find(|line| line.iter().any(|word| word == "+xinfo|stream"));
    [first, streams.expect("a line for streams")]
}

pub(crate) fn call(redis: &Redis, words: &[String]) {
    redis.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn assert_denied(redis: &Redis, commands: &[&[&str]]) {
    let mut thief = redis.connect();
    thief.command(&["AUTH", "sockway", "right"]);
    for command in commands {
        let reply = thief.try_command(command).expect("redis answers");
        let refused = matches!(&reply, Reply::Error(error) if error.starts_with("NOPERM"));
        assert!(refused, "{command:?}: {reply:?}");
    }
}

/// A gateway with this endpoint and the account of the page.
fn start_as_the_page(redis: &Redis, endpoint: Endpoint) -> (Gateway, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "right").expect("written");
    let settings = Settings::new(redis)
        .set("redis.username", "sockway")
        .set("redis.password_file", file.path().to_str().expect("UTF-8"));
    (Gateway::start(&settings.endpoint(endpoint)), file)
}

/// The `object` of each entry of Redis's `ACL LOG`: the command or channel that was denied.
fn denied(log: &Reply) -> Vec<String> {
    let Reply::List(entries) = log else { panic!("{log:?}") };
    let object = |entry: &Reply| {
        let Reply::List(fields) = entry else { panic!("{entry:?}") };
        let fields = fields.chunks(2);
        fields.filter(|field| field[0] == Reply::Bytes(b"object".to_vec())).find_map(|field| {
            let Reply::Bytes(object) = &field[1] else { return None };
            Some(String::from_utf8_lossy(object).into_owned())
        })
    };
    entries.iter().map(|entry| object(entry).expect("an entry names its object")).collect()
}

#[test]
fn the_account_of_the_page_is_enough_for_sockway_and_for_nothing_else() {
    let redis = Redis::start();
    let [line, _] = lines_for_streams("right");
    call(&redis, &line);
    let channels = ["user:{user}:notifications", "notifications:global"];
    let endpoint = Endpoint::new("notifications", "/ws", &channels);
    let (mut gateway, _file) = start_as_the_page(&redis, endpoint);
    let mut client = gateway.open_as("42", "/ws");
    redis.publish("user:42:notifications", "hello");
    assert_eq!(client.text(), "hello");
    redis.publish("sockway:control", r#"{"disconnect":{"user":"42"}}"#);
    client.assert_closed(3000, "revoked");
    redis.wait_numsub("user:42:notifications", 0);
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
    // The Redis client asks for `INFO` and works without it.
    let denied = denied(&redis.command(&["ACL", "LOG"]));
    assert!(denied.iter().all(|command| command == "info"), "denied to Sockway: {denied:?}");

    assert_denied(
        &redis,
        &[
            &["PUBLISH", "user:42:notifications", "forged"],
            &["PUBLISH", "sockway:control", "{}"],
            &["SUBSCRIBE", "other"],
            &["PSUBSCRIBE", "*"],
            &["GET", "key"],
            &["KEYS", "*"],
            &["CONFIG", "GET", "*"],
            &["PUBSUB", "CHANNELS"],
            &["CLIENT", "LIST"],
            &["MONITOR"],
            &["ACL", "LIST"],
            &["XRANGE", "chat:7", "-", "+"],
        ],
    );
}

#[test]
fn with_the_line_of_the_page_for_streams_the_account_follows_streams_and_writes_none() {
    let redis = Redis::start();
    for line in lines_for_streams("right") {
        call(&redis, &line);
    }
    let rooms = Endpoint::streams("rooms", "/ws/{room}", &["chat:{path.room}"]).open();
    let (mut gateway, _file) = start_as_the_page(&redis, rooms);
    let mut client = gateway.open("/ws/7");
    let add = |payload: &str| redis.add("chat:7", payload);
    let first = add("first");
    assert_eq!(client.text(), "first");
    let told = r#"sockway_stream_wakes_total{source="canary"}"#;
    until("the canary has come back", || gateway.metrics().get(told) > 0.0);
    add("second");
    // By its position, by the newest, and from an entry that is gone.
    assert_eq!(gateway.open(&format!("/ws/7?since={first}")).text(), "second");
    assert_eq!(gateway.open("/ws/7?last=1").text(), "second");
    assert_eq!(gateway.open("/ws/7?since=1-0").text(), r#"{"type":"gap"}"#);
    let denied = denied(&redis.command(&["ACL", "LOG"]));
    assert!(denied.is_empty(), "denied to Sockway: {denied:?}");
    assert_denied(
        &redis,
        &[
            &["XADD", "chat:7", "*", "data", "forged"],
            &["XTRIM", "chat:7", "MAXLEN", "0"],
            &["DEL", "chat:7"],
            &["PEXPIRE", "chat:7", "1"],
            &["XRANGE", "other", "-", "+"],
            &["XINFO", "GROUPS", "chat:7"],
            &["GET", "chat:7"],
        ],
    );
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
}
