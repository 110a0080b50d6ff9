//! A Redis that answers and refuses: it is retried with back-off, and its error is reported.

use crate::rig::{Gateway, Redis, Request, Settings, proxy::Proxy, settings::rooms, wait::until};
use std::{fs, thread, time::Duration};
use tempfile::NamedTempFile;

/// An error that Redis refuses with, and how to provoke it.
struct Refusal {
    says: &'static str,
    redis: Redis,
    /// The password of the gateway's account, if it has one.
    password: Option<&'static str>,
}

fn wants_a_password() -> Refusal {
    let redis = Redis::start();
    // The test's own connection must have been made before.
    redis.command(&["PING"]);
    redis.command(&["ACL", "SETUSER", "default", "resetpass", ">needed"]);
    Refusal { says: "NOAUTH", redis, password: None }
}

fn knows_another_password() -> Refusal {
    let redis = Redis::start();
    redis.command(&["ACL", "SETUSER", "gateway", "on", ">right", "allchannels", "+@all"]);
    Refusal { says: "WRONGPASS", redis, password: Some("wrong") }
}

fn permits_nothing() -> Refusal {
    let redis = Redis::start();
    redis.command(&["ACL", "SETUSER", "gateway", "on", ">right", "-@all", "+hello", "+auth"]);
    Refusal { says: "NOPERM", redis, password: Some("right") }
}

fn is_full() -> Refusal {
    let redis = Redis::start();
    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    Refusal { says: "max number of clients", redis, password: None }
}

/// A gateway with the default back-off, and a proxy that counts its connections to Redis.
struct Refused {
    refusal: Refusal,
    proxy: Proxy,
    gateway: Gateway,
    _file: NamedTempFile,
}

impl Refused {
    fn start(refusal: Refusal) -> Self {
        let (proxy, file) = (Proxy::to(&refusal.redis.address()), NamedTempFile::new());
        let file = file.expect("a temporary file");
        let mut settings = Settings::with_url(&proxy.url())
            .without("redis.reconnect_min")
            .without("redis.reconnect_max");
        if let Some(password) = refusal.password {
            fs::write(file.path(), password).expect("written");
            let path = file.path().to_str().expect("UTF-8");
            settings = settings.set("redis.username", "gateway").set("redis.password_file", path);
        }
        let gateway = Gateway::start_unready(&settings.endpoint(rooms()));
        Self { refusal, proxy, gateway, _file: file }
    }
}

#[test]
fn a_redis_that_refuses_is_dialled_ten_times_in_ten_seconds_at_most() {
    let kinds = [wants_a_password, knows_another_password, permits_nothing, is_full];
    let all: Vec<Refused> = kinds.into_iter().map(|kind| Refused::start(kind())).collect();
    let dials = |one: &Refused| one.proxy.dials();
    let says = |one: &Refused| one.refusal.says;
    for one in &all {
        until(says(one), || one.gateway.admin("/readyz").text().contains(says(one)));
    }
    let before: Vec<usize> = all.iter().map(dials).collect();
    // Not a wait for something: the dials of these ten seconds are what is counted.
    thread::sleep(Duration::from_secs(10));
    for (one, before) in all.iter().zip(before) {
        let more = dials(one) - before;
        // Where the login succeeds the connection stays, and what is refused on it is asked for again.
        let stays = says(one) == "NOPERM";
        let least = usize::from(!stays);
        assert!((least..=10).contains(&more), "{}: {more} dials", says(one));
        let readiness = one.gateway.admin("/readyz");
        assert_eq!(readiness.status, 503);
        assert!(readiness.text().contains(says(one)), "{}", readiness.text());
        let request = Request::upgrade("/ws/rooms/1");
        one.gateway
            .send(&request)
            .assert_refused(503, if stays { "channel_refused" } else { "redis_unavailable" });
    }
    let permitted = all.iter().find(|one| says(one) == "NOPERM").expect("one of them");
    permitted.refusal.redis.command(&["ACL", "SETUSER", "gateway", "allchannels", "+@all"]);
    permitted.gateway.wait_ready();
}
