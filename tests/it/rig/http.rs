//! HTTP by hand, so that tests control every byte sent and see every header received.

use super::wait::LIMIT;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

/// A request before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// A plain GET.
    pub(crate) fn get(target: &str) -> Self {
        Self::line(&format!("GET {target} HTTP/1.1"))
    }

    /// Any request line.
    pub(crate) fn line(line: &str) -> Self {
        Self { line: line.to_owned(), headers: Vec::new() }.header("Host", "localhost")
    }

    /// A correct WebSocket handshake.
    pub(crate) fn upgrade(target: &str) -> Self {
        Self::get(target).with_upgrade()
    }

    /// The four headers of a WebSocket handshake.
    pub(crate) fn with_upgrade(self) -> Self {
        let key: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        self.header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", &STANDARD.encode(key))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces the value of a header that is present.
    pub(crate) fn replace(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn key(&self) -> Option<&str> {
        let key = self.headers.iter().find(|(name, _)| name == "Sec-WebSocket-Key");
        key.map(|(_, value)| value.as_str())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n", self.line).into_bytes()
    }

    /// Sends it over a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        exchange(connect(address), &self.encode())
    }
}

/// A connection with deadlines.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).expect("the port accepts");
    with_deadlines(stream)
}

/// … from an address of this machine.
#[track_caller]
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((source, 0)).into()).expect("an address of this machine");
    socket.connect(&address.into()).expect("the port accepts");
    with_deadlines(socket.into())
}

pub(crate) fn with_deadlines(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(LIMIT)).expect("a socket option");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket option");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// Sends bytes and reads one response.
#[track_caller]
pub(crate) fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Response {
    // The other side may answer, and close, before it has read everything: not an error here.
    let _ = stream.write_all(bytes);
    Response::read(&mut stream).expect("a whole response")
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes after the response: the first frames after a 101.
    pub(crate) rest: Vec<u8>,
}

impl Response {
    pub(crate) fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            more(stream, &mut bytes)?;
        };
        let mut response = Self::parse_head(&bytes[..head])?;
        let length = match response.header("content-length") {
            Some(length) => length.parse().map_err(io::Error::other)?,
            None => 0,
        };
        while bytes.len() < head + length {
            more(stream, &mut bytes)?;
        }
        response.rest = bytes.split_off(head + length);
        response.body = bytes.split_off(head);
        Ok(response)
    }

    fn parse_head(head: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("not a status line: {line}")))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self { status, headers, body: Vec::new(), rest: Vec::new() })
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Checks the response against the contract of every refusal: its status, a problem body with a
    /// stable code, and the headers that the status requires.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.text()), (status, self.text()), "{code} expected");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        let challenge = (status == 401).then_some("Bearer");
        assert_eq!(self.header("www-authenticate").map(|value| &value[..6]), challenge);
        let waits = matches!(status, 429 | 503);
        let seconds =
            self.header("retry-after").map(|value| value.parse::<u32>().expect("seconds"));
        assert_eq!(seconds.is_some(), waits, "Retry-After of {status}");
    }
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk)? {
        0 => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("the response ended early: {:?}", String::from_utf8_lossy(bytes)),
        )),
        read => {
            bytes.extend_from_slice(&chunk[..read]);
            Ok(())
        }
    }
}
