//! The sockets: handshake, reading, frames, pongs.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustls::ClientConfig;
use sockway_benches::upgrade;

use crate::wire::Wire;

/// A source address has 28,000 ports on a usual machine; each 10,000 sockets use the next address.
const SOCKETS_OF_AN_ADDRESS: usize = 10_000;
const SLOW_RECEIVE_BUFFER: usize = 4096;

/// A received frame, as far as this program needs it.
pub(crate) enum Frame<'a> {
    Message(&'a [u8]),
    Ping(&'a [u8]),
    Close(u16),
}

pub(crate) struct Socket {
    pub(crate) wire: Wire,
    pub(crate) open: bool,
    /// The beginning of an incomplete frame.
    pub(crate) rest: Vec<u8>,
    /// The first of its own channels.
    pub(crate) first_channel: u32,
    /// The sequence number of its newest message plus one.
    pub(crate) next_sequence: u32,
    /// When that arrived, in nanoseconds since the start; 0: not in this window.
    pub(crate) last_arrival: u64,
}

/// Connects, from one of the loopback addresses, and sends the request.
pub(crate) fn connect(
    server: SocketAddr,
    index: usize,
    path: &str,
    slow: bool,
    tls: Option<&Arc<ClientConfig>>,
) -> io::Result<Wire> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Ends without TIME_WAIT, so that the next run has its ports.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    if slow {
        sockopt::set_socket_recv_buffer_size(&socket, SLOW_RECEIVE_BUFFER)?;
    }
    if server.ip().is_loopback() {
        let last = 2 + (index / SOCKETS_OF_AN_ADDRESS) as u8;
        // A different network for each load generator that runs at the same time.
        let network = (std::process::id() % 256) as u8;
        let address = Ipv4Addr::new(127, 0, network, last);
        rustix::net::bind(&socket, &SocketAddr::new(IpAddr::V4(address), 0))?;
    }
    rustix::net::connect(&socket, &server)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    let mut wire = Wire::new(socket, server, tls)?;
    wire.write_all(upgrade::request(&server.to_string(), path).as_bytes())?;
    wire.set_nonblocking()?;
    Ok(wire)
}

/// Checks the answer to an upgrade; `None` if it is incomplete, else its length.
pub(crate) fn answered(bytes: &[u8]) -> Result<Option<usize>, Box<dyn Error>> {
    let Some(end) = upgrade::head_end(bytes) else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    let accepted =
        upgrade::header(head, "Sec-WebSocket-Accept") == Some(&*upgrade::accept(upgrade::KEY));
    if !head.starts_with("HTTP/1.1 101 ") || !accepted {
        return Err(format!("an upgrade was refused: {}", String::from_utf8_lossy(bytes)).into());
    }
    Ok(Some(end))
}

/// The first frame in `bytes` and its length; `None` if it is incomplete.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Box<dyn Error>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let (start, length) = match second {
        126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() >= 10 => (10, u64::from_be_bytes(bytes[2..10].try_into()?) as usize),
        126 | 127 => return Ok(None),
        128.. => return Err("a masked frame from a server".into()),
        short => (2, usize::from(short)),
    };
    let end = start + length;
    if bytes.len() < end {
        return Ok(None);
    }
    let payload = &bytes[start..end];
    let frame = match first {
        0x81 | 0x82 => Frame::Message(payload),
        0x89 => Frame::Ping(payload),
        0x88 if length >= 2 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
        0x88 => Frame::Close(1005),
        other => return Err(format!("a frame that begins with {other:#x}").into()),
    };
    Ok(Some((frame, end)))
}

/// Answers a ping. Masked with zeros, which is a mask like any other.
pub(crate) fn pong(wire: &mut Wire, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    wire.write_all(&frame)
}

/// A text frame of a client, of less than 64 KiB, masked likewise.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}
