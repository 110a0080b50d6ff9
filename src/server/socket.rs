//! The listening socket: TCP, or a unix socket with its file.

use crate::{
    config::{ListenAddress, Tls},
    shard::Transport,
};
use socket2::{Domain, Socket, Type};
use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Connections that the kernel may hold until they are accepted. Larger than a burst of clients
/// that reconnect; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound listener.
pub(super) struct Bound {
    pub(super) listener: Listener,
    /// Removes a unix socket's file when dropped.
    pub(super) file: Option<SocketFile>,
}

/// A listener that never blocks.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection as the listener hands it to a shard, not yet known to any runtime.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Bound {
    /// # Errors
    /// When the address is taken, not ours, or not allowed.
    pub(super) fn bind(listen: &ListenAddress) -> io::Result<Self> {
        match listen {
            ListenAddress::Tcp(address) => {
                Ok(Self { listener: Listener::Tcp(bind_tcp(*address)?), file: None })
            }
            ListenAddress::Unix(path) => {
                let (listener, file) = bind_unix(path)?;
                Ok(Self { listener: Listener::Unix(listener), file: Some(file) })
            }
        }
    }

    /// `None` for a unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Gives the listener to the runtime of the calling thread.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn watch(self) -> io::Result<Watched> {
        Ok(match self {
            Self::Tcp(listener) => Watched::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Unix(listener) => Watched::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }
}

/// A listener that a runtime watches.
pub(super) enum Watched {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Watched {
    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// What the kernel says, such as too many open files.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only for a connection that is broken already; its handshake will notice.
                let _ = stream.set_nodelay(true);
                Accepted::Tcp(stream.into_std()?, peer.ip())
            }
            Self::Unix(listener) => Accepted::Unix(listener.accept().await?.0.into_std()?),
        })
    }
}

impl Accepted {
    /// `None` for a unix socket.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }

    /// Gives the connection to the runtime of the calling thread. Under TLS its first read begins
    /// to shake hands; a unix socket never leaves the machine and stays plain.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(super) fn into_transport(self, tls: Option<&Tls>) -> io::Result<Transport> {
        match self {
            Self::Tcp(stream, _) => {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                match tls {
                    Some(tls) => Transport::tls(stream, tls.config()),
                    None => Ok(Transport::Tcp(stream)),
                }
            }
            Self::Unix(stream) => Ok(Transport::Unix(tokio::net::UnixStream::from_std(stream)?)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Removes the socket file of a process that is gone. One that answers, and a file that is no
/// socket, are left alone; binding then says that the address is in use.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let nobody_listens =
        || UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && nobody_listens() { fs::remove_file(path) } else { Ok(()) }
}

/// The file of a unix socket; removed when dropped, if it is still the same file.
pub(super) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: file_id(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // By now another process may listen at this path, with a file of its own.
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            // Nothing more can be done than to leave a file that the next start removes.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix_at(path: &Path) -> io::Result<Bound> {
        Bound::bind(&ListenAddress::Unix(path.to_owned()))
    }

    #[test]
    fn a_socket_file_is_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ws.sock");
        let bound = unix_at(&path).unwrap();
        assert!(path.exists());
        assert_eq!(bound.address(), None);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ws.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let _bound = unix_at(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_socket_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ws.sock");
        let _first = unix_at(&path).unwrap();
        let error = unix_at(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ws.sock");
        fs::write(&path, "precious").unwrap();
        assert_eq!(unix_at(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn the_end_leaves_another_process_s_socket_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ws.sock");
        let first = unix_at(&path).unwrap();
        // Kept under another name, so that the new file cannot get the same inode.
        fs::rename(&path, directory.path().join("moved.sock")).unwrap();
        let _second = unix_at(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_tcp_port_in_use_is_an_error() {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let address = Bound::bind(&any).unwrap().address().unwrap();
        let holder = Bound::bind(&ListenAddress::Tcp(address)).unwrap();
        let error = Bound::bind(&ListenAddress::Tcp(address)).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(holder);
    }
}
