//! A connection to a server that says exactly what a test lets it say.

use super::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    time::{Duration, timeout},
};

const MAX_PAYLOAD: usize = 1_000;

/// A connection, and the server's end of it.
fn pair() -> (Connection, DuplexStream) {
    let (ours, theirs) = duplex(256 << 10);
    (Connection::new(BufferedStream::new(ours, MAX_PAYLOAD), Redactor::default()), theirs)
}

/// What arrives next, as it shows itself.
async fn next(connection: &mut Connection) -> String {
    loop {
        if let Some(arrival) = connection.try_next() {
            return match arrival {
                Arrival::Message { channel, payload, .. } => {
                    let text = String::from_utf8_lossy;
                    format!("{}={}", text(channel), text(payload))
                }
                Arrival::Confirmed(channel) => format!("+{}", String::from_utf8_lossy(channel)),
                Arrival::Released(channel) => format!("-{}", String::from_utf8_lossy(channel)),
                other => format!("{other:?}"),
            };
        }
        timeout(Duration::from_secs(10), connection.ready()).await.expect("in time");
    }
}

/// What arrives when these commands were sent and the server says this.
async fn answers(commands: &[Command], said: &str, count: usize) -> Vec<String> {
    let (mut connection, mut server) = pair();
    commands.iter().for_each(|command| connection.send(command.clone()));
    connection.flush();
    server.write_all(said.as_bytes()).await.unwrap();
    let mut arrivals = Vec::new();
    for _ in 0..count {
        arrivals.push(next(&mut connection).await);
    }
    arrivals
}

fn subscribe(channels: &[&str]) -> Command {
    Command::Subscribe(channels.iter().map(|&it| it.into()).collect())
}

fn unsubscribe(channels: &[&str]) -> Command {
    Command::Unsubscribe(channels.iter().map(|&it| it.into()).collect())
}

fn acknowledged(kind: &str, channel: &str) -> String {
    format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len())
}

fn message(channel: &str, payload: &str) -> String {
    format!(
        ">3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{payload}\r\n",
        channel.len(),
        payload.len()
    )
}

#[tokio::test]
async fn commands_are_written_in_order_and_none_for_no_channels() {
    let (mut connection, mut server) = pair();
    for command in [subscribe(&[]), unsubscribe(&[]), subscribe(&["a", "b c"]), Command::Ping] {
        connection.send(command);
    }
    connection.flush();
    drop(connection);
    let mut written = String::new();
    server.read_to_string(&mut written).await.unwrap();
    let expected = "*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$3\r\nb c\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(written, expected);
}

#[tokio::test]
async fn each_channel_is_confirmed_by_its_name_and_messages_come_in_between() {
    let said = [
        acknowledged("subscribe", "a"),
        message("a", "1"),
        acknowledged("subscribe", "b"),
        "+PONG\r\n".to_owned(),
        acknowledged("unsubscribe", "a"),
    ];
    let commands = [subscribe(&["a", "b"]), Command::Ping, unsubscribe(&["a"])];
    let arrivals = answers(&commands, &said.concat(), 5).await;
    assert_eq!(arrivals, ["+a", "a=1", "+b", "Pong { warning: None }", "-a"]);
}

#[tokio::test]
async fn an_error_belongs_to_the_oldest_command_that_is_not_answered() {
    let commands = [subscribe(&["a"]), subscribe(&["b"]), Command::Ping, subscribe(&["c"])];
    let said = [
        acknowledged("subscribe", "a"),
        "-NOPERM User x has no permissions to access the 'b' channel\r\n+PONG\r\n".to_owned(),
        "-NOPERM User x has no permissions to run the 'subscribe' command\r\n".to_owned(),
    ];
    let arrivals = answers(&commands, &said.concat(), 4).await;
    assert_eq!(arrivals[0], "+a");
    let refused = LinkError::ChannelRefused(
        "NOPERM User x has no permissions to access the 'b' channel".to_owned(),
    );
    assert_eq!(arrivals[1], format!("{:?}", Arrival::Rejected(subscribe(&["b"]), refused)));
    assert_eq!(arrivals[2], "Pong { warning: None }");
    assert!(arrivals[3].starts_with("Rejected(Subscribe([\"c\"]), Answered("), "{}", arrivals[3]);
}

#[tokio::test]
async fn an_error_behind_some_confirmations_rejects_the_rest() {
    let commands = [subscribe(&["a", "b", "c", "d"]), Command::Ping];
    let said = [
        acknowledged("subscribe", "a"),
        // Nobody promises an order.
        acknowledged("subscribe", "c"),
        "-ERR no\r\n+PONG\r\n".to_owned(),
    ];
    let arrivals = answers(&commands, &said.concat(), 4).await;
    assert_eq!(arrivals[..2], ["+a", "+c"]);
    assert_eq!(arrivals[2], "Rejected(Subscribe([\"b\", \"d\"]), Answered(\"ERR no\"))");
    assert_eq!(arrivals[3], "Pong { warning: None }");
}

#[tokio::test]
async fn what_redis_lets_go_of_by_itself_settles_no_command() {
    let said = [
        acknowledged("sunsubscribe", "a"),
        acknowledged("unsubscribe", "b"),
        acknowledged("unsubscribe", "a"),
        "+PONG\r\n".to_owned(),
    ];
    let arrivals = answers(&[unsubscribe(&["a"]), Command::Ping], &said.concat(), 4).await;
    assert_eq!(arrivals, ["-a", "-b", "-a", "Pong { warning: None }"]);
}

#[tokio::test]
async fn any_answer_to_a_ping_proves_the_connection_but_those_that_make_it_useless() {
    for answer in ["+PONG", "$4\r\nPONG", "*2\r\n$4\r\npong\r\n$0\r\n"] {
        let arrivals = answers(&[Command::Ping], &format!("{answer}\r\n"), 1).await;
        assert_eq!(arrivals, ["Pong { warning: None }"]);
    }
    for error in ["MISCONF a", "LOADING b", "BUSY c", "NOPERM d", "ERR unknown command 'PING'"] {
        let arrivals = answers(&[Command::Ping], &format!("-{error}\r\n"), 1).await;
        assert_eq!(arrivals, [format!("Pong {{ warning: Some(Answered({error:?})) }}")]);
    }
    for error in ["MASTERDOWN a", "NOAUTH b"] {
        let arrivals = answers(&[Command::Ping], &format!("-{error}\r\n"), 1).await;
        assert_eq!(arrivals, [format!("Ended(Answered({error:?}))")]);
    }
}

#[tokio::test]
async fn a_server_says_what_it_is_or_nothing_is_concluded() {
    for (answer, role) in [
        ("*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n", "Primary"),
        (
            "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:1\r\n",
            "Replica { host: \"10.0.0.1\", port: 6379 }",
        ),
        ("*5\r\n$5\r\nslave\r\n$0\r\n\r\n:6379\r\n$1\r\nx\r\n:1\r\n", "Unknown"),
        ("*5\r\n$5\r\nslave\r\n$1\r\na\r\n:65536\r\n$1\r\nx\r\n:1\r\n", "Unknown"),
        ("*2\r\n$8\r\nsentinel\r\n*0\r\n", "Unknown"),
        ("-BUSY a script runs\r\n", "Unknown"),
        ("-LOADING the dataset\r\n", "Unknown"),
        ("-NOPERM no\r\n", "Refused"),
        ("-ERR unknown command 'ROLE'\r\n", "Refused"),
        ("-ERR Can't execute 'role': only (P|S)SUBSCRIBE …\r\n", "Refused"),
        ("_\r\n", "Unknown"),
    ] {
        let said = format!("{answer}+PONG\r\n");
        let arrivals = answers(&[Command::Role, Command::Ping], &said, 2).await;
        assert_eq!(arrivals, [&format!("Role({role})"), "Pong { warning: None }"], "{answer}");
    }
}

#[tokio::test]
async fn everything_received_comes_before_the_end_and_nothing_behind_it() {
    for (last, why) in [
        ("", "Redis closed the connection\""),
        (">3\r\n$7\r\nmess", "client-output-buffer-limit"),
        (">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2000\r\nx", "client-output-buffer-limit"),
        ("GET / HTTP/1.1\r\n", "not an answer of Redis"),
        ("+OK\r\n", "not asked"),
        ("-ERR max number of clients reached\r\n", "Answered(\"ERR max number of clients"),
    ] {
        let (mut connection, mut server) = pair();
        let said = [&message("a", "1"), &message("a", "2"), last].concat();
        server.write_all(said.as_bytes()).await.unwrap();
        drop(server);
        connection.send(subscribe(&["nobody answers this"]));
        if last.starts_with(['+', '-']) {
            connection.asked.clear();
        }
        assert_eq!(next(&mut connection).await, "a=1");
        assert_eq!(next(&mut connection).await, "a=2");
        let mut end = next(&mut connection).await;
        if end.starts_with("Oversized") {
            end = next(&mut connection).await;
        }
        assert!(end.starts_with("Ended(") && end.contains(why), "{end}");
        assert_eq!(connection.try_next(), None);
        let ready = timeout(Duration::from_millis(20), connection.ready()).await;
        assert!(ready.is_err(), "something behind the end");
    }
}

#[tokio::test]
async fn an_answer_out_of_order_ends_the_connection() {
    for (command, said) in [(subscribe(&["a"]), "+PONG\r\n"), (unsubscribe(&["a"]), "*0\r\n")] {
        let arrivals = answers(&[command, Command::Ping], said, 1).await;
        assert_eq!(arrivals, ["Ended(Lost(\"Redis's answers are out of order\"))"]);
    }
}

#[tokio::test]
async fn a_message_above_the_cap_is_told_with_its_channel() {
    let big = message("a", &"x".repeat(MAX_PAYLOAD + 1));
    let exact = message("a", &"x".repeat(MAX_PAYLOAD));
    let arrivals = answers(&[], &[big, exact, message("b", "1")].concat(), 3).await;
    assert_eq!(arrivals[0], "Oversized { channel: [97], pattern: None, bytes: 1001 }");
    assert_eq!(arrivals[1].len(), "a=".len() + MAX_PAYLOAD);
    assert_eq!(arrivals[2], "b=1");
}

#[tokio::test]
async fn what_ready_has_found_stays_when_the_waiting_is_given_up() {
    let (mut connection, mut server) = pair();
    assert!(timeout(Duration::from_millis(5), connection.ready()).await.is_err());
    server.write_all(message("a", "1").as_bytes()).await.unwrap();
    connection.ready().await;
    connection.ready().await;
    assert_eq!(next(&mut connection).await, "a=1");
    assert_eq!(connection.try_next(), None);
}

#[tokio::test]
async fn many_commands_are_written_while_their_answers_are_read() {
    // Both ends would wait for each other for ever if only one thing were done at a time.
    let (ours, mut server) = duplex(64);
    let mut connection =
        Connection::new(BufferedStream::new(ours, MAX_PAYLOAD), Redactor::default());
    let echo = tokio::spawn(async move {
        for n in 0..2_000 {
            let command = format!("*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\n{n:04}\r\n");
            server.read_exact(&mut vec![0; command.len()]).await.unwrap();
            let answer = acknowledged("subscribe", &format!("{n:04}"));
            server.write_all(answer.as_bytes()).await.unwrap();
        }
        server
    });
    (0..2_000).for_each(|n| connection.send(subscribe(&[&format!("{n:04}")])));
    for n in 0..2_000 {
        assert_eq!(next(&mut connection).await, format!("+{n:04}"));
    }
    drop(echo.await.unwrap());
}
