//! `sockway dev` as a new user sees it, with a real Redis.

use crate::process::{DEADLINE, Sockway, wait_for};
use rustix::process::Signal;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};
use tempfile::TempDir;

/// A running `sockway dev` whose temporary files are in a directory of the test.
struct Dev {
    process: Sockway,
    scratch: TempDir,
}

impl Dev {
    fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockway"));
        command.args(["dev", "--port", "0", "--admin-port", "0"]).env("TMPDIR", scratch.path());
        let process = Sockway::start(&mut command);
        process.printed("dev is ready", |line| (line == "ready").then_some(()));
        Self { process, scratch }
    }

    /// The word printed after this one.
    fn printed(&self, word: &str) -> String {
        self.process.printed(word, |line| {
            let mut words = line.split_whitespace().skip_while(|&one| one != word);
            words.nth(1).map(str::to_owned)
        })
    }

    fn redis_port(&self) -> u16 {
        self.printed("-p").parse().unwrap()
    }

    /// The process id of the private Redis, by its own INFO.
    fn redis_process(&self) -> String {
        let info = self.ask_redis("INFO server\r\nQUIT\r\n");
        let id = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        id.expect("INFO names it").trim().to_owned()
    }

    /// Publishes; returns how many subscribers received it.
    fn publish(&self, channel: &str, message: &str) -> String {
        let words =
            ["PUBLISH", channel, message].map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let answer = self.ask_redis(&format!("*3\r\n{}QUIT\r\n", words.concat()));
        answer.lines().next().unwrap().to_owned()
    }

    /// Sends commands, of which the last is QUIT; returns all that comes back.
    fn ask_redis(&self, commands: &str) -> String {
        let mut redis = TcpStream::connect(("127.0.0.1", self.redis_port())).unwrap();
        redis.set_read_timeout(Some(DEADLINE)).unwrap();
        redis.write_all(commands.as_bytes()).unwrap();
        let mut answer = String::new();
        redis.read_to_string(&mut answer).unwrap();
        answer
    }

    /// … of its files and of its Redis, which is asked for by its process: its port may be another's now.
    fn assert_nothing_is_left(&self, redis: &str) {
        let process = Path::new("/proc").join(redis);
        wait_for("Redis is gone", || (!process.exists()).then_some(()));
        wait_for("its directory is gone", || {
            fs::read_dir(self.scratch.path()).unwrap().next().is_none().then_some(())
        });
    }
}

fn listen(arguments: &[&str]) -> Sockway {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockway"));
    let listener = Sockway::start(command.arg("listen").args(arguments));
    listener.noted("connected", |line| (line == "connected").then_some(()));
    listener
}

#[test]
fn what_dev_prints_makes_a_message_arrive_and_nothing_is_left_of_it() {
    let mut dev = Dev::start();
    let (url, token, redis) = (dev.printed("WebSocket"), dev.printed("token"), dev.redis_process());
    let (plain, query) = url.split_once('?').unwrap();
    assert_eq!(query, format!("token={token}"));

    let mut by_url = listen(&[&url]);
    let mut by_header = listen(&[plain, "--token", &token]);
    assert_eq!(dev.publish("user:42:notifications", r#"{"hello":"world"}"#), ":1");
    for listener in [&by_url, &by_header] {
        listener.printed("the message", |line| (line == r#"{"hello":"world"}"#).then_some(()));
    }
    let room = listen(&[&plain.replace("notifications", "rooms/lobby")]);
    assert_eq!(dev.publish("room:lobby", "hi"), ":1");
    room.printed("the message", |line| (line == "hi").then_some(()));

    let added = dev.ask_redis("XADD chat:lobby * data kept\r\nQUIT\r\n");
    let id = added.split("\r\n").nth(1).unwrap();
    let chat = plain.replace("notifications", "chat/lobby");
    let chat = listen(&[&chat, "--token", &token, "--since", "0-0"]);
    chat.printed("what was kept", |line| line.contains(id).then_some(()));

    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.exit_status(), Some(0));
    for listener in [&mut by_url, &mut by_header] {
        assert_eq!(listener.exit_status(), Some(1));
        let why = |line: &str| line.contains("closed: 1012 restarting").then_some(());
        listener.noted("why it ended", why);
    }
    dev.assert_nothing_is_left(&redis);
}

#[test]
fn nothing_is_left_when_the_terminal_goes_or_dev_is_killed() {
    for (signal, status) in [(Signal::TERM, Some(0)), (Signal::HUP, Some(0)), (Signal::KILL, None)]
    {
        let mut dev = Dev::start();
        let redis = dev.redis_process();
        dev.process.signal(signal);
        assert_eq!(dev.process.exit_status(), status, "{signal:?}");
        dev.assert_nothing_is_left(&redis);
    }
}

#[test]
fn dev_ends_with_1_when_its_redis_ends() {
    let mut dev = Dev::start();
    let redis = dev.redis_process();
    dev.ask_redis("SHUTDOWN NOSAVE\r\n");
    assert_eq!(dev.process.exit_status(), Some(1));
    let why = |line: &str| line.contains("the private redis-server has ended").then_some(());
    dev.process.noted("why it ended", why);
    dev.assert_nothing_is_left(&redis);
}
