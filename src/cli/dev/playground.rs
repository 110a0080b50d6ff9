//! What the console's *try it* gets: the demo endpoints, the made-up token, a way to publish.

use super::USER;
use crate::admin::{Place, Playground, Post, Stage, Written};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Longest answer of Redis that is read, in bytes; it is a number or an id.
const MAX_ANSWER: u64 = 1024;

/// The endpoints of `settings::text`, and the private Redis.
pub(super) fn of(address: SocketAddr, redis_port: u16, token: String) -> Playground {
    let endpoints = vec![
        Place {
            name: "notifications",
            path: "/ws/notifications",
            channel: format!("user:{USER}:notifications"),
            stream: false,
            token: true,
            publish: false,
        },
        Place {
            name: "rooms",
            path: "/ws/rooms/{room}",
            channel: "room:{room}".to_owned(),
            stream: false,
            token: false,
            publish: false,
        },
        Place {
            name: "chat",
            path: "/ws/chat/{room}",
            channel: "chat:{room}".to_owned(),
            stream: true,
            token: true,
            publish: true,
        },
    ];
    Playground {
        stage: Stage { websocket: format!("ws://{address}"), user: USER, token, endpoints },
        publish: Box::new(move |post| Box::pin(publish(redis_port, post))),
    }
}

/// `PUBLISH` or `XADD` over a connection of its own: a person presses a button, now and then.
async fn publish(port: u16, post: Post) -> io::Result<Written> {
    let Post { channel, message, stream: is_stream } = post;
    let words: &[&str] = if is_stream {
        &["XADD", &channel, "MAXLEN", "~", "1000", "*", "data", &message]
    } else {
        &["PUBLISH", &channel, &message]
    };
    let command: String =
        words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(format!("*{}\r\n{command}", words.len()).as_bytes()).await?;
    let mut answer = BufReader::new(stream.take(MAX_ANSWER));
    let head = line(&mut answer).await?;
    if let Some(count) = head.strip_prefix(':').and_then(|count| count.parse().ok()) {
        return Ok(Written::Subscribers(count));
    }
    if !head.starts_with('$') {
        return Err(io::Error::other(head));
    }
    line(&mut answer).await.map(Written::Id)
}

async fn line(answer: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    answer.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}
