//! Makes connections to one Redis server: TCP, unix socket or TLS, then the login.
//!
//! A dial has two limits: for the connection itself, and for all that is said on it. The second is
//! longer: it needs several round trips, and a Redis that hangs answers the dial that is under way
//! the moment it wakes up.

use super::{
    LinkError, Reply, addresses,
    connection::Connection,
    credentials::Credentials,
    login::log_in,
    mask::Mask,
    wire::{Stream, Wire, lost},
};
use crate::{
    config::{self, RedisAddress, RedisTls},
    error_chain::words,
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    sync::OnceCell,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// The least time for a connection to be made, whatever `probe_timeout` says.
const MIN_CONNECT: Duration = Duration::from_secs(2);

/// What is said on a connection may take so many times as long as making it.
const SETUP_FACTOR: u32 = 5;

/// Dials one server. Clones share the login, and whose turn it is among its addresses.
#[derive(Clone)]
pub(in crate::upstream) struct Dialler {
    address: RedisAddress,
    /// `None`: plain TCP, or a unix socket.
    tls: Option<Arc<Tls>>,
    credentials: Credentials,
    database: u8,
    /// In bytes.
    max_payload: usize,
    /// For the connection; the rest may take [`SETUP_FACTOR`] times that.
    limit: Duration,
    /// Dials so far: each begins with another address of the name.
    dials: Arc<AtomicUsize>,
}

/// TLS settings of a dialler.
struct Tls {
    settings: RedisTls,
    /// The name in the server's certificate: the configured host, whatever address is dialled.
    host: String,
    /// Made by the first dial: the system's roots are some hundred files.
    connector: OnceCell<TlsConnector>,
}

impl Dialler {
    pub(in crate::upstream) fn new(settings: &config::Redis, credentials: Credentials) -> Self {
        let tls = match &settings.address {
            RedisAddress::Tcp { host, tls: true, .. } => Some(Arc::new(Tls {
                settings: settings.tls.clone(),
                host: host.clone(),
                connector: OnceCell::new(),
            })),
            RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => None,
        };
        Self {
            address: settings.address.clone(),
            tls,
            credentials,
            database: settings.database,
            max_payload: settings.max_payload.get(),
            limit: settings.probe_timeout.max(MIN_CONNECT),
            dials: Arc::default(),
        }
    }

    /// Dials another server in the same way: one that a ROLE has named. Its certificate is checked
    /// against the configured host.
    pub(in crate::upstream) fn follow(&self, host: String, port: u16) -> Self {
        let address = RedisAddress::Tcp { host, port, tls: self.tls.is_some() };
        Self { address, dials: Arc::default(), ..self.clone() }
    }

    /// Dials. The connection is logged in and has answered a PING.
    ///
    /// # Errors
    /// - [`LinkError::Unreachable`]: no connection was made.
    /// - [`LinkError::Lost`]: TLS failed, Redis hung up, or did not answer in time.
    /// - [`LinkError::Answered`]: Redis refuses the login, or is of no use now.
    pub(in crate::upstream) fn dial(&self) -> Reply<Connection> {
        let dialler = self.clone();
        Box::pin(async move {
            match &dialler.address {
                RedisAddress::Unix(path) => {
                    let stream = connect_unix(path, dialler.limit).await?;
                    dialler.set_up(async { Ok(stream) }).await
                }
                RedisAddress::Tcp { host, port, .. } => {
                    let stream = dialler.connect_tcp(host, *port).await?;
                    match &dialler.tls {
                        Some(tls) => dialler.set_up(tls.handshake(stream)).await,
                        None => dialler.set_up(async { Ok(stream) }).await,
                    }
                }
            }
        })
    }

    /// Everything behind the connection itself.
    async fn set_up<S: Stream + 'static>(
        &self,
        stream: impl Future<Output = Result<S, LinkError>>,
    ) -> Result<Connection, LinkError> {
        let limit = self.limit * SETUP_FACTOR;
        let set_up = async {
            let mut wire = Wire::new(stream.await?, self.max_payload);
            let login = self.credentials.current();
            let mask = Mask::new(login.password.clone());
            log_in(&mut wire, &login, self.database, &mask).await?;
            Ok(Connection::new(wire, mask))
        };
        let late = |_| LinkError::Lost(format!("Redis accepts, but says nothing within {limit:?}"));
        timeout(limit, set_up).await.map_err(late)?
    }

    async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpStream, LinkError> {
        let started = Instant::now();
        let found = timeout(self.limit, lookup_host((host, port))).await;
        let unknown = |why| LinkError::Unreachable(format!("cannot resolve {host}: {why}"));
        let found = found.map_err(|_| unknown(format!("no answer within {:?}", self.limit)))?;
        let mut addresses: Vec<_> = found.map_err(|error| unknown(words(&error)))?.collect();
        if addresses.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        in_turn(&mut addresses, self.dials.fetch_add(1, Ordering::Relaxed));
        let left = self.limit.saturating_sub(started.elapsed());
        let stream = addresses::connect(&addresses, left).await?;
        stream.set_nodelay(true).map_err(|error| lost(&error))?;
        Ok(stream)
    }
}

/// Begins with another address each time. Sorted, for a resolver that turns them too would undo it.
fn in_turn(addresses: &mut Vec<SocketAddr>, dial: usize) {
    addresses.sort_unstable();
    addresses.dedup();
    let count = addresses.len();
    addresses.rotate_left(dial % count);
}

async fn connect_unix(path: &Path, limit: Duration) -> Result<UnixStream, LinkError> {
    match timeout(limit, UnixStream::connect(path)).await {
        Ok(connected) => connected.map_err(|error| LinkError::Unreachable(words(&error))),
        Err(_) => Err(LinkError::Unreachable(format!("no connection within {limit:?}"))),
    }
}

impl Tls {
    async fn handshake(&self, stream: TcpStream) -> Result<impl Stream + use<>, LinkError> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| LinkError::Lost(format!("{}: {error}", self.host)))?;
        let connector = self.connector.get_or_try_init(|| self.connector()).await?;
        connector.connect(name, stream).await.map_err(|error| lost(&error))
    }

    async fn connector(&self) -> Result<TlsConnector, LinkError> {
        let settings = self.settings.clone();
        // Not on this thread, for its many files.
        let config = spawn_blocking(move || settings.client_config()).await;
        let config = config.map_err(|error| LinkError::Lost(error.to_string()))?;
        config.map(TlsConnector::from).map_err(LinkError::Lost)
    }
}

#[cfg(test)]
mod tests;
