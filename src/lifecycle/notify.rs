//! `sd_notify`: tells systemd how far we are, when it gave us a socket to say so.
//!
//! By hand: the protocol is one datagram, and the `sd-notify` crate (0.5) waits when nobody reads
//! the socket, which would stop the signals with it, and does not know abstract sockets (`@…`). A
//! message that cannot be sent is a warning and never a failure.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::{
        ffi::OsStrExt,
        net::{SocketAddr, UnixDatagram},
    },
};
use tracing::warn;

/// Everything is bound and served.
pub fn ready() {
    tell("READY=1");
}

/// A reload has begun; [`ready`] says that it is over, whatever came of it.
pub(super) fn reloading() {
    // What systemd asks of `Type=notify-reload`: a time of its own clock, in microseconds.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// The stop sequence has begun.
pub(super) fn stopping() {
    tell("STOPPING=1");
}

fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        warn!(state, %error, "cannot tell systemd");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    // Nobody reading must not mean that nobody is served.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address(socket)?)?;
    Ok(())
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(socket),
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn the_state_reaches_a_socket_that_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&socket), "READY=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_state_reaches_an_abstract_socket() {
        let name = format!("@sockway-test-{}-{}", std::process::id(), fastrand::u64(..));
        let socket = UnixDatagram::bind_addr(&address(OsStr::new(&name)).unwrap()).unwrap();
        send(OsStr::new(&name), "STOPPING=1").unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[test]
    fn an_address_that_is_neither_is_an_error_and_so_is_a_socket_that_is_gone() {
        for socket in ["", "notify", "vsock:2:1234"] {
            assert_eq!(
                send(OsStr::new(socket), "READY=1").unwrap_err().kind(),
                io::ErrorKind::Unsupported
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        assert_eq!(send(gone.as_os_str(), "READY=1").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
