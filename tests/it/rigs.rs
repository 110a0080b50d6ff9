//! The test rig itself: held ports cannot be taken, and a child that ends early fails its test at
//! once.

use crate::rig::{Gateway, HeldPort, Redis, Settings, process::Process, settings::rooms};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_held_port_is_one_servers_at_a_time_and_nobody_elses() {
    let port = HeldPort::new().expect("a free port");
    let address = port.address();
    let refused = TcpStream::connect(address).expect_err("nobody listens yet");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let taken = stranger.bind(&address.into()).expect_err("another holder");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    for _ in 0..2 {
        // `std` sets SO_REUSEADDR, as servers do.
        let server = TcpListener::bind(address).expect("the server of the test");
        TcpStream::connect(address).expect("it listens");
        let second = TcpListener::bind(address).expect_err("a second server");
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        drop(server);
    }
}

/// The message of the panic that this ends in, which must come soon.
#[track_caller]
fn panics_at_once<T: Send + 'static>(rig: impl FnOnce() -> T + Send + 'static) -> String {
    let start = Instant::now();
    let panic = thread::spawn(rig).join().err().expect("a panic");
    // A child exits within milliseconds; a rig that keeps waiting takes 20 s.
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    panic.downcast_ref::<String>().expect("a formatted message").clone()
}

#[test]
fn a_gateway_that_cannot_listen_fails_its_test_at_once_with_its_last_words() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let settings = Settings::with_url("redis://127.0.0.1:1/0").endpoint(rooms());
    let settings = settings.set("server.listen", address.as_str());
    let said = panics_at_once(move || Gateway::start(&settings));
    assert!(said.contains("in use") && said.contains(&address), "{said}");
}

#[test]
fn a_redis_that_does_not_start_fails_its_test_at_once_with_its_last_words() {
    let said = panics_at_once(|| Redis::start_with(&["--no-such-option", "1"]));
    assert!(said.contains("no-such-option"), "{said}");
}

#[test]
fn an_output_that_ends_without_the_line_fails_its_test_at_once_and_is_shown() {
    let said = panics_at_once(|| {
        let child = Process::start(Command::new("sh").args(["-c", "echo farewell"]));
        child.stdout.wait_for("a welcome", |line| (line == "welcome").then_some(()));
    });
    assert!(said.contains("a welcome") && said.contains("farewell"), "{said}");
}

/// The source files below a directory, without build output and installed packages.
fn sources(directory: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        if path.is_dir() {
            if !["node_modules", "target", "installed"].contains(&name) {
                sources(path, found);
            }
        } else if [".rs", ".js", ".mjs", ".py"].iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
}

/// Names of functions that choose a port without holding it.
const FINDERS: [&str; 3] = ["freePort", "free_port", "free_address"];

/// Whether a source asks a socket for its address in the expression that binds it, after which the
/// socket is closed and anyone can take the port; or calls a function of such a name.
fn lets_a_port_go(source: &str) -> bool {
    let source: String = source.split_whitespace().collect();
    let is_temporary = source.split("bind(").skip(1).any(|rest| {
        let expression = rest.split(';').next().unwrap_or(rest);
        expression.contains(".local_addr()")
    });
    is_temporary || FINDERS.iter().any(|name| source.contains(&format!("{name}(")))
}

#[test]
fn no_port_is_looked_for_and_bound_later() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "tests", "benches", "clients"] {
        sources(root.join(directory), &mut files);
    }
    assert!(files.len() > 100, "the test looks at nothing");
    // It retries, and its comment says why that is safe.
    let allowed = root.join("src/cli/dev/redis.rs");
    let wrong = |path: &&PathBuf| {
        **path != allowed && lets_a_port_go(&fs::read_to_string(path).expect("a source file"))
    };
    let wrong: Vec<_> = files.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "hold the port, or listen on port 0 and say where: {wrong:?}");
}

/// Whether a source takes a port for closed because nobody answers there, and holds none: once it is free,
/// the kernel may give it to anyone.
fn asks_a_freed_port(source: &str) -> bool {
    let is_refused = |statement: &str| {
        let after = statement.split_once("TcpStream::connect(").map_or("", |(_, after)| after);
        [".is_err()", "unwrap_err()", ".err()"].iter().any(|end| after.contains(end))
    };
    !source.contains("HeldPort") && source.split(';').any(is_refused)
}

#[test]
fn no_test_takes_a_port_for_closed_that_it_does_not_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "tests", "benches"] {
        sources(root.join(directory), &mut files);
    }
    let wrong = |path: &&PathBuf| asks_a_freed_port(&fs::read_to_string(path).expect("a source"));
    let wrong: Vec<_> = files.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "hold the port, or ask for a fact of the process: {wrong:?}");
    let connect = "TcpStream::connect";
    assert!(asks_a_freed_port(&format!("let _ = 1; assert!({connect}(it).await.is_err());")));
    assert!(!asks_a_freed_port(&format!("{connect}(it).await.unwrap(); other.is_err();")));
}

#[test]
fn a_port_that_is_let_go_is_found() {
    let (ask, name) = ("local_addr", FINDERS[0]);
    assert!(lets_a_port_go(&format!("let at = TcpListener::bind(any)\n.unwrap()\n.{ask}();")));
    assert!(lets_a_port_go(&format!("const port = await {name}();")));
    assert!(!lets_a_port_go(&format!("let it = TcpListener::bind(any).unwrap();\nit.{ask}()")));
}
