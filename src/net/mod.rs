//! Sockets: a port's listener, and a client's connection over TCP, TLS or a unix socket.
//!
//! Knows nothing of HTTP, Redis, sessions or the configuration: it is told an address, a path, or
//! how to do TLS. Nothing here blocks, and a connection keeps no buffer while nothing comes.

#[cfg(test)]
#[path = "../../tests/it/rig/port.rs"]
pub(crate) mod held_port;
mod listener;
mod outstanding;
mod tls;
mod transport;

pub use listener::{Accepted, Listener, listen_tcp, try_tcp, try_unix};
pub use transport::Transport;
