//! Dials to real `redis-server` children, and to fake ones that lack something.

use super::*;
use crate::{
    config,
    secret::Secret,
    upstream::{
        link::{Arrival, Command, Credentials, Link as _, Login, Role},
        test_server::{HeldPort, Server, command, configured, fake, read_reply},
    },
};
use std::{
    io::{BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream as Socket},
    thread,
};

mod login;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(socket: &Path) -> config::Redis {
    configured(Path::new(""), &format!("url = \"redis+unix://{}\"", socket.display()))
}

fn dialler(settings: &config::Redis) -> Dialler {
    let max_payload = settings.max_payload.get();
    Dialler::new(DialSettings::new(settings, Credentials::new(settings)), max_payload)
}

async fn dial(settings: &config::Redis) -> Result<Connection, LinkError> {
    dialler(settings).dial(&Target::Configured).await
}

async fn dialled(settings: &config::Redis) -> Connection {
    dial(settings).await.expect("a connection")
}

/// Why a dial fails.
async fn failure(settings: &config::Redis) -> LinkError {
    dial(settings).await.err().expect("no connection")
}

/// What arrives next, with names and payloads as text.
async fn next(connection: &mut Connection) -> String {
    loop {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match connection.try_next() {
            Some(Arrival::Message { channel, payload, .. }) => {
                return format!("{}={}", text(channel), text(payload));
            }
            Some(Arrival::Confirmed(channel)) => return format!("+{}", text(channel)),
            Some(other) => return format!("{other:?}"),
            None => {}
        }
        timeout(PATIENCE, connection.ready()).await.expect("in time");
    }
}

async fn subscribe(connection: &mut Connection, channels: &[&str]) -> String {
    connection.send(Command::Subscribe(channels.iter().map(|&it| it.into()).collect()));
    next(connection).await
}

/// Publishes so many numbers on `a`, as fast as Redis takes them.
fn publish_numbers(socket: &Path, count: usize) -> thread::JoinHandle<()> {
    let mut stream = Socket::connect(socket).unwrap();
    thread::spawn(move || {
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        for first in (0..count).step_by(1_000) {
            let burst =
                (first..first + 1_000).flat_map(|n| command(&["PUBLISH", "a", &n.to_string()]));
            stream.write_all(&burst.collect::<Vec<_>>()).unwrap();
            (0..1_000).for_each(|_| read_reply(&mut replies, &mut Vec::new()));
        }
    })
}

/// A port of loopback, and what holds it.
fn held() -> (u16, HeldPort) {
    let held = HeldPort::new().unwrap();
    (held.address().port(), held)
}

#[tokio::test]
async fn a_dial_ends_with_a_connection_on_which_messages_arrive() {
    let (port, _held) = held();
    let server = Server::start(&["--port", &port.to_string()]);
    for url in [
        format!("redis://127.0.0.1:{port}/3"),
        format!("redis://localhost:{port}"),
        format!("redis+unix://{}?db=2", server.socket().display()),
    ] {
        let mut connection = dialled(&configured(Path::new(""), &format!("url = {url:?}"))).await;
        assert_eq!(subscribe(&mut connection, &["a"]).await, "+a");
        server.publish("a", "hello");
        assert_eq!(next(&mut connection).await, "a=hello");
        let clients = server.call(&["CLIENT", "LIST"])[0].clone();
        assert!(clients.lines().any(|it| it.contains("name=sockway") && it.contains("resp=3")));
        connection.send(Command::Role);
        assert_eq!(next(&mut connection).await, format!("Role({:?})", Role::Primary));
    }
}

#[tokio::test]
async fn a_burst_of_150_000_messages_arrives_whole_and_in_order() {
    let server = Server::start(&[]);
    let mut connection = dialled(&settings(&server.socket())).await;
    subscribe(&mut connection, &["a"]).await;
    let publisher = publish_numbers(&server.socket(), 150_000);
    let mut expected = 0;
    while expected < 150_000 {
        match connection.try_next() {
            Some(Arrival::Message { payload, .. }) => {
                assert_eq!(payload, expected.to_string().as_bytes());
                expected += 1;
            }
            Some(other) => panic!("{other:?}"),
            None => timeout(PATIENCE, connection.ready()).await.expect("in time"),
        }
    }
    publisher.join().unwrap();
}

#[tokio::test]
async fn a_reader_that_redis_cuts_off_gets_what_was_sent_and_then_the_reason() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut connection = dialled(&settings(&server.socket())).await;
    subscribe(&mut connection, &["a"]).await;
    // Nothing is read meanwhile.
    publish_numbers(&server.socket(), 200_000).join().unwrap();
    let mut expected = 0;
    loop {
        let arrival = next(&mut connection).await;
        if arrival != format!("a={expected}") {
            assert!(arrival.contains("client-output-buffer-limit"), "{arrival}");
            break;
        }
        expected += 1;
    }
    assert!((1_000..200_000).contains(&expected), "{expected}");
}

#[tokio::test]
async fn a_forbidden_channel_is_refused_and_the_others_are_confirmed() {
    let server = Server::start(&[]);
    let rule = "ACL SETUSER gateway on >x resetchannels &mine:* -@all +subscribe";
    server.call(&rule.split(' ').collect::<Vec<_>>());
    let url = format!("url = \"redis+unix://gateway:x@{}\"", server.socket().display());
    // Neither PING nor SETNAME is allowed: the dial succeeds all the same.
    let mut connection = dialled(&configured(Path::new(""), &url)).await;
    for channel in ["mine:1", "other", "mine:2"] {
        connection.send(Command::Subscribe(vec![channel.into()]));
    }
    connection.send(Command::Ping);
    connection.send(Command::Role);
    assert_eq!(next(&mut connection).await, "+mine:1");
    let refused = next(&mut connection).await;
    assert!(refused.starts_with("Rejected(Subscribe([\"other\"]), ChannelRefused("), "{refused}");
    assert_eq!(next(&mut connection).await, "+mine:2");
    assert!(next(&mut connection).await.starts_with("Pong { warning: Some(Answered(\"NOPERM"));
    assert_eq!(next(&mut connection).await, "Role(Refused)");
}

#[tokio::test]
async fn unreachable_and_hung_up_are_told_apart() {
    let nowhere = tempfile::tempdir().unwrap();
    let (port, _held) = held();
    for url in [
        format!("redis+unix://{}", nowhere.path().join("absent").display()),
        format!("redis://127.0.0.1:{port}"),
        "redis://name.invalid".to_owned(),
    ] {
        let error = failure(&configured(Path::new(""), &format!("url = {url:?}"))).await;
        assert!(matches!(error, LinkError::Unreachable(_)), "{error:?}");
        assert!(!error.to_string().contains("os error"), "{error}");
    }
    let path = nowhere.path().join("rude");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    let error = failure(&settings(&path)).await;
    assert!(matches!(error, LinkError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_that_accepts_and_says_nothing_does_not_keep_the_dial_from_the_next() {
    let (port, _held) = held();
    let _server = Server::start(&["--port", &port.to_string()]);
    let silent = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], port))];
    let settings = configured(Path::new(""), &format!("url = \"redis://name:{port}\""));
    let started = Instant::now();
    let deadline = started + Duration::from_secs(2);
    let logged_in = dialler(&settings).by_addresses(&addresses, deadline).await;
    let LoggedIn { stream, redactor, .. } = logged_in.map_err(|error| error.to_string()).unwrap();
    let mut connection = Connection::new(stream, redactor);
    assert_eq!(subscribe(&mut connection, &["a"]).await, "+a");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_never_answers_is_given_up_after_five_times_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silent");
    let _silent = UnixListener::bind(&path).unwrap();
    let started = Instant::now();
    let error = failure(&settings(&path)).await;
    let text = "Redis accepts, but says nothing within 10s".to_owned();
    assert_eq!((error, started.elapsed().as_secs()), (LinkError::Lost(text), 10));
}

#[tokio::test]
async fn tls_uses_ca_file_and_the_client_certificate() {
    let files = tempfile::tempdir().unwrap();
    let (port, _held) = held();
    let _server = Server::with_certificates(files.path(), port);
    let with = |tls: &str| {
        let url = format!("url = \"rediss://localhost:{port}\"\n[redis.tls]\n{tls}");
        configured(files.path(), &url)
    };
    let whole = "ca_file = \"ca.pem\"\ncert_file = \"client.pem\"\nkey_file = \"client.key\"";
    let mut connection = dialled(&with(whole)).await;
    assert_eq!(subscribe(&mut connection, &["a"]).await, "+a");
    // Redis asks for a certificate; the authority of its own is not known.
    for tls in ["ca_file = \"ca.pem\"", "cert_file = \"client.pem\"\nkey_file = \"client.key\""] {
        let error = failure(&with(tls)).await;
        assert!(matches!(error, LinkError::Lost(_)), "{tls}: {error:?}");
    }
    // The certificate of a server named by an address is checked against the configured host.
    let settings = with(whole);
    let dialler = dialler(&settings);
    let named = Target::Named { host: "127.0.0.1".to_owned(), port };
    dialler.dial(&named).await.expect("named localhost");
}

#[tokio::test]
async fn another_server_is_dialled_when_a_role_names_it() {
    let ((first, _held), (second, _held_too)) = (held(), held());
    let _primary = Server::start(&["--port", &first.to_string()]);
    let _replica = Server::start(&[
        "--port",
        &second.to_string(),
        "--replicaof",
        &format!("127.0.0.1 {first}"),
    ]);
    let url = format!("url = \"redis://127.0.0.1:{second}\"");
    let settings = configured(Path::new(""), &url);
    let dialler = dialler(&settings);
    let mut replica = dialler.dial(&Target::Configured).await.expect("a connection");
    replica.send(Command::Role);
    let named = Role::Replica { host: "127.0.0.1".to_owned(), port: first };
    assert_eq!(next(&mut replica).await, format!("Role({named:?})"));
    let named = Target::Named { host: "127.0.0.1".to_owned(), port: first };
    let mut primary = dialler.dial(&named).await.expect("one");
    primary.send(Command::Role);
    assert_eq!(next(&mut primary).await, "Role(Primary)");
}
