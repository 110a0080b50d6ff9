//! Clients that send their request one byte at a time and never finish it.

use super::{http::Request, wait};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

pub(crate) struct Drippers {
    clients: Vec<TcpStream>,
    request: Vec<u8>,
    sent: usize,
    /// When the last of them had connected.
    came: Instant,
}

impl Drippers {
    /// This many, from several addresses; each sends one byte.
    #[track_caller]
    pub(crate) fn come(address: SocketAddr, count: usize) -> Self {
        let from = |n: usize| Ipv4Addr::new(127, 0, 0, 2 + (n % 4) as u8);
        let clients = (0..count).map(|n| connect(from(n), address)).collect();
        let request = Request::upgrade("/ws/rooms/1").encode();
        let mut drippers = Self { clients, request, sent: 0, came: Instant::now() };
        drippers.drip();
        drippers
    }

    /// Each sends one more byte.
    pub(crate) fn drip(&mut self) {
        let byte = &self.request[self.sent..=self.sent];
        // A client that was cut off cannot send; its answer is checked at the end.
        self.clients.iter_mut().for_each(|client| drop(client.write(byte)));
        self.sent += 1;
        assert!(self.sent < self.request.len() - 1, "they would come to the end");
    }

    /// Whether none of them has been answered.
    pub(crate) fn wait_still(&self) -> bool {
        let waits = |client: &TcpStream| {
            client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        self.clients.iter().all(waits)
    }

    /// Sends a byte a second until all have been answered with this; returns the time since the
    /// last of them connected.
    #[track_caller]
    pub(crate) fn until_all_are(mut self, status: &str) -> Duration {
        let mut dripped = Instant::now();
        wait::until("all have been answered", || {
            if dripped.elapsed() >= Duration::from_secs(1) {
                dripped = Instant::now();
                self.drip();
            }
            let answered = |client: &TcpStream| client.peek(&mut [0]).is_ok();
            self.clients.iter().rev().all(answered)
        });
        let took = self.came.elapsed();
        for mut client in self.clients {
            let mut answer = [0; 1024];
            let read = client.read(&mut answer).expect("just seen");
            let answer = String::from_utf8_lossy(&answer[..read]);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        took
    }
}

#[track_caller]
fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("a loopback address");
    socket.connect_timeout(&to.into(), wait::LIMIT).expect("the port accepts");
    socket.set_nonblocking(true).expect("a socket option");
    socket.into()
}
