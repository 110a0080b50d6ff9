//! The gateway as a whole: bound as a whole, ended as a whole, whatever part of it dies.

use super::*;
use crate::{net::held_port::HeldPort, shard::Shard, testing};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream as StdStream,
    sync::mpsc,
    thread,
    time::Duration,
};
use tokio::{net::TcpStream, task::spawn_blocking, time};

const DEADLINE: Duration = Duration::from_secs(20);

/// What tests of this layer and of the commands do to a gateway.
impl Gateway {
    /// One on free ports, whose Redis is not there.
    pub(crate) fn for_tests(shards: usize) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::at(shards, any, any)
    }

    fn at(shards: usize, public: SocketAddr, admin: SocketAddr) -> Self {
        let text = r#"
            server = { listen = "PUBLIC", shards = SHARDS, max_connections = 10 }
            admin = { listen = "ADMIN" }
            redis = { url = "redis://127.0.0.1:1/0" }
            shutdown = { spread = "100ms", timeout = "10s" }
            endpoint = [{ name = "all", path = "/ws", channels = ["all"], auth = "none" }]
        "#;
        let text = text.replace("SHARDS", &shards.to_string());
        let text = text.replace("PUBLIC", &public.to_string());
        let text = text.replace("ADMIN", &admin.to_string());
        Self::bind(testing::config(&text)).expect("free ports")
    }

    /// Has a shard's thread panic.
    pub(crate) fn kill_shard(&self, shard: usize) {
        self.shards[shard].handle().tell(ShardCommand::Run(Box::new(|_| panic!("on purpose"))));
    }

    /// Ends the Redis side: the real one goes, and with it its ends of the shards' queues. In its
    /// place comes one whose shards have gone before it begins, so that it returns at once.
    pub(crate) fn end_redis_side(&mut self) {
        let (end, shards) = bus::queues_for_tests(2);
        drop(shards);
        let redis = self.config.borrow().redis.clone();
        self.upstream = Upstream::new(redis, end, Arc::clone(&self.metrics)).0;
    }
}

fn gateway() -> Gateway {
    Gateway::for_tests(2)
}

#[tokio::test]
async fn both_ports_are_bound_before_anything_is_served_and_free_after_the_end() {
    for shards in [1, 2] {
        let ports = [(); 2].map(|()| HeldPort::new().unwrap());
        let addresses = [ports[0].address(), ports[1].address()];
        let gateway = Gateway::at(shards, addresses[0], addresses[1]);
        for address in addresses {
            TcpStream::connect(address).await.expect("bound");
        }
        let end = time::timeout(DEADLINE, gateway.run(async {})).await.expect("in time");
        assert_eq!(end.expect("as asked"), StopOutcome::Clean);
        for address in addresses {
            assert!(TcpStream::connect(address).await.is_err(), "{address} is still open");
        }
    }
}

#[tokio::test]
async fn a_shard_that_dies_ends_the_gateway_with_an_error_that_names_it() {
    for last in [0, 1] {
        let gateway = Gateway::for_tests(last + 1);
        gateway.kill_shard(last);
        let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
        assert_eq!(end.expect_err("nobody asked").to_string(), format!("shard {last} died"));
    }
}

#[tokio::test]
async fn a_redis_side_that_ends_ends_the_gateway_with_an_error_that_names_it() {
    let mut gateway = gateway();
    gateway.end_redis_side();
    let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
    assert_eq!(end.expect_err("nobody asked").to_string(), "the Redis side ended unasked");
}

#[tokio::test]
async fn the_last_shard_is_named_as_the_cause_though_the_redis_side_ends_with_it() {
    let gateway = gateway();
    (0..2).for_each(|shard| gateway.kill_shard(shard));
    let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
    let text = end.expect_err("nobody asked").to_string();
    assert!(["shard 0 died", "shard 1 died"].contains(&text.as_str()), "{text}");
}

#[tokio::test]
async fn a_redis_side_that_panics_is_told_with_its_panic() {
    let gateway = gateway();
    let here = tokio::spawn(async { panic!("on purpose") });
    let hosted = gateway.shards[0].host(async { panic!("on purpose") });
    for died in [here, hosted].map(AbortOnDropHandle::new) {
        let error = upstream_panicked(died).await;
        let text = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(text.contains("on purpose"), "{text}");
    }
}

#[tokio::test]
async fn a_shard_that_dies_while_it_drains_is_an_error_all_the_same() {
    let gateway = gateway();
    let shard = gateway.shards[0].handle();
    let phases = gateway.phase.subscribe();
    let dies = async move {
        let mut phases = phases;
        let _ = phases.wait_for(|phase| *phase >= Phase::Terminating).await;
        shard.tell(ShardCommand::Run(Box::new(|_| panic!("on purpose"))));
    };
    let run = time::timeout(DEADLINE, gateway.run(async {}));
    let (end, ()) = tokio::join!(run, dies);
    assert_eq!(end.expect("in time").expect_err("it died").to_string(), "shard 0 died");
}

#[tokio::test]
async fn a_panic_in_one_connection_s_task_leaves_the_gateway_serving() {
    let gateway = gateway();
    let address = gateway.address().unwrap();
    let shard = gateway.shards[0].handle();
    let stopper = gateway.stopper();
    let panics = async {
        for _ in 0..3 {
            let job = |shard: &Shard| shard.spawn(async { panic!("on purpose") });
            shard.tell(ShardCommand::Run(Box::new(job)));
        }
        let (told, heard) = tokio::sync::oneshot::channel();
        shard.tell(ShardCommand::Run(Box::new(|_| told.send(()).expect("somebody waits"))));
        time::timeout(DEADLINE, heard).await.expect("in time").expect("the shard lives");
        TcpStream::connect(address).await.expect("still open");
        stopper.drain.cancel();
    };
    let run = time::timeout(DEADLINE, gateway.run(future::pending()));
    let (end, ()) = tokio::join!(run, panics);
    assert_eq!(end.expect("in time").expect("as asked"), StopOutcome::Clean);
}

#[tokio::test]
async fn a_stop_at_once_is_a_stop_as_asked() {
    let gateway = gateway();
    gateway.stopper().now.cancel();
    let end = time::timeout(DEADLINE, gateway.run(future::pending())).await.expect("in time");
    assert_eq!(end.expect("as asked"), StopOutcome::Forced);
}

/// The whole answer to a plain GET.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = StdStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket can be told");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[tokio::test]
async fn the_admin_port_answers_that_nobody_lives_while_the_whole_data_plane_stands_still() {
    let gateway = gateway();
    let (admin, stopper) = (gateway.admin_address(), gateway.stopper());
    let mut held = Vec::new();
    for shard in &gateway.shards {
        let (release, stuck) = mpsc::channel::<()>();
        shard.handle().tell(ShardCommand::Run(Box::new(move |_| stuck.recv().unwrap_or_default())));
        held.push(release);
    }
    let asks = async {
        // Waiting for this stops the thread of the Redis side and the listener as well.
        let ask = move |path| thread::spawn(move || get(admin, path)).join().expect("an answer");
        for path in ["/metrics", "/status"] {
            let answer = ask(path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
        let deadline = Instant::now() + DEADLINE;
        let answer = loop {
            let answer = ask("/livez");
            if answer.starts_with("HTTP/1.1 503 ") {
                break answer;
            }
            assert!(Instant::now() < deadline, "still alive: {answer}");
        };
        for part in ["shard 0", "shard 1", "the listener", "the Redis side"] {
            assert!(answer.contains(&format!("{part} has given no sign of life")), "{answer}");
        }
        drop(held);
        // In its own time: a sign that was late is given now.
        let answer = spawn_blocking(move || get(admin, "/livez")).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        stopper.drain.cancel();
    };
    let run = time::timeout(DEADLINE, gateway.run(future::pending()));
    let (end, ()) = tokio::join!(run, asks);
    assert_eq!(end.expect("in time").expect("as asked"), StopOutcome::Clean);
}
