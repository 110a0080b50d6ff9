//! What the console's *try it* gets: the demo endpoints, the made-up token, a way to publish.

use super::USER;
use crate::admin::{Place, Playground, Stage};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Longest answer of Redis that is read, in bytes; that of a PUBLISH is a number.
const MAX_ANSWER: u64 = 1024;

/// The endpoints of `settings::text`, and the private Redis.
pub(super) fn of(address: SocketAddr, redis_port: u16, token: String) -> Playground {
    let endpoints = vec![
        Place {
            name: "notifications",
            path: "/ws/notifications",
            channel: format!("user:{USER}:notifications"),
            token: true,
        },
        Place {
            name: "rooms",
            path: "/ws/rooms/{room}",
            channel: "room:{room}".to_owned(),
            token: false,
        },
    ];
    Playground {
        stage: Stage { websocket: format!("ws://{address}"), user: USER, token, endpoints },
        publish: Box::new(move |channel, message| {
            Box::pin(async move { publish(redis_port, &channel, &message).await })
        }),
    }
}

/// `PUBLISH` over a connection of its own: a person presses a button, now and then.
async fn publish(port: u16, channel: &str, message: &str) -> io::Result<u64> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let words = ["PUBLISH", channel, message].map(|it| format!("${}\r\n{it}\r\n", it.len()));
    stream.write_all(format!("*3\r\n{}", words.concat()).as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer).await?;
    let count = answer.strip_prefix(':').and_then(|count| count.trim_end().parse().ok());
    count.ok_or_else(|| io::Error::other(answer))
}
