//! A proxy that gives each WebSocket a room of its own: kosoku knows one URL, and would hear in one case what it said in
//! another.

use crate::rig::http::with_deadlines;
use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// What clients ask for; it becomes the number of the connection.
const ROOM: &str = "00000";

/// A running proxy. It ends with the process.
pub(super) struct OwnRooms {
    address: SocketAddr,
    rooms: String,
}

impl OwnRooms {
    /// In front of the rooms below this path of a gateway.
    pub(super) fn before(gateway: SocketAddr, rooms: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (rooms, below) = (rooms.to_owned(), rooms.to_owned());
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let client = client.expect("a connection");
                let (asked, path) = (format!("{below}{ROOM}"), format!("{below}{number}"));
                // A case may break its connection at any time.
                thread::spawn(move || _ = carry(client, gateway, &asked, &path));
            }
        });
        Self { address, rooms }
    }

    pub(super) fn url(&self, token: &str) -> String {
        format!("ws://{}{}{ROOM}?token={token}", self.address, self.rooms)
    }
}

/// Has the gateway asked for `path` in place of what the client asks for.
fn carry(mut client: TcpStream, gateway: SocketAddr, asked: &str, path: &str) -> io::Result<()> {
    let mut gateway = with_deadlines(TcpStream::connect(gateway)?);
    client.set_nodelay(true)?;
    client.read_exact(&mut vec![0; "GET ".len() + asked.len()])?;
    gateway.write_all(format!("GET {path}").as_bytes())?;
    let (mut from_client, mut to_gateway) = (client.try_clone()?, gateway.try_clone()?);
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_gateway);
        to_gateway.shutdown(Shutdown::Write)
    });
    let _ = io::copy(&mut gateway, &mut client);
    client.shutdown(Shutdown::Write)?;
    there.join().expect("no panic")
}
