//! A client with a good token that sends as fast as it is read, and comes back whenever it is closed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sockway_benches::report::Flooded;
use sockway_benches::upgrade;

use super::{Outcome, Run, STALLED, path};
use crate::options::{Flood, FloodOf};
use crate::sockets::{self, Frame};

/// Different frames, which are sent over and over.
const FRAMES: usize = 10_000;
/// Written by one system call at most: another load generator, on the same core, must not wait for a longer one.
const PIECE: usize = 16 * 1024;
/// When nothing can be read or written.
const PAUSE: Duration = Duration::from_micros(200);

impl Run<'_> {
    pub(crate) fn flood(&mut self, step: &Flood) -> Outcome<Flooded> {
        let frames: Vec<u8> = (0..FRAMES).flat_map(|number| frame(step.with, number)).collect();
        let path = path(&step.path, 1, 1, 0);
        let end = Instant::now() + Duration::from_secs_f64(step.seconds);
        let mut flooded = Flooded::default();
        while Instant::now() < end {
            let stream = open(self.options.server, &path)?;
            flooded.sessions += 1;
            flooded.bytes += flood(stream, &frames, end)?;
        }
        Ok(flooded)
    }
}

fn frame(of: FloodOf, number: usize) -> Vec<u8> {
    let text = match of {
        FloodOf::Publish => format!(r#"{{"type":"publish","ref":"{number}","data":{number}}}"#),
        FloodOf::Subscribe => {
            format!(r#"{{"type":"subscribe","ref":"{number}","channel":"bench:flood:{number}"}}"#)
        }
        FloodOf::Unsubscribe => {
            format!(r#"{{"type":"unsubscribe","ref":"{number}","channel":"bench:flood:{number}"}}"#)
        }
    };
    sockets::text(text.as_bytes())
}

/// A connection that is upgraded.
fn open(server: SocketAddr, path: &str) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.write_all(upgrade::request(&server.to_string(), path).as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while sockets::answered(&head)?.is_none() {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Sends until the server closes, or until the end. Returns the number of bytes that were sent.
fn flood(mut stream: TcpStream, frames: &[u8], end: Instant) -> Outcome<u64> {
    let (mut sent, mut arrived, mut buffer) = (0, Vec::new(), vec![0; 64 * 1024]);
    while Instant::now() < end {
        let at = (sent % frames.len() as u64) as usize;
        let piece = &frames[at..frames.len().min(at + PIECE)];
        let wrote = progress(stream.write(piece))?;
        let read = progress(stream.read(&mut buffer))?;
        let (Some(wrote), Some(read)) = (wrote, read) else { break };
        sent += wrote as u64;
        arrived.extend_from_slice(&buffer[..read]);
        if is_closed(&mut arrived)? {
            break;
        }
        if wrote + read == 0 {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(sent)
}

/// How many bytes were sent or received, 0 if none can be now; `None`: the connection has ended.
fn progress(done: std::io::Result<usize>) -> Outcome<Option<usize>> {
    match done {
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(length)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(Some(0)),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(None),
            _ => Err(error.into()),
        },
    }
}

/// Drops whole frames; whether one of them closes the session.
fn is_closed(arrived: &mut Vec<u8>) -> Outcome<bool> {
    let mut at = 0;
    while let Some((frame, length)) = sockets::frame(&arrived[at..])? {
        if matches!(frame, Frame::Close(_)) {
            return Ok(true);
        }
        at += length;
    }
    arrived.drain(..at);
    Ok(false)
}
