//! The commands as seen by a person or a script: arguments, output, exit status.

use crate::port::HeldPort;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tungstenite::{
    Message, accept_hdr,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn sockway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockway"));
    command.args(arguments).env_remove("SOCKWAY_TOKEN").stdin(Stdio::null());
    command
}

/// Runs to the end, with a limit.
fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} did not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn status(arguments: &[&str]) -> i32 {
    output(&mut sockway(arguments)).status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn wrong_usage_is_64_and_is_told_on_stderr() {
    for arguments in [
        &[] as &[&str],
        &["unknown"],
        &["serve"],
        &["serve", "--config"],
        &["serve", "--config", "a", "--config", "b"],
        &["check"],
        &["check", "a", "b"],
        &["token", "--config", "a"],
        &["token", "--config", "a", "--user", ""],
        &["token", "--config", "a", "--user", "42", "--ttl", "soon"],
        &["token", "--config", "a", "--user", "42", "--claim", "tenant"],
        &["listen"],
        &["listen", "ws://localhost/", "--publish", "--sse"],
        &["listen", "ws://localhost/", "--publish=xml"],
        &["listen", "ws://localhost/", "--channel", "a"],
        &["publish"],
        &["publish", "--config", "a"],
        &["publish", "--config", "a", "b", "c", "d"],
        &["publish", "--config", "a", "b", "--as", "list"],
        &["health", "--port", "1"],
        &["drain", "now"],
        &["dev", "--port", "70000"],
        &["--verbose"],
    ] {
        let output = output(&mut sockway(arguments));
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    for arguments in [
        &["--help"] as &[&str],
        &["--version"],
        &["help"],
        &["serve", "--help"],
        &["check", "--help"],
        &["token", "--help"],
        &["listen", "--help"],
        &["publish", "--help"],
        &["doctor", "--help"],
        &["health", "--help"],
        &["drain", "--help"],
        &["dev", "--help"],
    ] {
        let output = output(&mut sockway(arguments));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{arguments:?}");
    }
    let version = output(&mut sockway(&["--version"]));
    assert_eq!(text(&version.stdout), format!("sockway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_configuration_that_is_not_there_or_wrong_is_78_for_every_command_that_reads_one() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.toml");
    fs::write(&wrong, "[server]\nlisten = 5\nunheard_of = true\n").unwrap();
    let missing = folder.path().join("missing.toml");
    for file in [&wrong, &missing] {
        let name = file.to_str().unwrap();
        for arguments in [
            &["check", name] as &[&str],
            &["check", "--print", name],
            &["serve", "--config", name],
            &["token", "--config", name, "--user", "42"],
            &["publish", "--config", name, "a", "b"],
        ] {
            let output = output(&mut sockway(arguments));
            assert_eq!(output.status.code(), Some(78), "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
            assert!(text(&output.stderr).contains(name), "{arguments:?}");
        }
    }
}

/// An admin port that answers one request and then closes.
fn answer_once(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines();
        let request = lines.next().unwrap().unwrap();
        while !lines.next().unwrap().unwrap().is_empty() {}
        (&stream).write_all(answer.as_bytes()).unwrap();
        request
    });
    (address, served)
}

const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"ready\":true}";
const NOT_READY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 15\r\n\r\n{\"ready\":false}";
const DRAINING: &str =
    "HTTP/1.1 202 Accepted\r\nContent-Length: 23\r\n\r\n{\"timeout_seconds\":1.0}";

#[test]
fn health_is_0_for_200_and_1_for_anything_else() {
    for (flag, answer, path, expected) in [
        (None, READY, "/livez", 0),
        (Some("--ready"), READY, "/readyz", 0),
        (Some("--ready"), NOT_READY, "/readyz", 1),
        (None, "SSH-2.0-OpenSSH_9.2\r\n", "/livez", 1),
    ] {
        let (address, served) = answer_once(answer);
        let output = output(sockway(&["health", "--admin", &address.to_string()]).args(flag));
        assert_eq!(output.status.code(), Some(expected), "{flag:?} {answer}");
        assert_eq!(served.join().unwrap(), format!("GET {path} HTTP/1.1"));
        if answer == NOT_READY {
            assert!(text(&output.stderr).contains("503"), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn health_and_drain_without_a_gateway_are_1() {
    let nobody = HeldPort::new().unwrap();
    let address = nobody.address().to_string();
    assert_eq!(status(&["health", "--admin", &address]), 1);
    assert_eq!(status(&["health", "--ready", "--admin", &address]), 1);
    assert_eq!(status(&["drain", "--admin", &address]), 1);
    assert_eq!(status(&["health", "--admin", "no address"]), 1);
}

#[test]
fn drain_returns_when_the_admin_port_is_gone() {
    let (address, served) = answer_once(DRAINING);
    assert_eq!(status(&["drain", "--admin", &address.to_string()]), 0);
    assert_eq!(served.join().unwrap(), "POST /drain HTTP/1.1");
}

#[test]
fn drain_gives_up_on_a_gateway_that_does_not_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_, keep) = (
        thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                stream.write_all(DRAINING.as_bytes()).unwrap();
            }
        }),
        listener,
    );
    assert_eq!(status(&["drain", "--admin", &address.to_string()]), 1);
    drop(keep);
}

#[test]
fn a_drain_that_is_refused_is_1() {
    let (address, _served) = answer_once(NOT_READY);
    assert_eq!(status(&["drain", "--admin", &address.to_string()]), 1);
}

/// A WebSocket server that sends two messages and closes; returns the `Authorization` it was sent.
#[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
fn websocket_once() -> (SocketAddr, JoinHandle<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let mut authorization = None;
        let take = |request: &Request, response: Response| {
            let header = request.headers().get("authorization");
            authorization = header.map(|value| value.to_str().unwrap().to_owned());
            Ok(response)
        };
        let mut socket = accept_hdr(listener.accept().unwrap().0, take).unwrap();
        socket.send(Message::text("{\"hello\":\"world\"}")).unwrap();
        socket.send(Message::binary(vec![0xFF, 0x00])).unwrap();
        let frame = CloseFrame { code: CloseCode::from(4008), reason: "slow_consumer".into() };
        socket.close(Some(frame)).unwrap();
        while socket.read().is_ok() {}
        authorization
    });
    (address, served)
}

#[test]
fn listen_prints_each_message_on_a_line_and_ends_with_the_close_code_and_reason() {
    for (argument, variable, expected) in [
        (None, None, None),
        (Some("abc"), None, Some("Bearer abc")),
        (None, Some("def"), Some("Bearer def")),
        (Some("abc"), Some("def"), Some("Bearer abc")),
    ] {
        let (address, served) = websocket_once();
        let mut command = sockway(&["listen", &format!("ws://{address}/ws")]);
        if let Some(token) = argument {
            command.args(["--token", token]);
        }
        if let Some(token) = variable {
            command.env("SOCKWAY_TOKEN", token);
        }
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"{\"hello\":\"world\"}\n\xFF\x00\n");
        assert!(text(&output.stderr).contains("closed: 4008 slow_consumer"));
        assert_eq!(served.join().unwrap().as_deref(), expected);
    }
}

#[test]
fn listen_says_why_it_was_refused() {
    let problem = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\n\
                   Content-Length: 24\r\n\r\n{\"code\":\"token_missing\"}";
    let (address, _served) = answer_once(problem);
    let output = output(&mut sockway(&["listen", &format!("ws://{address}/ws")]));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("refused: 401 token_missing"), "{said}");
}

#[test]
fn listen_asks_for_what_it_missed_in_the_query() {
    let refused =
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 24\r\n\r\n{\"code\":\"since_invalid\"}";
    for (arguments, expected) in [
        (&["--since", "5-0"][..], "?since=5-0"),
        (&["--last", "20"], "?last=20"),
        (&["--since", "a%2Cb@5-0,c@6-1", "--last", "0"], "?since=a%252Cb%405-0%2Cc%406-1&last=0"),
    ] {
        for (scheme, by_events) in [("ws", &[][..]), ("ws", &["--sse"]), ("http", &["--sse"])] {
            let (address, served) = answer_once(refused);
            let mut command = sockway(&["listen", &format!("{scheme}://{address}/ws")]);
            let output = output(command.args(arguments).args(by_events));
            assert_eq!(output.status.code(), Some(1));
            let said = text(&output.stderr);
            assert!(said.contains("refused: 400 since_invalid"), "{said}");
            assert_eq!(served.join().unwrap(), format!("GET /ws{expected} HTTP/1.1"));
        }
    }
    assert_eq!(status(&["listen", "ws://127.0.0.1/", "--last", "many"]), 64);
}

/// A server of events: chunks of an answer; returns the request's lines.
fn events_once(chunks: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let request = lines.take_while(|line| !line.is_empty()).collect();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for chunk in chunks {
            write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
        }
        request
    });
    (address, served)
}

#[test]
fn listen_prints_events_as_it_prints_messages_and_ends_with_the_close_event() {
    let (address, served) = events_once(&[
        "retry: 2000\nevent: ready\nid: 4-0\ndata: {\"type\":\"ready\"}\n\n",
        "id: 5-0\ndata: {\"hello\":\"world\"}\n\nid: 6-0\ndata: two\nda",
        "ta: lines\n\nevent: base64\ndata: /wA=\n\n",
        "event: close\ndata: {\"code\":1012,\"reason\":\"restarting\"}\n\n",
    ]);
    let url = format!("ws://{address}/ws?room=7");
    let output = output(&mut sockway(&["listen", &url, "--sse", "--token", "abc"]));
    assert_eq!(output.status.code(), Some(1));
    let printed = b"{\"type\":\"ready\"}\n{\"hello\":\"world\"}\ntwo\nlines\n\xFF\x00\n";
    assert_eq!(output.stdout, printed);
    let said: Vec<_> = text(&output.stderr).lines().map(str::to_owned).collect();
    assert_eq!(said, ["connected", "sockway: closed: 1012 restarting"]);
    let request = served.join().unwrap().join("\n").to_lowercase();
    let host = format!("host: {address}");
    let lines = ["accept: text/event-stream", "authorization: bearer abc", &host];
    assert!(request.starts_with("get /ws?room=7 http/1.1\n"), "{request}");
    assert!(lines.iter().all(|line| request.lines().any(|it| it == *line)), "{request}");
}

#[test]
fn listen_says_how_its_events_ended_or_why_there_are_none() {
    let (cut, _served) = events_once(&["data: one\n\n"]);
    let (silent, _held) = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ready = "event: ready\ndata: {\"type\":\"ready\",\"heartbeat_ms\":10}\n\n";
        let held = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            stream.write_all([head, ready].concat().as_bytes()).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap(); // until it is given up
        });
        (address, held)
    };
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    let (page, _served_page) = answer_once(page);
    for (address, expected) in [
        (cut, "cut off"),
        (silent, "cut off: nothing came for 1s"),
        (page, "refused: the answer is no text/event-stream"),
    ] {
        let output = output(&mut sockway(&["listen", &format!("http://{address}/ws"), "--sse"]));
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
    }
    for url in ["", "ftp://127.0.0.1/", "nonsense", "ws://", "http:///ws"] {
        assert_eq!(status(&["listen", url, "--sse"]), 1, "{url:?}");
    }
}

#[test]
fn listen_without_a_server_or_with_a_wrong_url_is_1() {
    let nobody = HeldPort::new().unwrap();
    assert_eq!(status(&["listen", &format!("ws://{}/ws", nobody.address())]), 1);
    for url in ["", "http://127.0.0.1/", "nonsense", "ws://"] {
        assert_eq!(status(&["listen", url]), 1, "{url:?}");
    }
}

#[test]
fn a_token_that_cannot_stand_in_a_header_is_1_and_is_not_repeated() {
    let nobody = HeldPort::new().unwrap();
    let url = format!("ws://{}/ws", nobody.address());
    let output = output(&mut sockway(&["listen", &url, "--token", "hunter2\n"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("hunter2"));
}

#[test]
fn dev_without_redis_server_says_how_to_install_it() {
    let output = output(sockway(&["dev"]).env("PATH", "/nonexistent"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("apt install redis-server"));
}

const SECRET: &str = "a secret that nobody may ever see in any output";

/// A good configuration, with `[auth.jwt]` if asked for.
fn good(jwt: bool) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.toml");
    let auth = format!("[auth.jwt]\nsecret = \"{SECRET}\"\n");
    let access = if jwt { "required" } else { "none" };
    let endpoint = format!(
        "[[endpoint]]\nname = \"all\"\npath = \"/ws\"\nchannels = [\"all\"]\nauth = \"{access}\"\n"
    );
    fs::write(&file, if jwt { auth + &endpoint } else { endpoint }).unwrap();
    let name = file.to_str().unwrap().to_owned();
    (folder, name)
}

#[test]
fn check_says_ok_or_prints_what_is_in_effect_without_secrets() {
    let (_folder, file) = good(true);
    let checked = output(&mut sockway(&["check", &file]));
    assert_eq!((checked.status.code(), text(&checked.stdout)), (Some(0), "ok\n".to_owned()));

    let printed = output(&mut sockway(&["check", &file, "--print"]));
    assert_eq!(printed.status.code(), Some(0));
    let effective: toml::Table = text(&printed.stdout).parse().expect("what is printed is TOML");
    assert_eq!(effective["endpoint"][0]["name"].as_str(), Some("all"));
    assert!(!text(&printed.stdout).contains(SECRET) && !text(&printed.stderr).contains(SECRET));
}

#[test]
fn a_token_is_printed_alone_on_a_line() {
    let (_folder, file) = good(true);
    let arguments =
        ["token", "--config", &file, "--user", "42", "--ttl", "5m", "--claim", "tenant=acme"];
    let minted = output(&mut sockway(&arguments));
    assert_eq!(minted.status.code(), Some(0), "{}", text(&minted.stderr));
    let line = text(&minted.stdout);
    assert_eq!(line.trim_end().split('.').count(), 3, "{line:?}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn what_a_token_cannot_say_is_64_and_a_configuration_that_cannot_sign_is_78() {
    let (_folder, file) = good(true);
    for claims in [["--claim", "sub=1", "--claim", "b=2"], ["--claim", "a=1", "--claim", "a=2"]] {
        let mut command = sockway(&["token", "--config", &file, "--user", "42"]);
        assert_eq!(output(command.args(claims)).status.code(), Some(64), "{claims:?}");
    }
    let (_folder, file) = good(false);
    let refused = output(&mut sockway(&["token", "--config", &file, "--user", "42"]));
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("[auth.jwt]"));
}
