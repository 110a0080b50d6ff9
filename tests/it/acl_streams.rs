//! Streams under an account of the fewest rights, and with each of these taken away: what then happens,
//! and what goes on all the same.

use crate::rig::{Endpoint, Gateway, Redis, Request, Settings, resp::Reply, wait::until};

/// What every gateway needs.
const RIGHTS: [&str; 14] = [
    "reset",
    "on",
    ">right",
    "&sockway:*",
    "-@all",
    "+subscribe",
    "+unsubscribe",
    "+publish",
    "+ping",
    "+hello",
    "+auth",
    "+quit",
    "+client|setname",
    "+client|id",
];

/// What streams need beside that.
const STREAM_RIGHTS: [&str; 10] = [
    "%R~chat:*",
    "%R~sockway:probe:stream:*",
    "+role",
    "+client|tracking",
    "+info",
    "+xinfo|stream",
    "+xrange",
    "+xrevrange",
    "+multi",
    "+exec",
];

const CANARY: &str = "(~sockway:probe:stream:* +xadd +pexpire)";

struct Scene {
    redis: Redis,
    gateway: Gateway,
    _password: tempfile::NamedTempFile,
}

impl Scene {
    /// A gateway whose account has all of the rights but this one.
    fn without(right: &str) -> Self {
        let redis = Redis::start();
        let rights = STREAM_RIGHTS.into_iter().chain([CANARY]).filter(|it| *it != right);
        let rights: Vec<_> = RIGHTS.into_iter().chain(rights).collect();
        redis.command(&[&["ACL", "SETUSER", "sockway"], &rights[..]].concat());
        let password = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(password.path(), "right").expect("written");
        let rooms = Endpoint::streams("rooms", "/ws/{room}", &["chat:{path.room}"]).open();
        let settings = Settings::new(&redis)
            .set("redis.username", "sockway")
            .set("redis.password_file", password.path().to_str().expect("UTF-8"))
            .endpoint(rooms.set("format", "json"));
        let gateway = Gateway::start_unready(&settings);
        Self { redis, gateway, _password: password }
    }

    fn ready_without(right: &str) -> Self {
        let scene = Self::without(right);
        scene.gateway.wait_ready();
        scene
    }

    fn add(&self, payload: &str) -> String {
        self.redis.add("chat:7", payload)
    }

    fn refused(&self, target: &str, code: &str) {
        self.gateway.send(&Request::upgrade(target)).assert_refused(503, code);
    }

    /// What Redis has denied, by name.
    fn denied(&self) -> Vec<String> {
        let Reply::List(entries) = self.redis.command(&["ACL", "LOG"]) else { panic!("no list") };
        let object = |entry: &Reply| {
            let Reply::List(fields) = entry else { panic!("{entry:?}") };
            let mut fields = fields.chunks(2);
            let field = fields.find(|field| field[0] == Reply::Bytes(b"object".to_vec()));
            format!("{:?}", field.expect("an entry names its object")[1])
        };
        entries.iter().map(object).collect()
    }

    /// A live session gets what is added, and one that returns what it has missed.
    fn follows_and_resumes(&self) {
        let first = self.add("first");
        let mut client = self.gateway.open("/ws/7");
        assert_eq!(client.json()["type"], "ready");
        self.add("second");
        let mut data = client.json()["data"].take();
        // Of a stream that lingers from the turn before it may not have been read yet.
        if data == "first" {
            data = client.json()["data"].take();
        }
        assert_eq!(data, "second");
        let mut back = self.gateway.open(&format!("/ws/7?since={first}"));
        assert_eq!(back.json()["streams"]["chat:7"]["recovered"], true);
        assert_eq!(back.json()["data"], "second");
    }

    fn proofs(&self) -> f64 {
        self.gateway.metrics().get(r#"sockway_stream_wakes_total{source="canary"}"#)
    }
}

#[test]
fn the_fewest_rights_are_enough_for_all_of_streams_and_redis_denies_nothing() {
    let scene = Scene::ready_without("nothing");
    scene.follows_and_resumes();
    let mut newest = scene.gateway.open("/ws/7?last=1");
    assert_eq!(newest.json()["type"], "ready");
    assert_eq!(newest.json()["data"], "second");
    until("the canary is told", || scene.proofs() > 0.0);
    assert_eq!(scene.denied(), Vec::<String>::new());
}

#[test]
fn without_info_or_role_or_the_canary_everything_works_and_what_is_not_proven_is_logged() {
    for (right, logged) in [
        ("+info", "Redis does not answer INFO"),
        ("+role", ""),
        (CANARY, "the streams' canary is refused"),
    ] {
        let scene = Scene::ready_without(right);
        scene.follows_and_resumes();
        let log = &scene.gateway.process.stderr;
        until("it is logged", || log.text().contains(logged));
        assert!(scene.gateway.is_ready(), "{right}");
        let lost = scene.gateway.metrics().get("sockway_redis_reconnects_total");
        assert_eq!(lost, 0.0, "{right}");
    }
}

#[test]
fn without_client_tracking_the_gateway_is_not_ready_and_says_why() {
    let scene = Scene::without("+client|tracking");
    until("it is told", || scene.gateway.admin("/readyz").text().contains("tracking_refused"));
    scene.refused("/ws/7", "tracking_refused");
    scene.redis.command(&["ACL", "SETUSER", "sockway", "+client|tracking"]);
    scene.gateway.wait_ready();
    scene.follows_and_resumes();
}

#[test]
fn without_a_right_to_the_keys_their_sessions_are_refused_and_the_gateway_is_ready() {
    let keys = "%R~chat:*";
    let scene = Scene::ready_without(keys);
    scene.refused("/ws/7", "channel_refused");
    assert!(scene.gateway.is_ready());
    scene.redis.command(&["ACL", "SETUSER", "sockway", keys]);
    until("it is asked for again", || scene.gateway.send(&Request::upgrade("/ws/7")).status == 101);
}

#[test]
fn without_a_command_that_every_stream_needs_the_gateway_is_not_ready_and_says_why() {
    for right in ["+xinfo|stream", "+xrange", "+multi", "+exec"] {
        let scene = Scene::without(right);
        let told = || scene.gateway.admin("/readyz").text().contains("tracking_refused");
        until("it is told", told);
        scene.refused("/ws/7", "tracking_refused");
        scene.redis.command(&["ACL", "SETUSER", "sockway", right]);
        scene.gateway.wait_ready();
        scene.follows_and_resumes();
    }
}

#[test]
fn sessions_that_are_open_stay_while_a_command_is_forbidden_and_miss_nothing() {
    let scene = Scene::ready_without("nothing");
    let mut client = scene.gateway.open("/ws/7");
    assert_eq!(client.json()["type"], "ready");
    scene.redis.command(&["ACL", "SETUSER", "sockway", "-xrange"]);
    scene.add("first");
    let told = || scene.gateway.admin("/readyz").text().contains("tracking_refused");
    until("it is told", told);
    scene.add("second");
    scene.redis.command(&["ACL", "SETUSER", "sockway", "+xrange"]);
    scene.gateway.wait_ready();
    for payload in ["first", "second"] {
        assert_eq!(client.json()["data"], payload);
    }
}

#[test]
fn without_xrevrange_only_those_who_ask_for_the_newest_are_refused() {
    let scene = Scene::ready_without("+xrevrange");
    scene.follows_and_resumes();
    scene.refused("/ws/7?last=1", "channel_refused");
    scene.follows_and_resumes();
}
