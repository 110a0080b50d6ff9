//! The limit: the least work that a program on epoll can do to carry Redis messages to WebSockets.
//!
//! One thread, one Redis subscription per channel, one `send` of an encoded frame per socket and
//! message. No authentication, no timers, no bounds: not a gateway, but the baseline for one. Like
//! Sockway it answers 101 only when Redis has confirmed the channels.

use std::collections::HashMap;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use clap::Parser;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use sockway_benches::poll::Poll;
use sockway_benches::{channels, resp, upgrade};

const LISTENER: u64 = u64::MAX;
const REDIS: u64 = u64::MAX - 1;
const BUFFER: usize = 256 * 1024;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    redis: SocketAddr,
}

struct Client {
    socket: OwnedFd,
    /// Bytes that the kernel did not accept at once. Empty unless the client is slow.
    unsent: Vec<u8>,
}

#[derive(Default)]
struct Channel {
    confirmed: bool,
    members: Vec<u32>,
    /// Upgrades waiting for the confirmation, with their prepared answer.
    waiting: Vec<(u32, String)>,
}

struct Limit {
    poll: Poll,
    redis: OwnedFd,
    commands: Vec<u8>,
    waits_for_redis: bool,
    /// An index is not reused: a channel may still refer to it.
    clients: Vec<Option<Client>>,
    channels: HashMap<Vec<u8>, Channel>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let listener = TcpListener::bind(options.listen)?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    let redis = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::connect(&redis, &options.redis)?;
    sockopt::set_tcp_nodelay(&redis, true)?;
    rustix::io::ioctl_fionbio(&redis, true)?;
    let poll = Poll::new()?;
    poll.add(&listener, LISTENER)?;
    poll.add(&redis, REDIS)?;
    let (commands, clients, channels) = (Vec::new(), Vec::new(), HashMap::new());
    Limit { poll, redis, commands, waits_for_redis: false, clients, channels }.run(&listener)
}

impl Limit {
    fn run(&mut self, listener: &TcpListener) -> Result<(), Box<dyn Error>> {
        let mut buffer = vec![0; BUFFER];
        let (mut arrived, mut frame, mut ready) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            ready.clear();
            ready.extend(self.poll.wait(None)?);
            for &token in &ready {
                match token {
                    LISTENER => self.accept(listener)?,
                    REDIS => self.read_redis(&mut buffer, &mut arrived, &mut frame)?,
                    client => self.read_client(client as u32, &mut buffer)?,
                }
            }
            self.flush_commands()?;
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> Result<(), Box<dyn Error>> {
        loop {
            let socket = match rustix::net::accept_with(listener, SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            self.poll.add(&socket, self.clients.len() as u64)?;
            self.clients.push(Some(Client { socket, unsent: Vec::new() }));
        }
    }

    /// The request, which must arrive in one piece; later only pongs and the end of the connection.
    fn read_client(&mut self, index: u32, buffer: &mut [u8]) -> Result<(), Box<dyn Error>> {
        let Some(client) = &mut self.clients[index as usize] else { return Ok(()) };
        if !client.unsent.is_empty() {
            send(&self.poll, index, client, &[])?;
        }
        match rustix::io::read(&client.socket, &mut *buffer) {
            Ok(0) | Err(Errno::CONNRESET) => self.clients[index as usize] = None,
            Ok(length) if buffer.starts_with(b"GET ") => self.join(index, &buffer[..length])?,
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn join(&mut self, index: u32, request: &[u8]) -> Result<(), Box<dyn Error>> {
        let head = std::str::from_utf8(request)?;
        let path = head.split(' ').nth(1).ok_or("a request without a path")?;
        let names = channels::of_path(path).ok_or_else(|| format!("an unknown path: {path}"))?;
        let key = upgrade::header(head, "Sec-WebSocket-Key").ok_or("a request without a key")?;
        let answer = upgrade::response(key);
        let mut waits_for = None;
        for name in &names {
            let channel = self.channels.entry(name.as_bytes().to_vec()).or_insert_with(|| {
                resp::command(&mut self.commands, &[b"SUBSCRIBE", name.as_bytes()]);
                Channel::default()
            });
            channel.members.push(index);
            if !channel.confirmed {
                waits_for = Some(name);
            }
        }
        // Redis confirms in the order of the commands: the last pending one is confirmed last.
        match waits_for.and_then(|name| self.channels.get_mut(name.as_bytes())) {
            Some(channel) => channel.waiting.push((index, answer)),
            None => self.send_to(index, answer.as_bytes())?,
        }
        Ok(())
    }

    fn read_redis(
        &mut self,
        buffer: &mut [u8],
        arrived: &mut Vec<u8>,
        frame: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error>> {
        match rustix::io::read(&self.redis, &mut *buffer) {
            Ok(0) => return Err("Redis closed the connection".into()),
            Ok(length) => arrived.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some((value, length)) = resp::parse(&arrived[at..])? {
            at += length;
            if let resp::Value::List(items) = &value
                && let [resp::Value::Text(kind), resp::Value::Text(name), last] = &items[..]
            {
                match (*kind, last) {
                    (b"message", resp::Value::Text(payload)) => {
                        self.deliver(name, payload, frame)?
                    }
                    (b"subscribe", _) => self.confirm(name)?,
                    _ => {}
                }
            }
        }
        arrived.drain(..at);
        Ok(())
    }

    fn deliver(
        &mut self,
        name: &[u8],
        payload: &[u8],
        frame: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error>> {
        let Some(channel) = self.channels.get(name) else { return Ok(()) };
        frame.clear();
        frame.push(0x81);
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        for &index in &channel.members {
            if let Some(client) = &mut self.clients[index as usize] {
                send(&self.poll, index, client, frame)?;
            }
        }
        Ok(())
    }

    fn confirm(&mut self, name: &[u8]) -> Result<(), Box<dyn Error>> {
        let Some(channel) = self.channels.get_mut(name) else { return Ok(()) };
        channel.confirmed = true;
        for (index, answer) in std::mem::take(&mut channel.waiting) {
            self.send_to(index, answer.as_bytes())?;
        }
        Ok(())
    }

    fn send_to(&mut self, index: u32, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        match &mut self.clients[index as usize] {
            Some(client) => send(&self.poll, index, client, bytes),
            None => Ok(()),
        }
    }

    fn flush_commands(&mut self) -> Result<(), Box<dyn Error>> {
        let mut sent = 0;
        while sent < self.commands.len() {
            match rustix::net::send(&self.redis, &self.commands[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.commands.drain(..sent);
        if self.waits_for_redis == self.commands.is_empty() {
            self.waits_for_redis = !self.waits_for_redis;
            self.poll.also_writable(&self.redis, REDIS, self.waits_for_redis)?;
        }
        Ok(())
    }
}

fn send(poll: &Poll, index: u32, client: &mut Client, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if client.unsent.is_empty() {
        let sent = match rustix::net::send(&client.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(length) => length,
            Err(Errno::AGAIN) => 0,
            // The end of the connection is read as well, and removes it.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if sent == bytes.len() {
            return Ok(());
        }
        client.unsent.extend_from_slice(&bytes[sent..]);
        poll.also_writable(&client.socket, u64::from(index), true)?;
        return Ok(());
    }
    client.unsent.extend_from_slice(bytes);
    match rustix::net::send(&client.socket, &client.unsent, SendFlags::NOSIGNAL) {
        Ok(length) => drop(client.unsent.drain(..length)),
        Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET) => {}
        Err(error) => return Err(error.into()),
    }
    if client.unsent.is_empty() {
        poll.also_writable(&client.socket, u64::from(index), false)?;
    }
    Ok(())
}
