//! What Redis permits: a channel it refuses concerns that channel's sessions alone, a password it
//! refuses is a reason not to be ready, and both heal by themselves.

use crate::rig::{Client, Endpoint, Gateway, Redis, Request, Settings, wait::until};

/// The smallest rights of a gateway: no other channel, no other command.
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
    // The test's own connection was made before, and stays.
    redis.command(&["ACL", "SETUSER", "default", "resetpass", ">needed"]);
    let endpoint = crate::rig::settings::rooms();
    let gateway = Gateway::start_unready(&Settings::new(&redis).endpoint(endpoint));
    until("NOAUTH is told", || gateway.admin("/readyz").text().contains("NOAUTH"));
    redis.command(&["ACL", "SETUSER", "default", "nopass"]);
    gateway.wait_ready();
}
