//! A client of Server-Sent Events: HTTP by hand, chunks and events read as the standards say.

use super::http::{self, Request, Response};
use serde_json::Value;
use std::{
    io::{self, Read},
    net::{Shutdown, SocketAddr, TcpStream},
};

/// A GET that asks for events, as a browser's `EventSource` sends it.
pub(crate) fn request(target: &str) -> Request {
    Request::get(target).header("Accept", "text/event-stream").header("Cache-Control", "no-cache")
}

/// One event, as a browser dispatches it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `message` where it has no name of its own.
    pub(crate) name: String,
    pub(crate) data: String,
    /// Of the latest event that had one.
    pub(crate) last_id: String,
}

/// An open stream of events.
pub(crate) struct Events {
    pub(crate) stream: TcpStream,
    /// The head of the answer.
    pub(crate) head: Response,
    is_chunked: bool,
    /// What was received and not read yet: of the connection, and of the body.
    received: Vec<u8>,
    body: Vec<u8>,
    has_ended: bool,
    last_id: String,
    /// In milliseconds: what the gateway said last.
    pub(crate) retry: Option<u64>,
}

impl Events {
    /// Sends a request that is answered by events.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, request: &Request) -> Self {
        Self::over(http::connect(address), request)
    }

    /// … over this connection.
    #[track_caller]
    pub(crate) fn over(mut stream: TcpStream, request: &Request) -> Self {
        io::Write::write_all(&mut stream, &request.encode()).expect("taken");
        Self::of(stream)
    }

    /// The answer to a request that was sent over this connection.
    #[track_caller]
    pub(crate) fn of(mut stream: TcpStream) -> Self {
        let mut head = Response::read(&mut stream).expect("an answer");
        assert_eq!((head.status, head.text()), (200, String::new()), "{:?}", head.headers);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-store"));
        assert_eq!(head.header("x-accel-buffering"), Some("no"));
        assert_eq!(head.header("content-length"), None);
        Self {
            stream,
            is_chunked: head.header("transfer-encoding") == Some("chunked"),
            received: std::mem::take(&mut head.rest),
            head,
            body: Vec::new(),
            has_ended: false,
            last_id: String::new(),
            retry: None,
        }
    }

    /// The next event; `None`: the stream has ended as it should.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.body.windows(2).position(|two| two == b"\n\n") {
                let event = String::from_utf8(self.body.drain(..end + 2).collect()).expect("UTF-8");
                if let Some(event) = self.dispatch(&event) {
                    return Some(event);
                }
            } else if self.has_ended {
                assert_eq!(self.body, b"", "an event in pieces at the end");
                return None;
            } else {
                self.more().expect("a whole stream");
            }
        }
    }

    /// The next event, which must have this name.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Event {
        let event = self.next().expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next event's data, which must be a message's.
    #[track_caller]
    pub(crate) fn message(&mut self) -> String {
        self.expect("message").data
    }

    /// What the first event says.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> Value {
        serde_json::from_str(&self.expect("ready").data).expect("JSON")
    }

    /// Checks that the stream ends with this close, and says when the browser is to come back.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self, code: u16, reason: &str) -> Option<u64> {
        self.retry = None;
        let close = self.expect("close").data;
        assert_eq!(close, format!(r#"{{"code":{code},"reason":"{reason}"}}"#));
        assert_eq!(self.next(), None);
        self.retry
    }

    /// Whether the connection ended, however it did.
    pub(crate) fn has_broken(&mut self) -> bool {
        while !self.has_ended {
            if self.more().is_err() {
                return true;
            }
        }
        false
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("open");
    }

    fn dispatch(&mut self, text: &str) -> Option<Event> {
        let mut event = Event { name: "message".to_owned(), ..Event::default() };
        let mut data: Vec<&str> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" => data.push(value),
                "id" => value.clone_into(&mut self.last_id),
                "retry" => self.retry = value.parse().ok(),
                _ => {}
            }
        }
        event.data = data.join("\n");
        self.last_id.clone_into(&mut event.last_id);
        (!data.is_empty()).then_some(event)
    }

    /// Reads on: a chunk, or whatever comes.
    fn more(&mut self) -> io::Result<()> {
        if !self.is_chunked {
            if self.received.is_empty() {
                let mut bytes = [0; 4096];
                let read = self.stream.read(&mut bytes)?;
                self.has_ended = read == 0;
                self.received.extend_from_slice(&bytes[..read]);
            }
            self.body.append(&mut self.received);
            return Ok(());
        }
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        let chunk = self.take(size)?;
        self.body.extend(chunk);
        assert_eq!(self.line()?, "", "the end of a chunk");
        self.has_ended = size == 0;
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.take(1)?);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.received.len() < count {
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.received.extend_from_slice(&bytes[..read]),
            }
        }
        Ok(self.received.drain(..count).collect())
    }
}
