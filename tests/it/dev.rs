//! `sockway dev`: what it prints works as printed, and it leaves nothing behind.

use crate::rig::{
    Client, HeldPort, Request,
    process::{Process, sockway},
    wait::until,
};
use rustix::process::Signal;
use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};
use tempfile::TempDir;

/// What it prints for its user.
struct Printed {
    /// `ws://…?token=…`
    url: String,
    /// `redis-cli … publish …`
    publish: String,
    /// `redis-cli … publish sockway:control …`
    revoke: String,
    /// The page.
    page: String,
}

impl Printed {
    fn of(text: &str) -> Self {
        let word = |start: &str, with: &str| {
            let mut words = text.split([' ', '\n', '"', '\'']);
            words.find(|word| word.starts_with(start) && word.contains(with)).map(str::to_owned)
        };
        let line = |with: &str| {
            let mut lines = text.lines().map(str::trim);
            let line = lines.find(|line| line.starts_with("redis-cli") && line.contains(with));
            line.expect(with).to_owned()
        };
        Self {
            url: word("ws://", "token=").expect("a URL with its token"),
            publish: line(" publish user:"),
            revoke: line(" publish sockway:control"),
            page: word("http://", "").expect("the page"),
        }
    }
}

fn address(url: &str) -> SocketAddr {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    host.and_then(|host| host.parse().ok()).expect("an address")
}

/// Starts `sockway dev` with a directory of its own for temporary files.
fn start() -> (Process, TempDir, Printed) {
    let (dev, temporary) = launch(&["--port", "0", "--admin-port", "0"]);
    let printed = wait_ready(&dev);
    (dev, temporary, printed)
}

fn launch(arguments: &[&str]) -> (Process, TempDir) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = sockway();
    command.arg("dev").args(arguments).env("TMPDIR", temporary.path());
    (Process::start(&mut command), temporary)
}

fn wait_ready(dev: &Process) -> Printed {
    dev.stdout.wait_for("it says ready", |line| (line == "ready").then_some(()));
    Printed::of(&dev.stdout.text())
}

fn shell(line: &str) -> String {
    let mut shell = Process::start(Command::new("sh").args(["-c", line]));
    assert_eq!(shell.exit_code(), 0, "{line}: {}", shell.stderr.text());
    shell.stdout.text()
}

/// The process id of the private Redis, by its own INFO.
fn redis_process(printed: &Printed) -> String {
    let (redis_cli, _) = printed.publish.split_once(" publish ").expect("a publish line");
    let info = shell(&format!("{redis_cli} info server"));
    let id = info.lines().find_map(|line| line.strip_prefix("process_id:"));
    id.expect("INFO names it").trim().to_owned()
}

fn is_running(process: &str) -> bool {
    Path::new("/proc").join(process).exists()
}

fn is_empty(directory: &TempDir) -> bool {
    std::fs::read_dir(directory.path()).expect("readable").next().is_none()
}

#[test]
fn the_printed_lines_work_and_at_ctrl_c_everything_is_gone() {
    let ports = [(); 2].map(|()| HeldPort::new().expect("a free port"));
    let [port, admin_port] = ports.each_ref().map(|held| held.address().port().to_string());
    let (mut dev, temporary) = launch(&["--port", &port, "--admin-port", &admin_port]);
    let printed = wait_ready(&dev);
    let target = printed.url.splitn(4, '/').nth(3).expect("a path");
    let mut client = Client::open(address(&printed.url), &Request::upgrade(&format!("/{target}")));
    assert_eq!(shell(&printed.publish).trim(), "1", "one subscriber got it");
    let message = client.text();
    assert!(printed.publish.contains(&message), "{message} was not in {}", printed.publish);

    assert_eq!(shell(&printed.revoke).trim(), "1", "one gateway got it");
    client.assert_closed(3000, "revoked");
    let mut client = Client::open(address(&printed.url), &Request::upgrade("/ws/rooms/lobby"));

    let page = Request::get("/").header("Connection", "close").send(address(&printed.page));
    assert_eq!(page.status, 200);

    let redis = redis_process(&printed);
    assert!(is_running(&redis));
    assert!(!is_empty(&temporary), "its Redis has a directory");
    dev.signal(Signal::INT);
    client.assert_closed(1012, "restarting");
    assert_eq!(dev.exit_code(), 0);
    assert!(!is_running(&redis), "its Redis is still there");
    assert!(is_empty(&temporary), "a file is left over");
    assert!(TcpStream::connect(address(&printed.url)).is_err());
}

#[test]
fn a_killed_dev_leaves_no_redis_behind_either() {
    let (dev, temporary, printed) = start();
    let redis = redis_process(&printed);
    dev.signal(Signal::KILL);
    until("its Redis has ended", || !is_running(&redis));
    until("its directory is gone", || is_empty(&temporary));
}

#[test]
fn two_of_them_run_side_by_side_and_do_not_share_a_redis() {
    let (_one, _files, first) = start();
    let (_two, _others, second) = start();
    assert_ne!(first.url, second.url);
    assert_ne!(redis_process(&first), redis_process(&second));
}

#[test]
fn four_that_start_at_once_without_a_word_of_ports_do_not_get_in_each_others_way() {
    let all = [(); 4].map(|()| launch(&[]));
    let addresses: BTreeSet<SocketAddr> = all
        .iter()
        .map(|(dev, _)| wait_ready(dev))
        .flat_map(|printed| [address(&printed.url), address(&printed.page)])
        .collect();
    assert_eq!(addresses.len(), 8);
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let port = address.port().to_string();
    for option in ["--port", "--admin-port"] {
        let (mut dev, _files) = launch(&[option, &port]);
        assert_eq!(dev.exit_code(), 1);
        assert!(dev.stderr.text().contains(&format!("cannot listen on {address}")), "{option}");
    }
}

#[test]
fn without_redis_server_it_says_what_to_install() {
    let mut command = sockway();
    let mut dev = Process::start(
        command.args(["dev", "--port", "0", "--admin-port", "0"]).env("PATH", "/nowhere"),
    );
    assert_eq!(dev.exit_code(), 1);
    assert!(dev.stderr.text().contains("redis-server"), "{}", dev.stderr.text());
}
