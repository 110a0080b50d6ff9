//! Clients that are not ours: curl, and the HTTP client of Python's standard library.

use super::{TOKEN, settings, start};
use crate::rig::{Certificate, Gateway, Redis, left_out};
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Runs a program with this on its stdin, and returns what it prints; `None`: it is not here.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn curl_publishes_by_length_chunked_and_with_100_continue_over_one_connection() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/7");
    let (address, bearer) = (gateway.address, format!("Authorization: Bearer {TOKEN}"));
    let target = format!("http://{address}/publish/room:7");
    let common = ["-sS", "-m", "20", "-H", &bearer, "-w", "%{num_connects}\n"];
    let by_length = [&common[..], &["-d", "hello", &target, "--next"], &common].concat();
    let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"];
    let arguments = [&by_length[..], &chunked, &["--data-binary", "@-", &target]].concat();
    let large = "x".repeat(300_000);
    let Some(said) = run("curl", &arguments, large.as_bytes()) else { return left_out("no curl") };
    let answer = r#"{"channel":"room:7","receivers":1}"#;
    assert_eq!(said, format!("{answer}1\n{answer}0\n"));
    assert_eq!((client.text(), client.text()), ("hello".to_owned(), large));
}

#[test]
fn curl_publishes_over_tls() {
    let redis = Redis::start();
    let files = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(files.path(), "first");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let settings = settings(&redis)
        .set("server.tls.cert_file", path(&certificate.certificate))
        .set("server.tls.key_file", path(&certificate.key));
    let gateway = Gateway::start(&settings);
    let (port, bearer) = (gateway.address.port(), format!("Authorization: Bearer {TOKEN}"));
    let (trust, target) = (path(&certificate.certificate), format!("https://localhost:{port}"));
    let resolve = format!("localhost:{port}:127.0.0.1");
    let common = ["-sS", "-m", "20", "--cacert", &trust, "--resolve", &resolve, "-H", &bearer];
    let (one, batch) = (format!("{target}/publish/room:7"), format!("{target}/publish"));
    let json = r#"{"channels":["room:1","room:2"],"data":{"a":1}}"#;
    let arguments =
        [&common[..], &["-d", "hello", &one, "--next"], &common, &["-d", json, &batch]].concat();
    let Some(said) = run("curl", &arguments, b"") else { return left_out("no curl") };
    let item = |channel: u8| format!(r#"{{"channel":"room:{channel}","receivers":0}}"#);
    let results = format!(r#"{{"results":[{},{}],"failed":0}}"#, item(1), item(2));
    assert_eq!(said, item(7) + &results);
}

/// One connection: by length, chunked from a generator, an error, and once more.
const PYTHON: &str = r#"
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
bearer = {"Authorization": "Bearer " + sys.argv[2]}
def ask(path, body):
    connection.request("POST", path, body=body, headers=bearer)
    answer = connection.getresponse()
    print(answer.status, json.loads(answer.read()).get("code"))
    return connection.sock
first = ask("/publish/room:7", b"hello")
ask("/publish/room:7", (part for part in [b"from ", b"a generator"]))
ask("/publish/orders", b"x")
last = ask("/publish", json.dumps({"channel": "room:7", "data": {"a": 1}}))
print(first is last)
"#;

#[test]
fn python_s_http_client_publishes_over_one_connection() {
    let redis = Redis::start();
    let gateway = start(&redis);
    let mut client = gateway.open("/ws/rooms/7");
    let address = gateway.address.to_string();
    let said = run("python3", &["-c", PYTHON, &address, TOKEN], b"");
    let Some(said) = said else { return left_out("no python3") };
    assert_eq!(said, "200 None\n200 None\n403 channel_not_allowed\n200 None\nTrue\n");
    let received = [client.text(), client.text(), client.text()];
    assert_eq!(received, ["hello", "from a generator", r#"{"a": 1}"#]);
}
