//! Connection limits: a client over a limit still gets an answer, and a freed place can be taken.

use crate::rig::{
    Client, Frame, Gateway, Redis, Request, Settings, http,
    settings::{notifications, rooms},
    token,
    wait::until,
};
use std::{
    collections::VecDeque,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn start(key: &str, limit: i64) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings =
        Settings::new(&redis).set(key, limit).endpoint(rooms()).endpoint(notifications());
    let gateway = Gateway::start(&settings);
    (redis, gateway)
}

/// The place of a session that ended is soon free.
#[track_caller]
fn until_admitted(gateway: &Gateway, request: &Request) -> Client {
    let mut admitted = None;
    until("a place is free again", || {
        admitted = Client::try_open(gateway.address, request).ok();
        admitted.is_some()
    });
    admitted.expect("just seen")
}

#[test]
fn connections_above_max_connections_are_503_until_one_leaves() {
    let (_redis, gateway) = start("server.max_connections", 3);
    let clients: Vec<_> = (0..3).map(|_| gateway.open("/ws/rooms/1")).collect();
    let request = Request::upgrade("/ws/rooms/1");
    gateway.send(&request).assert_refused(503, "at_capacity");
    assert_eq!(gateway.admin("/livez").status, 200);
    drop(clients);
    until_admitted(&gateway, &request);
}

/// Three limits have one code, and no client is told which limits there are.
#[test]
fn the_log_names_the_limit_that_was_reached() {
    for key in [
        "max_connections",
        "handshakes_per_second",
        "max_connections_per_ip",
        "max_sessions_per_user",
    ] {
        let (_redis, gateway) = start(&format!("server.{key}"), 1);
        let request = forwarded("/ws/me", "203.0.113.7").bearer(&token::of("ann"));
        let (mut clients, mut refused) = (Vec::new(), 0);
        until("it is reached twice", || {
            match Client::try_open(gateway.address, &request) {
                Ok(client) => clients.push(client),
                Err(_) => refused += 1,
            }
            refused == 2
        });
        let limit = format!("\"limit\":\"server.{key}\"");
        let log = &gateway.process.stderr;
        log.wait_for(&limit, |line| line.contains(&limit).then_some(()));
        let lines = log.all().into_iter().filter(|line| line.contains("a limit is reached"));
        assert_eq!(lines.count(), 1, "{key}");
    }
}

#[test]
fn connections_above_the_limit_of_an_address_are_429_and_others_are_not_concerned() {
    let (_redis, gateway) = start("server.max_connections_per_ip", 2);
    let from = |address: &str| Request::upgrade("/ws/rooms/1").header("X-Forwarded-For", address);
    let _clients: Vec<_> =
        (0..2).map(|_| Client::open(gateway.address, &from("203.0.113.7"))).collect();
    gateway.send(&from("203.0.113.7")).assert_refused(429, "address_limit");
    Client::open(gateway.address, &from("203.0.113.8"));
}

#[test]
fn a_forwarded_address_is_believed_only_from_a_trusted_proxy() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_connections_per_ip", 2)
        .set("server.trusted_proxies", vec!["192.0.2.0/24"])
        .endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let from = |address: &str| Request::upgrade("/ws/rooms/1").header("X-Forwarded-For", address);
    let _clients: Vec<_> = ["203.0.113.1", "203.0.113.2"]
        .map(|address| Client::open(gateway.address, &from(address)))
        .into();
    gateway.send(&from("203.0.113.3")).assert_refused(429, "address_limit");
}

#[test]
fn sessions_above_the_limit_of_a_user_are_429_until_one_leaves() {
    let (_redis, gateway) = start("server.max_sessions_per_user", 2);
    let ann = Request::upgrade("/ws/me").bearer(&token::of("ann"));
    let clients: Vec<_> = (0..2).map(|_| Client::open(gateway.address, &ann)).collect();
    gateway.send(&ann).assert_refused(429, "user_limit");
    gateway.open_as("bob", "/ws/me");
    drop(clients);
    until_admitted(&gateway, &ann);
}

/// With "replace" a user has his place though the network of another session of his swallows everything.
#[test]
fn a_session_that_nobody_answers_for_keeps_its_user_out_no_longer_on_whichever_shard() {
    const SHARDS: usize = 4;
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.shards", SHARDS as i64)
        .set("server.max_sessions_per_user", 1)
        .set("server.on_user_limit", "replace")
        .endpoint(notifications());
    let gateway = Gateway::start(&settings);
    let ann = Request::upgrade("/ws/me").bearer(&token::of("ann"));
    let bob = gateway.open_as("bob", "/ws/me");
    // Never read and never closed: to the gateway, a client whose network is gone.
    let mut dead = vec![Client::open(gateway.address, &ann)];
    let began = Instant::now();
    for _ in 0..2 * SHARDS {
        dead.push(Client::open(gateway.address, &ann));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "it waited for the dead: {took:?}");
    let mut newest = dead.pop().expect("it was opened");
    for mut replaced in dead {
        assert_eq!(replaced.event(), Frame::Close(4011, "replaced".to_owned()));
    }
    redis.publish("user:ann", "for the living");
    assert_eq!(newest.text(), "for the living");
    let count = "sockway_sessions_closed_total{endpoint=\"notifications\",reason=\"replaced\"}";
    gateway.wait_metric(count, (2 * SHARDS) as f64);
    gateway.wait_metric("sockway_sessions{endpoint=\"notifications\"}", 2.0);
    drop(bob);
}

#[test]
fn a_handshake_that_is_refused_costs_its_user_no_session() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_sessions_per_user", 1)
        .set("server.on_user_limit", "replace")
        .endpoint(notifications())
        .endpoint(rooms().set("auth", "required").set("channels", vec!["{claim.room}"]));
    let gateway = Gateway::start(&settings);
    let mut ann = gateway.open_as("ann", "/ws/me");
    let refused = Request::upgrade("/ws/rooms/1").bearer(&token::of("ann"));
    gateway.send(&refused).assert_refused(403, "claim_missing");
    redis.publish("user:ann", "still here");
    assert_eq!(ann.text(), "still here");
}

/// An upgrade that a proxy forwards for this address.
fn forwarded(target: &str, address: &str) -> Request {
    Request::upgrade(target).header("X-Forwarded-For", address)
}

#[test]
fn an_ipv6_network_is_one_address_however_it_is_written() {
    let (_redis, gateway) = start("server.max_connections_per_ip", 1);
    let _held = Client::open(gateway.address, &forwarded("/ws/rooms/1", "2001:db8:0:7::1"));
    for same in ["2001:db8:0:7::2", "[2001:db8:0:7:ffff::1]:443", "2001:DB8:0:7:1:2:3:4"] {
        gateway.send(&forwarded("/ws/rooms/1", same)).assert_refused(429, "address_limit");
    }
    Client::open(gateway.address, &forwarded("/ws/rooms/1", "2001:db8:0:8::1"));
}

#[test]
fn nonsense_in_front_of_the_reported_address_makes_no_other_client_of_it() {
    let (_redis, gateway) = start("server.max_connections_per_ip", 1);
    let _held = Client::open(gateway.address, &forwarded("/ws/rooms/1", "203.0.113.7"));
    let thousand = vec!["1.1.1.1"; 700].join(",");
    for hostile in ["1.1.1.1", "127.0.0.1", "fe80::1%eth0", "garbage", ",,", "::", &thousand] {
        let list = format!("{hostile}, 203.0.113.7, 127.0.0.1");
        let refused = gateway.send(&forwarded("/ws/rooms/1", &list));
        refused.assert_refused(429, "address_limit");
    }
    // An invalid right-most entry was written by the proxy: the connection counts for the proxy.
    let _proxy = Client::open(gateway.address, &forwarded("/ws/rooms/1", "203.0.113.8, garbage"));
    let another = gateway.send(&forwarded("/ws/rooms/1", "203.0.113.9, unknown"));
    another.assert_refused(429, "address_limit");
}

/// Ends a connection in one of the many ways in which connections end.
fn end_somehow(gateway: &Gateway, number: usize) {
    let token = token::of("ann");
    let from = |target: &str| forwarded(target, "203.0.113.7");
    let open = || Client::try_open(gateway.address, &from("/ws/me").bearer(&token));
    match number % 9 {
        0 => drop(open()),
        1 => drop(open().map(Client::reset)),
        2 => drop(open().map(Client::bye)),
        3 => drop(open().map(|mut client| client.send_bytes(b"\xFF\xFF\xFF"))),
        4 => drop(gateway.send(&from("/ws/me"))),
        5 => drop(gateway.send(&from("/ws/me").bearer("garbage"))),
        6 => drop(gateway.send(&from("/nowhere"))),
        7 => drop(TcpStream::connect(gateway.address)),
        _ => {
            let mut half = TcpStream::connect(gateway.address).expect("a connection");
            let request = from("/ws/me").bearer(&token).encode();
            half.write_all(&request[..request.len() - 3]).expect("taken");
        }
    }
}

#[test]
fn every_place_is_given_back_however_a_connection_ends() {
    const PLACES: usize = 4;
    let redis = Redis::start();
    let places = PLACES as i64;
    let settings = Settings::new(&redis)
        .set("server.max_connections_per_ip", places)
        .set("server.max_sessions_per_user", places)
        .set("server.max_connections", places)
        .endpoint(notifications());
    let gateway = Gateway::start(&settings);
    thread::scope(|threads| {
        for start in 0..3 {
            let gateway = &gateway;
            threads.spawn(move || (0..150).for_each(|number| end_somehow(gateway, start + number)));
        }
    });
    gateway.wait_metric("sockway_sessions{endpoint=\"notifications\"}", 0.0);
    // Takes every place of the address, the user and the gateway, and then one too many.
    let ann = forwarded("/ws/me", "203.0.113.7").bearer(&token::of("ann"));
    let _all: Vec<_> = (0..PLACES).map(|_| until_admitted(&gateway, &ann)).collect();
    let answer = gateway.send(&ann);
    assert!([429, 503].contains(&answer.status), "{}", answer.status);
}

#[test]
fn the_limits_of_an_address_and_a_user_hold_over_all_shards() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.shards", 4)
        .set("server.max_connections_per_ip", 8)
        .set("server.max_sessions_per_user", 5)
        .endpoint(notifications());
    let gateway = Gateway::start(&settings);
    let of = |user: &str| forwarded("/ws/me", "203.0.113.7").bearer(&token::of(user));
    let _anns: Vec<_> = (0..5).map(|_| Client::open(gateway.address, &of("ann"))).collect();
    gateway.send(&of("ann")).assert_refused(429, "user_limit");
    let _bobs: Vec<_> = (0..3).map(|_| until_admitted(&gateway, &of("bob"))).collect();
    gateway.send(&of("bob")).assert_refused(429, "address_limit");
}

#[test]
fn handshakes_above_the_rate_are_503() {
    let (_redis, gateway) = start("server.handshakes_per_second", 5);
    let request = Request::upgrade("/ws/rooms/1");
    let mut refused = None;
    until("the rate is reached", || {
        refused = Client::try_open(gateway.address, &request).err();
        refused.is_some()
    });
    refused.expect("just seen").assert_refused(503, "at_capacity");
    until_admitted(&gateway, &request);
}

#[test]
fn clients_that_never_finish_their_request_do_not_keep_others_out() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_pending_handshakes", 4)
        .set("server.handshake_timeout", "60s")
        .endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let _silent: Vec<_> = (0..20).map(|_| http::connect(gateway.address)).collect();
    until_admitted(&gateway, &Request::upgrade("/ws/rooms/1"));
}

/// A stranger who connects as fast as it can and says nothing, until dropped.
struct Flood {
    ended: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn start(address: SocketAddr) -> Self {
        const OPEN: usize = 64;
        let ended = Arc::new(AtomicBool::new(false));
        let flood = move |ended: Arc<AtomicBool>| {
            let mut open = VecDeque::new();
            while !ended.load(Ordering::Relaxed) {
                open.extend(TcpStream::connect(address).ok());
                if open.len() > OPEN {
                    open.pop_front();
                }
            }
        };
        let threads = (0..2).map(|_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || flood(ended))
        });
        Self { threads: threads.collect(), ended }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

#[test]
fn one_address_that_connects_as_fast_as_it_can_keeps_no_other_out() {
    let redis = Redis::start();
    let settings = Settings::new(&redis)
        .set("server.max_pending_handshakes", 16)
        // Without a proxy: each address of this machine is a client of its own.
        .set("server.trusted_proxies", Vec::<String>::new())
        .endpoint(rooms());
    let gateway = Gateway::start(&settings);
    let flood = Flood::start(gateway.address);
    let refused = "sockway_handshakes_refused_total{reason=\"at_capacity\"}";
    until("all places are taken", || gateway.metrics().get(refused) > 0.0);
    for _ in 0..50 {
        let elsewhere = http::connect_from(Ipv4Addr::new(127, 0, 0, 2), gateway.address);
        Client::over(elsewhere, &Request::upgrade("/ws/rooms/1"));
    }
    drop(flood);
}

#[test]
fn only_complete_requests_for_an_endpoint_count_in_the_rate() {
    let (_redis, gateway) = start("server.handshakes_per_second", 5);
    let _silent: Vec<_> = (0..20).map(|_| http::connect(gateway.address)).collect();
    for _ in 0..20 {
        gateway.send(&Request::upgrade("/nowhere")).assert_refused(404, "not_found");
    }
    gateway.open("/ws/rooms/1");
}
