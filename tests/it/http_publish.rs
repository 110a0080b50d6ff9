//! Publishing by HTTP: what callers are promised, over real sockets and a real Redis.

mod connections;
mod forms;
mod outcomes;
mod peers;
mod refusals;
mod reloads;

use crate::rig::{
    Gateway, Redis, Request, Settings,
    http::{Response, connect},
    settings::rooms,
    token,
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};
use toml::Table;

/// May publish to rooms, and to the history of rooms, which are streams.
const TOKEN: &str = "the token of a backend";

/// A gateway's settings with rooms, and [`TOKEN`].
fn settings(redis: &Redis) -> Settings {
    let routes = [
        ("/room/{room}/message", "room:{path.room}"),
        ("/notify/{user}", "user:{path.user}:notifications"),
    ];
    let settings = Settings::new(redis).endpoint(rooms());
    let settings = with_token(settings, TOKEN, &["room:*", "history:*"]);
    let stream = "channels = [\"history:*\"]\nkeep_entries = 1000";
    let settings = settings.append("http_publish.stream", stream.parse().expect("TOML"));
    routes.into_iter().fold(settings, |settings, (path, channel)| {
        let mut route = Table::new();
        route.insert("path".to_owned(), path.into());
        route.insert("channel".to_owned(), channel.into());
        settings.append("http_publish.route", route)
    })
}

fn with_token(settings: Settings, token: &str, channels: &[&str]) -> Settings {
    let mut entry = Table::new();
    entry.insert("sha256".to_owned(), token::sha256(token).into());
    entry.insert("channels".to_owned(), channels.to_vec().into());
    settings.append("http_publish.token", entry)
}

fn start(redis: &Redis) -> Gateway {
    Gateway::start(&settings(redis))
}

/// A POST with this body and [`TOKEN`], not yet sent.
fn post(target: &str, body: &[u8]) -> Request {
    let request = Request::line(&format!("POST {target} HTTP/1.1")).bearer(TOKEN);
    request.header("Content-Length", &body.len().to_string())
}

/// A connection of a caller, for one request after the other.
struct Caller(TcpStream);

impl Caller {
    #[track_caller]
    fn to(address: SocketAddr) -> Self {
        Self(connect(address))
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the gateway reads");
    }

    #[track_caller]
    fn answer(&mut self) -> Response {
        Response::read(&mut self.0).expect("a whole answer")
    }

    #[track_caller]
    fn ask(&mut self, request: &Request, body: &[u8]) -> Response {
        self.send(&[&request.encode(), body].concat());
        self.answer()
    }

    #[track_caller]
    fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        self.ask(&post(target, body.as_ref()), body.as_ref())
    }

    /// Waits for the gateway to close, and says what else it sent.
    #[track_caller]
    fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the gateway closes");
        rest
    }
}

/// One request with [`TOKEN`] on a connection of its own.
#[track_caller]
fn publish(gateway: &Gateway, target: &str, body: impl AsRef<[u8]>) -> Response {
    Caller::to(gateway.address).post(target, body)
}
