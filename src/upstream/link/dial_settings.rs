//! What a dial needs to know: where Redis is, TLS, the login, and how long it may take.
//!
//! Both connections to Redis are dialled by these.

use super::{LinkError, Target, credentials::Credentials};
use crate::config::{self, RedisAddress, RedisTls};
use std::{sync::Arc, time::Duration};
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_rustls::TlsConnector;

/// The least time for a connection to be made, whatever `probe_timeout` says.
const MIN_CONNECT: Duration = Duration::from_secs(2);

/// What is said on a connection may take so many times as long as making it: it needs several round
/// trips, and a Redis that hangs answers the dial that is under way the moment it wakes up.
const SETUP_FACTOR: u32 = 5;

/// How one Redis is dialled. Clones share the login, and the files that TLS has read.
#[derive(Clone)]
pub(in crate::upstream) struct DialSettings {
    address: RedisAddress,
    /// `None`: plain TCP, or a unix socket.
    pub(in crate::upstream) tls: Option<Arc<Tls>>,
    pub(in crate::upstream) credentials: Credentials,
    pub(in crate::upstream) database: u8,
    /// For the connection itself.
    pub(in crate::upstream) connect_limit: Duration,
    /// For all that is said on it: TLS, the login, a PING.
    pub(in crate::upstream) setup_limit: Duration,
}

/// TLS to one Redis.
pub(in crate::upstream) struct Tls {
    settings: RedisTls,
    /// The name in the server's certificate: the configured host, whatever address is dialled.
    pub(in crate::upstream) host: String,
    /// Made by the first dial: the system's roots are some hundred files.
    connector: OnceCell<TlsConnector>,
}

impl DialSettings {
    pub(in crate::upstream) fn new(settings: &config::Redis, credentials: Credentials) -> Self {
        let tls = match &settings.address {
            RedisAddress::Tcp { host, tls: true, .. } => Some(Arc::new(Tls {
                settings: settings.tls.clone(),
                host: host.clone(),
                connector: OnceCell::new(),
            })),
            RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => None,
        };
        let connect_limit = settings.probe_timeout.max(MIN_CONNECT);
        Self {
            address: settings.address.clone(),
            tls,
            credentials,
            database: settings.database,
            connect_limit,
            setup_limit: connect_limit * SETUP_FACTOR,
        }
    }

    /// The share of the time for what is said that each of so many addresses has: one that accepts and
    /// says nothing must not keep the dial.
    pub(in crate::upstream) fn setup_share(&self, addresses: usize) -> Duration {
        self.setup_limit / u32::try_from(addresses).unwrap_or(u32::MAX).max(1)
    }

    /// Why there is no connection when its time is over.
    pub(in crate::upstream) fn not_connected(&self) -> LinkError {
        LinkError::Unreachable(format!("no connection within {:?}", self.connect_limit))
    }

    /// Where this server is. One that a ROLE has named is dialled in the same way as the configured
    /// one, and its certificate is checked against the configured host.
    pub(in crate::upstream) fn address(&self, target: &Target) -> RedisAddress {
        match target {
            Target::Configured => self.address.clone(),
            Target::Named { host, port } => {
                RedisAddress::Tcp { host: host.clone(), port: *port, tls: self.tls.is_some() }
            }
        }
    }
}

/// Why a connection is given up on which nothing was said in time.
pub(in crate::upstream) fn silent(limit: Duration) -> LinkError {
    LinkError::Lost(format!("Redis accepts, but says nothing within {limit:?}"))
}

impl Tls {
    /// Reads the certificates at the first call.
    ///
    /// # Errors
    /// [`LinkError::Lost`] when a file cannot be read, or is not what it should be.
    pub(in crate::upstream) async fn connector(&self) -> Result<TlsConnector, LinkError> {
        let make = || async {
            let settings = self.settings.clone();
            // Not on this thread, for its many files.
            let config = spawn_blocking(move || settings.client_config()).await;
            let config = config.map_err(|error| LinkError::Lost(error.to_string()))?;
            config.map(TlsConnector::from).map_err(LinkError::Lost)
        };
        self.connector.get_or_try_init(make).await.cloned()
    }
}
