//! The listening socket of a port: TCP, or a unix socket with its file.

#[cfg(test)]
mod tests;

use super::Transport;
use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs::{self, Permissions},
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::{TcpListener, UnixListener};

/// Connections that the kernel may hold until they are accepted. Larger than a burst of clients
/// that reconnect; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound listener. Dropped, it closes the port and removes a unix socket's file.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "its drop removes the file")] SocketFile),
}

/// A connection that was accepted and that no runtime watches yet, so that it can go to another
/// thread's. It never blocks.
#[derive(Debug)]
pub enum Accepted {
    Tcp(TcpStream, IpAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on a TCP address. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address is taken, not ours, or not allowed.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::from_std(listen_tcp(address)?)?))
    }

    /// Listens on a unix socket at this path, with this mode whatever the umask is; the file of a process
    /// that is gone is replaced. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When a process listens there, the file is no socket, or the path is not allowed.
    pub fn unix(path: &Path, mode: u32) -> io::Result<Self> {
        if holder(path)? == Some(Holder::Gone) {
            fs::remove_file(path)?;
        }
        let (socket, file) = bound_unix(path)?;
        // Before it listens: until then nobody can connect, whatever the umask has allowed.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        listen(&socket)?;
        Ok(Self::Unix(UnixListener::from_std(socket.into())?, file))
    }

    /// The address that was bound; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// What the kernel says, such as too many open files.
    pub async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails only for a connection that is broken already; its first read will tell.
                let _ = stream.set_nodelay(true);
                Accepted::Tcp(stream.into_std()?, peer.ip())
            }
            Self::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0.into_std()?),
        })
    }
}

/// Whether the TCP address could be listened on; nothing is, not for a moment.
///
/// # Errors
/// Why not, as [`Listener::tcp`] would say.
pub fn try_tcp(address: SocketAddr) -> io::Result<()> {
    bound_tcp(address).map(drop)
}

/// Listens on a TCP address; who watches the listener is for the caller to say. It never blocks.
///
/// # Errors
/// When the address is taken, not ours, or not allowed.
pub fn listen_tcp(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = bound_tcp(address)?;
    listen(&socket)?;
    Ok(socket.into())
}

/// Whether the unix path could be listened on. Only a path where nothing is can be tried; the file of a
/// process that is gone stays.
///
/// # Errors
/// Why not, as [`Listener::unix`] would say.
pub fn try_unix(path: &Path) -> io::Result<()> {
    match holder(path)? {
        Some(Holder::Gone) => Ok(()),
        Some(Holder::Listens) => Err(io::ErrorKind::AddrInUse.into()),
        None => bound_unix(path).map(drop),
    }
}

fn bound_tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bound_unix(path: &Path) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok((socket, SocketFile::new(path)?))
}

fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)
}

impl Accepted {
    /// The address of the client; `None` for a unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }

    /// Gives the connection to the runtime of the calling thread. With `tls` its first read begins
    /// the TLS handshake; a unix socket never leaves the machine and stays plain.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn into_transport(self, tls: Option<Arc<ServerConfig>>) -> io::Result<Transport> {
        match self {
            Self::Tcp(stream, _) => {
                let stream = tokio::net::TcpStream::from_std(stream)?;
                match tls {
                    Some(config) => Transport::tls(stream, config),
                    None => Ok(Transport::Tcp(stream)),
                }
            }
            Self::Unix(stream) => Ok(Transport::Unix(tokio::net::UnixStream::from_std(stream)?)),
        }
    }
}

/// Whose the file at a unix socket's path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Of a process that is gone.
    Gone,
    /// Of one that listens, as far as can be told.
    Listens,
}

/// Whose file is at the path; `None`: there is none.
///
/// # Errors
/// When the file is no socket, which is left alone.
fn holder(path: &Path) -> io::Result<Option<Holder>> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(None) };
    if !file.file_type().is_socket() {
        let message = "the file that is there is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let is_gone = UnixStream::connect(path).is_err_and(refused);
    Ok(Some(if is_gone { Holder::Gone } else { Holder::Listens }))
}

/// The file of a unix socket; removed when dropped, if it is still the same file.
pub struct SocketFile {
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
