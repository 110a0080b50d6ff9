//! Stderr is a pipe that nobody reads: a stuck log driver, a terminal after Ctrl-S. The gateway goes
//! on, obeys signals, and says later what it could not say.

use crate::rig::{
    Redis, Request, Settings,
    client::Client,
    process::sockway,
    settings::rooms,
    wait::{LIMIT, until, within},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStderr, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What the line says that tells of them.
const DROPPED: &str = "log records were dropped";

/// A gateway whose log is read up to the line that says where it listens.
struct Unheard {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    address: SocketAddr,
    admin: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Unheard {
    fn start(redis: &Redis) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("sockway.toml");
        std::fs::write(&file, Settings::new(redis).endpoint(rooms()).text()).expect("written");
        let mut child = sockway()
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (address, admin) = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).expect("it is ours") > 0, "it ended");
            let record: Value = serde_json::from_str(&line).expect("one record a line");
            if record["message"] == "listening" {
                let of = |field: &str| record[field].as_str().expect("an address").parse();
                break (of("address").expect("TCP"), of("admin").expect("TCP"));
            }
        };
        let stderr = Some(stderr);
        let unheard = Self { child, stderr, address, admin, _directory: directory };
        until("it is ready", || unheard.ask("/readyz").0 == 200);
        unheard
    }

    fn ask(&self, path: &str) -> (u16, String) {
        let response = Request::get(path).header("Connection", "close").send(self.admin);
        (response.status, response.text())
    }

    /// Reads the log to its end.
    fn read_log(&mut self, text: Arc<Mutex<String>>) -> JoinHandle<()> {
        let stderr = self.stderr.take().expect("it is read once");
        thread::spawn(move || {
            for line in stderr.lines() {
                *text.lock().expect("no panic") += &(line.expect("UTF-8") + "\n");
            }
        })
    }

    fn dropped(&self) -> u64 {
        let text = self.ask("/metrics").1;
        let line =
            text.lines().find_map(|it| it.strip_prefix("sockway_log_records_dropped_total "));
        line.expect("it exists from the start").parse().expect("a count")
    }

    /// Opens and leaves so many sessions, each of which makes a record.
    fn sessions(&self, count: usize) {
        for _ in 0..count {
            drop(Client::open(self.address, &Request::upgrade("/ws/rooms/1")));
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_sessions_nor_health_nor_a_signal() {
    let redis = Redis::start();
    let mut gateway = Unheard::start(&redis);
    // Some 350 records fill the pipe, whoever writes them.
    gateway.sessions(600);
    for path in ["/livez", "/readyz"] {
        assert_eq!(gateway.ask(path).0, 200, "{path}");
    }
    let mut client = Client::open(gateway.address, &Request::upgrade("/ws/rooms/1"));
    redis.publish("room:1", "still served");
    assert_eq!(client.text(), "still served");
    drop(client);

    kill_process(Pid::from_child(&gateway.child), Signal::TERM).expect("it runs");
    let child = &mut gateway.child;
    let status = within(Duration::from_secs(10), "SIGTERM is obeyed", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn records_that_found_the_queue_full_are_counted_and_told_when_the_log_is_read_again() {
    let redis = Redis::start();
    let mut gateway = Unheard::start(&redis);
    assert_eq!(gateway.dropped(), 0);
    let deadline = Instant::now() + 3 * LIMIT;
    while gateway.dropped() == 0 {
        assert!(Instant::now() < deadline, "nothing is dropped");
        thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| gateway.sessions(100))));
        });
    }
    let dropped = gateway.dropped();
    let text = Arc::new(Mutex::new(String::new()));
    let reader = gateway.read_log(Arc::clone(&text));
    until("it is told", || text.lock().expect("no panic").contains(DROPPED));
    kill_process(Pid::from_child(&gateway.child), Signal::TERM).expect("it runs");
    reader.join().expect("no panic");
    let text = text.lock().expect("no panic").clone();
    let told = text.lines().filter(|line| line.contains(DROPPED));
    let told = told.map(|line| {
        let record: Value = serde_json::from_str(line).expect("one record a line");
        record["dropped"].as_u64().expect("a number")
    });
    let told: u64 = told.sum();
    assert!(told >= dropped, "{told} told of {dropped}");
    assert!(text.contains("\"stopped\""), "the last record is written");
}
