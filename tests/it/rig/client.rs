//! A WebSocket client written for these tests alone. It shares no code with the product, checks
//! every byte it receives, and can violate the protocol in every way.

use super::{
    http::{self, Request, Response},
    wait::LIMIT,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// Opcodes, with the FIN bit set.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;

/// A frame from the gateway, or the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason; 1005 when the frame was empty.
    Close(u16, String),
    /// The connection ended, with or without a close frame before.
    End,
}

/// An open WebSocket.
pub(crate) struct Client {
    stream: TcpStream,
    inbox: VecDeque<u8>,
    /// The response with status 101.
    pub(crate) answer: Response,
}

impl Client {
    /// Opens a WebSocket.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, request: &Request) -> Self {
        Self::over(http::connect(address), request)
    }

    /// … with a receive buffer so small that the gateway soon notices when the client does not
    /// read.
    #[track_caller]
    pub(crate) fn open_narrow(address: SocketAddr, request: &Request) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a socket option");
        socket.connect(&address.into()).expect("the port accepts");
        Self::over(http::with_deadlines(socket.into()), request)
    }

    /// Opens a WebSocket over a connection that is there.
    #[track_caller]
    pub(crate) fn over(stream: TcpStream, request: &Request) -> Self {
        match Self::try_over(stream, request) {
            Ok(client) => client,
            Err(answer) => panic!("{} instead of 101: {}", answer.status, answer.text()),
        }
    }

    /// Opens a WebSocket, or returns the response that refused it.
    #[track_caller]
    pub(crate) fn try_open(address: SocketAddr, request: &Request) -> Result<Self, Response> {
        Self::try_over(http::connect(address), request)
    }

    #[track_caller]
    fn try_over(mut stream: TcpStream, request: &Request) -> Result<Self, Response> {
        stream.write_all(&request.encode()).expect("the request is taken");
        let mut answer = Response::read(&mut stream).expect("a whole response");
        if answer.status != 101 {
            return Err(answer);
        }
        check_accept(&answer, request);
        let inbox = std::mem::take(&mut answer.rest).into();
        Ok(Self { stream, inbox, answer })
    }

    /// The next frame, whatever it is.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        match self.try_frame() {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Frame::End,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Frame::End,
            Err(error) => panic!("no frame within {LIMIT:?}: {error}"),
        }
    }

    /// The next data frame, an `End` or a `Close`; pings are answered, as browsers do.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Frame {
        loop {
            match self.frame() {
                Frame::Ping(payload) => self.send(PONG, &payload),
                Frame::Pong(_) => {}
                other => return other,
            }
        }
    }

    /// The next data frame, which must be text.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.event() {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of text"),
        }
    }

    /// The next data frame, which must be text and JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// All texts until the close frame, and that frame.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) -> (Vec<String>, (u16, String)) {
        let mut texts = Vec::new();
        loop {
            match self.event() {
                Frame::Text(text) => texts.push(text),
                Frame::Close(code, reason) => return (texts, (code, reason)),
                other => panic!("{other:?} after {} texts", texts.len()),
            }
        }
    }

    /// Reads the close frame, which must be next, and answers it as RFC 6455 requires; then the
    /// gateway must end the connection.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self, code: u16, reason: &str) {
        let got = self.until_closed();
        assert_eq!(got, (vec![], (code, reason.to_owned())));
        self.try_send(CLOSE, &code.to_be_bytes());
        assert_eq!(self.frame(), Frame::End, "nothing may follow a close frame");
    }

    /// Closes properly: sends a close frame, and returns the code of the answer.
    #[track_caller]
    pub(crate) fn bye(mut self) -> (u16, String) {
        self.send(CLOSE, &1000u16.to_be_bytes());
        self.until_closed().1
    }

    /// Sends one masked frame: the first byte as given, the payload as given.
    #[track_caller]
    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&encode(first, payload));
    }

    /// Sends one masked frame if the connection is still writable.
    pub(crate) fn try_send(&mut self, first: u8, payload: &[u8]) {
        let _ = self.stream.write_all(&encode(first, payload));
    }

    /// Sends bytes that need not be a frame.
    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the bytes are taken");
    }

    /// Another handle to write with, while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Shuts down the sending side of the connection; the gateway may still send.
    pub(crate) fn stop_writing(&self) {
        // An error means that it has ended already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection as a crash does: a reset, no close frame, no FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    fn try_frame(&mut self) -> io::Result<Frame> {
        let [first, second] = self.take::<2>()?;
        assert_eq!(first & 0xF0, 0x80, "one message is one frame, without extensions");
        assert_eq!(second & 0x80, 0, "a server never masks");
        let len = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(self.take()?)),
            127 => u64::from_be_bytes(self.take()?),
            short => u64::from(short),
        };
        self.fill(len as usize)?;
        let payload: Vec<u8> = self.inbox.drain(..len as usize).collect();
        Ok(decode(first, payload))
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.fill(N)?;
        Ok(std::array::from_fn(|_| self.inbox.pop_front().expect("filled")))
    }

    fn fill(&mut self, len: usize) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        while self.inbox.len() < len {
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.inbox.extend(&chunk[..read]),
            }
        }
        Ok(())
    }
}

fn decode(first: u8, payload: Vec<u8>) -> Frame {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect("UTF-8").to_owned();
    match first {
        TEXT => Frame::Text(text(&payload)),
        BINARY => Frame::Binary(payload),
        CLOSE if payload.is_empty() => Frame::Close(1005, String::new()),
        CLOSE => {
            let (code, reason) = payload.split_first_chunk::<2>().expect("not one byte");
            assert!(reason.len() <= 123, "a reason has at most 123 bytes");
            Frame::Close(u16::from_be_bytes(*code), text(reason))
        }
        PING => Frame::Ping(payload),
        PONG => Frame::Pong(payload),
        _ => panic!("opcode {first:#x} from a server"),
    }
}

/// The first frame in `bytes`, if it is complete, and its length.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    assert_eq!((first & 0xF0, second & 0x80), (0x80, 0), "whole messages, unmasked");
    let (len, rest) = match second {
        126 => {
            rest.split_first_chunk().map(|(len, rest)| (u16::from_be_bytes(*len).into(), rest))?
        }
        127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
        short => (u64::from(short), rest),
    };
    let payload = rest.get(..usize::try_from(len).expect("it fits"))?;
    let end = bytes.len() - rest.len() + payload.len();
    Some((decode(first, payload.to_vec()), end))
}

/// One masked frame.
pub(crate) fn encode(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, 0x80, payload.len() as u64);
    let mask: [u8; 4] = std::array::from_fn(|_| fastrand::u8(..));
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a frame, up to and including its length; `mask` is 0x80 or 0.
pub(crate) fn head(first: u8, mask: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(mask | len as u8),
        126..=0xFFFF => {
            bytes.push(mask | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    bytes
}

#[track_caller]
fn check_accept(answer: &Response, request: &Request) {
    let key = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", request.key().unwrap_or_default());
    let digest = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    let expected = STANDARD.encode(aws_lc_rs::digest::digest(digest, key.as_bytes()));
    assert_eq!(answer.header("sec-websocket-accept"), Some(expected.as_str()));
    assert_eq!(answer.header("sec-websocket-extensions"), None, "none was offered");
}
