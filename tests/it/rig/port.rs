//! A TCP port on the loopback address, reserved for one test.
//!
//! Most servers of the tests listen on port 0 and report their address. That does not work for a
//! server that must restart on the same address, for one that cannot report its port (Redis, nginx,
//! Caddy), or for an address at which nothing may listen. Choosing a free port and binding it later
//! does not work either: in between, the kernel can give that port to any outgoing connection.
//!
//! Here a socket that never listens is bound to the port, and stays bound. On Linux this means:
//! - the kernel does not assign the port to outgoing connections or to sockets bound to port 0;
//! - connecting is refused while no server listens;
//! - a server that sets `SO_REUSEADDR` can bind the port and listen, repeatedly, but only one at a
//!   time. Sockway sets it, as do Redis, nginx, Go (Caddy), libuv (Node), tokio and `std`.

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

/// A reserved port. Released at drop.
pub(crate) struct HeldPort {
    address: SocketAddr,
    _bound: OwnedFd,
}

impl HeldPort {
    /// Reserves a port chosen by the kernel.
    ///
    /// # Errors
    /// When no port is left.
    pub(crate) fn new() -> io::Result<Self> {
        let bound =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        // After the bind: set before, it would let two holders bind the same port.
        sockopt::set_socket_reuseaddr(&bound, true)?;
        let address = getsockname(&bound)?.try_into()?;
        Ok(Self { address, _bound: bound })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
