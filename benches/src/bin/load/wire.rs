//! The transport of a socket: plain TCP or TLS.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

pub(crate) struct Tls {
    stream: TcpStream,
    session: ClientConnection,
}

/// Trusts the certificate in this file, and no other.
pub(crate) fn trusting(file: &Path) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Wire {
    /// Over a connected socket that blocks; with TLS, its handshake is done here.
    pub(crate) fn new(
        socket: OwnedFd,
        server: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::from(socket);
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::from(server.ip());
        let mut session =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self::Tls(Box::new(Tls { stream, session })))
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.set_nonblocking(true),
            Self::Tls(tls) => tls.stream.set_nonblocking(true),
        }
    }

    /// Reads what is available, up to the space in the buffer.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(tls) => {
                tls.session.writer().write_all(bytes)?;
                while tls.session.wants_write() {
                    tls.session.write_tls(&mut tls.stream)?;
                }
                Ok(())
            }
        }
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        loop {
            match self.session.reader().read(&mut buffer[length..]) {
                Ok(0) => return Ok(length),
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.session.read_tls(&mut self.stream) {
                        Ok(0) => return Ok(length),
                        Ok(_) => self.session.process_new_packets().map_err(io::Error::other)?,
                        Err(_) if length > 0 => return Ok(length),
                        Err(error) => return Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(tls) => tls.stream.as_fd(),
        }
    }
}
