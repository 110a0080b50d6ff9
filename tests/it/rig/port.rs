//! A TCP port of the loopback address, held for a test so that nobody else can get it.
//!
//! Most servers of the tests listen on port 0 and say where. Three kinds cannot: a server that must
//! come back at the same address, one that cannot say which port it was given (Redis, nginx, Caddy),
//! and an address at which nothing may listen. Choosing a free port and binding it later is no way
//! out: meanwhile any outgoing connection can be given that port by the kernel.
//!
//! Here the port is bound, and stays bound, by a socket that never listens. On Linux that means:
//! - the kernel gives the port to no outgoing connection and to nobody who binds port 0;
//! - whoever connects while no server listens there is refused;
//! - a server that sets `SO_REUSEADDR` can bind it and listen, again and again, but only one at a
//!   time. Sockway does, and so do Redis, nginx, Go (Caddy), libuv (Node), tokio and `std`.

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

/// A held port. Given back at drop.
pub(crate) struct HeldPort {
    address: SocketAddr,
    _bound: OwnedFd,
}

impl HeldPort {
    /// Holds a port that the kernel chooses.
    ///
    /// # Errors
    /// When no port is left.
    pub(crate) fn new() -> io::Result<Self> {
        let bound =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // Only now: before the bind, it would let two holders share a port.
        sockopt::set_socket_reuseaddr(&bound, true)?;
        let address = getsockname(&bound)?.try_into()?;
        Ok(Self { address, _bound: bound })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
