//! The pipelined connection on which messages are published.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};
use sockway_benches::resp::{self, Value};
use sockway_benches::upgrade;

pub(crate) struct Publisher {
    pub(crate) socket: OwnedFd,
    over_http: bool,
    unsent: Vec<u8>,
    arrived: Vec<u8>,
    /// Commands that are not answered yet.
    pub(crate) unanswered: u64,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr, over_http: bool) -> Result<Self, Errno> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::connect(&socket, &address)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, over_http, unsent: Vec::new(), arrived: Vec::new(), unanswered: 0 })
    }

    pub(crate) fn add(&mut self, channel: &str, payload: &[u8]) {
        self.unanswered += 1;
        if self.over_http {
            let head = format!(
                "POST /pub/{channel} HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
                payload.len()
            );
            self.unsent.extend_from_slice(head.as_bytes());
            self.unsent.extend_from_slice(payload);
        } else {
            resp::command(&mut self.unsent, &[b"PUBLISH", channel.as_bytes(), payload]);
        }
    }

    /// Appends an entry, `*` or an id of one's own. A stream keeps about 1,000, so that Redis stays small.
    pub(crate) fn append(&mut self, stream: &str, id: &str, payload: &[u8]) {
        self.unanswered += 1;
        let words: [&[u8]; 8] =
            [b"XADD", stream.as_bytes(), b"MAXLEN", b"~", b"1000", id.as_bytes(), b"data", payload];
        resp::command(&mut self.unsent, &words);
    }

    /// Reads a stream as a gateway must for whoever returns to it: where it ends, and its entries.
    pub(crate) fn read_stream(&mut self, stream: &str, entries: u64) {
        self.unanswered += 2;
        let (stream, count) = (stream.as_bytes(), entries.to_string());
        resp::command(&mut self.unsent, &[b"XINFO", b"STREAM", stream]);
        let range: [&[u8]; 6] = [b"XRANGE", stream, b"1-0", b"+", b"COUNT", count.as_bytes()];
        resp::command(&mut self.unsent, &range);
    }

    /// Sends what can be sent; `false` when some of it must wait.
    pub(crate) fn flush(&mut self) -> Result<bool, Errno> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match rustix::net::send(&self.socket, &self.unsent[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }

    /// Reads the answers; `false` when the connection has ended. Redis answers with the number of subscribers: zero is a lost message.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Box<dyn Error>> {
        match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(0) | Err(Errno::CONNRESET) => return Ok(false),
            Ok(length) => self.arrived.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some(length) = self.answer(at)? {
            at += length;
            self.unanswered -= 1;
        }
        self.arrived.drain(..at);
        Ok(true)
    }

    fn answer(&self, at: usize) -> Result<Option<usize>, Box<dyn Error>> {
        let bytes = &self.arrived[at..];
        if self.over_http {
            return http_answer(bytes);
        }
        match resp::parse(bytes)? {
            None => Ok(None),
            // An appended entry is answered by its id, a reading by a list.
            Some((Value::Number(1..) | Value::Text(_) | Value::List(_), length)) => {
                Ok(Some(length))
            }
            Some((Value::Number(_), _)) => Err("a channel had no subscriber".into()),
            Some((other, _)) => Err(format!("Redis answered {other:?}").into()),
        }
    }
}

fn http_answer(bytes: &[u8]) -> Result<Option<usize>, Box<dyn Error>> {
    let Some(end) = upgrade::head_end(bytes) else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    if !head.starts_with("HTTP/1.1 20") {
        return Err(format!("publishing was answered {head}").into());
    }
    let body: usize = upgrade::header(head, "Content-Length").map_or(Ok(0), str::parse)?;
    Ok((bytes.len() >= end + body).then_some(end + body))
}
